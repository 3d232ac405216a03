"""What happens inside one trial: data, optimisation, the training loop, checkpoints.

Knows torch, numpy, `models` and `gni`; knows no Ray, Optuna or MLflow. This package and
`sweeps.trial.locate` import without torch, so that a spec can be checked in a moment.

    locate      is the data there, can that import path be found? (no torch)
    datasets    spec -> arrays; folder and streaming are its parts for image folders
    batches     arrays -> batches on a device; augment holds the pure functions
    streams     named, independent random streams
    optim       optimiser and learning rate of an update
    build       spec -> network
    training    a network while it trains, an epoch at a time
    loop        fit: a generator of epoch results
    checkpoint  atomic, checksummed files
    session     train: fit, with resume and checkpoints
"""
