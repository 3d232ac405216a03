"""One trial in its folder: go on from the newest checkpoint, train, write checkpoints."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from sweeps.errors import TrialDiverged
from sweeps.spec import TrialSpec
from sweeps.storage import Place
from sweeps.trial import checkpoint
from sweeps.trial.build import build_model
from sweeps.trial.compiled import clear_device
from sweeps.trial.datasets import Data
from sweeps.trial.imports import load_object
from sweeps.trial.keeper import Keeper
from sweeps.trial.loop import AtStep, EpochResult, State, fit
from sweeps.trial.start import Weights, inherited, model_weights

Loop = Callable[..., Iterator[EpochResult]]
"""A training loop with the signature and the contract of `sweeps.trial.loop.fit`."""


def _never() -> bool:
    return False


def train(
    trial: TrialSpec,
    data: Data,
    folder: Place,
    *,
    device: str,
    known_epoch: int = 0,
    stop: Callable[[], bool] = _never,
    beat: Callable[[], None] = lambda: None,
    start: Weights | None = None,
    parent: Place | None = None,
) -> Iterator[EpochResult]:
    """The results of the epochs after `known_epoch`, each exactly once and in order.

    Training goes on from the newest readable checkpoint in `folder`. If that is ahead of the
    caller, the results in between come from its history; if it is behind, the epochs up to
    `known_epoch` are trained again without being yielded. Each checkpoint is written before its
    epoch's result is yielded.

    Args:
        trial: the whole configuration; torch is set to its number of threads.
        data: what `datasets.load` gave for it.
        folder: the trial's own, made if absent.
        device: `cpu`, `cuda` or `cuda:N`.
        known_epoch: the last epoch whose result the caller has.
        stop: asked after each update (a loop of the user's own: after each epoch).
        beat: called as often, to show that the training is alive.
        start: weights that our own loop begins with; see sweeps/trial/start.py.
        parent: folder of the trial from whose last checkpoint this one goes on, while `folder`
            holds none of its own.

    Raises:
        CheckpointError: the parent's is gone or damaged.
        PreflightError: `start` does not fit the model.
        TrialDiverged: a metric is not finite.
        TrialStopped: `stop` said so; a checkpoint of that very position is written.
        ValueError, TypeError: the spec does not fit the data; a loop of the user's own yields
            something else than the contract says.
        OSError, StorageError: a checkpoint could not be written.
    """
    torch.set_num_threads(trial.threads)
    clear_device()
    saved = checkpoint.newest(folder) or inherited(parent, trial.restarted)
    keeper = Keeper(trial, data, folder, saved, stop, beat)
    for entry in list(keeper.history):
        if entry["epoch"] > known_epoch:
            yield _replayed(entry["epoch"], entry["metrics"], saved)
    done = keeper.epoch
    if done >= trial.training.epochs:
        return
    options = {"device": device, "resume": saved["state"] if saved else None}
    results = _start(trial, data, options, keeper.at_step, start)
    saved = options = None  # the weights are the loop's now
    for result in _checked(results, trial, after=done):
        keeper.at_epoch(result)
        if result.epoch > known_epoch:
            yield result
        if stop() and result.epoch < trial.training.epochs:
            keeper.stop_after(result)


def load_model(path: Place) -> nn.Module:
    """The network of a trial's checkpoint with its weights, on the CPU, in eval mode.

    Raises:
        CheckpointError: it cannot be read, or a loop of the user's own keeps no `model` in it.
    """
    content = checkpoint.load(path)
    weights = model_weights(content, path)
    trial = TrialSpec.model_validate_json(content["trial"])
    model = build_model(trial, **content["shape"])
    model.load_state_dict(weights)
    return model.eval()


def _start(
    trial: TrialSpec,
    data: Data,
    options: dict[str, Any],
    at_step: AtStep,
    start: Weights | None,
) -> Any:
    """The generator of results; a loop of the user's own may do without `at_step`."""
    loop: Loop = fit if trial.training.loop is None else load_object(trial.training.loop)
    if loop is fit or "at_step" in inspect.signature(loop).parameters:
        options["at_step"] = at_step
    if loop is fit:
        options["start"] = start
    return loop(trial, data, **options)


def _replayed(
    epoch: int, metrics: dict[str, float], saved: checkpoint.Content | None
) -> EpochResult:
    def state() -> State:
        if saved is None or (saved["epoch"], saved["step"]) != (epoch, 0):
            raise RuntimeError(f"the state of epoch {epoch} is gone: its result is from a history")
        return saved["state"]

    return EpochResult(epoch, dict(metrics), state)


def _checked(results: Any, trial: TrialSpec, after: int) -> Iterator[EpochResult]:
    """The results of a loop, as long as they keep to the contract."""
    name = trial.training.loop or "the training loop"
    if not isinstance(results, Iterator):
        raise TypeError(f"{name} must be a generator of EpochResult; got {_kind(results)}")
    epoch = after
    for result in results:
        epoch += 1
        if not isinstance(result, EpochResult):
            raise TypeError(f"{name} must yield EpochResult; got {_kind(result)}")
        if result.epoch != epoch or epoch > trial.training.epochs:
            rule = f"{name} must yield epochs {after + 1} to {trial.training.epochs} in order"
            raise ValueError(f"{rule}; got epoch {result.epoch} where {epoch} was due")
        if not callable(result.state):
            raise TypeError(f"{name} must give state as a function; got {_kind(result.state)}")
        _check_metrics(result, trial, name)
        yield result
    if epoch < trial.training.epochs:
        rule = f"{name} must go on to epoch {trial.training.epochs}"
        raise ValueError(f"{rule}; it ended after epoch {epoch}")


def _check_metrics(result: EpochResult, trial: TrialSpec, name: str) -> None:
    metrics = result.metrics
    if trial.objective.metric not in metrics:
        known = ", ".join(metrics)
        raise ValueError(
            f"{name} must report {trial.objective.metric!r}, the objective; got {known}"
        )
    wanted = trial.objective.test_metric
    if trial.confirm and result.epoch == trial.training.epochs and wanted not in metrics:
        rule = "must report, after the last epoch of a confirmation,"
        raise ValueError(f"{name} {rule} {wanted!r} of the test images; got {', '.join(metrics)}")
    for metric, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must report numbers; {metric} is {_kind(value)}")
        if not math.isfinite(value):
            raise TrialDiverged(f"{metric} is {value} after epoch {result.epoch}")


def _kind(value: object) -> str:
    return f"{type(value).__name__} ({repr(value)[:60]})"
