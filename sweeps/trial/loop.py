"""The training loop: a generator of epoch results that knows neither Ray nor files.

On one kind of device the metrics (timings excepted) and weights are a function of the trial alone:
whether it ran through, went on from a `state()` or took turns with others in one process. On a GPU
that takes `training.deterministic`: some kernels add in another order each time otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sweeps.spec import TrialSpec
from sweeps.trial.datasets import Data
from sweeps.trial.start import Weights
from sweeps.trial.training import AtStep, State, Training

__all__ = ["AtStep", "EpochResult", "State", "fit"]


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave."""

    epoch: int
    """Counted from 1."""
    metrics: dict[str, float]
    """train_loss and train_accuracy over the epoch's updates (label smoothing included), val_loss
    and val_accuracy after it (with `data.evaluate: test` test_loss and test_accuracy; in a
    confirmation these too after the last epoch), lr of its last update, images_per_second in
    training, seconds. A key `NAME@UPDATE` belongs to that update, counted from 1 over the trial:
    with `training.weight_distance` weight_distance@1, @2, @3, …"""
    state: Callable[[], State]
    """All that is needed to go on after this epoch: copies of tensors, numbers and strings on the
    CPU. To be called before the next result is asked for; later it raises RuntimeError."""


def fit(
    trial: TrialSpec,
    data: Data,
    *,
    device: str = "cpu",
    resume: State | None = None,
    at_step: AtStep | None = None,
    start: Weights | None = None,
) -> Iterator[EpochResult]:
    """Train from epoch 1, or from where `resume` was made, to the last, one result per epoch.

    A loop of your own has this signature without `start`; `at_step` may be left out, and then the
    trial is only checkpointed between epochs.

    Args:
        trial: the whole configuration; `threads` is left to the caller. With `confirm` the last
            result holds `trial.objective.test_metric`, of `data`'s test images.
        data: what `datasets.load` gave for it.
        device: `cpu`, `cuda` or `cuda:N`.
        resume: what `state()` of an earlier result, or the function given to `at_step`, gave.
        at_step: called after each update with its number within the epoch, from 1, and a function
            that gives the state to go on from there; what it raises ends the training.
        start: weights to begin with instead of the trial's own draw.

    Raises:
        PreflightError: `start` does not fit the model.
        ValueError: a batch larger than the training images, `accumulate` that does not divide it.
        TrialDiverged: the training loss of an update was not finite; noticed after its epoch.
    """
    training = Training(trial, data, device, start)
    if resume is not None:
        training.restore(resume)
    while training.epoch < trial.training.epochs:
        metrics = training.run_epoch(at_step)
        epoch = training.epoch
        yield EpochResult(epoch, metrics, lambda epoch=epoch: training.state(epoch))
