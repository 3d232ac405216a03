"""Learning curves to search over: every point of a grid, trained for real, several seeds each.

    python benchmarks/search_table.py --data FOLDER      about 15 minutes on one core

Fashion-MNIST (FOLDER holds torchvision's files), 6,000 training images of which 3,000 are held
out, a small mlp with batch norm and ghost noise, 9 epochs. The grid is wide enough to lose in: its
learning rates reach from far too small to divergence. Writes benchmarks/search_table.npz:
`curves[lr, weight decay, ghost size, strength, seed, epoch]` is the validation accuracy, nan from
the epoch on in which a training diverged; the axes' values stand beside it.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy

AXES = {
    "training.optimizer.lr": [0.001, 0.004, 0.016, 0.063, 0.25, 1.0, 4.0],
    "training.optimizer.weight_decay": [1e-5, 1e-3, 3e-2],
    "model.noise.ghost_size": [2, 8, 32, 128],
    "model.noise.strength": [0.0, 0.5, 1.0, 2.0],
}
EPOCHS, SEEDS = 9, 4
TABLE = Path(__file__).with_suffix(".npz")


def spec(root: str):
    """The fixed part of all trainings."""
    from sweeps.spec import SweepSpec

    return SweepSpec.model_validate(
        {
            "name": "table",
            "data": {"name": "fashion_mnist", "root": root, "limit": 6000, "validation": 0.5},
            "model": {"name": "mlp", "options": {"depth": 2, "width": 32}, "noise": {}},
            "training": {"epochs": EPOCHS, "batch_size": 128},
        }
    )


def main() -> None:
    """Train all, print how far it is, keep the table."""
    import torch

    from sweeps.errors import TrialDiverged
    from sweeps.trial import datasets
    from sweeps.trial.loop import fit

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    sweep = spec(parser.parse_args().data)
    torch.set_num_threads(1)
    data = datasets.load(sweep.data)
    shape = [len(values) for values in AXES.values()]
    curves = numpy.full((*shape, SEEDS, EPOCHS), numpy.nan, dtype="float32")
    start = time.perf_counter()
    for seed, place in itertools.product(range(SEEDS), itertools.product(*map(range, shape))):
        point = {path: AXES[path][k] for path, k in zip(AXES, place, strict=True)}
        try:
            for result in fit(sweep.trial(point, seed=seed), data):
                curves[*place, seed, result.epoch - 1] = result.metrics["val_accuracy"]
        except TrialDiverged:
            pass
        if not any(place[1:]):
            print(f"{time.perf_counter() - start:.0f} s: seed {seed}, {place}", flush=True)
    axes = {path.rpartition(".")[2]: values for path, values in AXES.items()}
    numpy.savez_compressed(TABLE, curves=curves, **axes)
    print(f"{curves[..., 0, 0].size} points, {TABLE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
