"""What a sweep will take, reckoned from its smallest and its largest configuration as tried.

`sweeps preview` shows it; sweeps/tryout.py does the trying.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from random import Random

from sweeps.baselines import confirmations, planned, searches
from sweeps.brackets import least_epochs
from sweeps.driver.promotion import made_up
from sweeps.driver.stopping import Stopping
from sweeps.objectives import Reached
from sweeps.spec import Scalar, SweepSpec, trial_count
from sweeps.trial.checkpoint import KEPT

_RUNS = 20
"""Made-up sweeps, for the likely number of epochs."""
_START_S = 8.0
"""Seconds by the clock of Ray's start and the report, beside the trials."""


@dataclass(frozen=True)
class Size:
    """One configuration as tried, the most of its copies; see `sweeps.trial.probe.Probe`."""

    params: dict[str, Scalar]
    epoch_seconds: float
    memory: int
    checkpoint: int
    epochs: int


@dataclass(frozen=True)
class Range:
    """A figure of the whole sweep: the least, about what is likely, the most."""

    least: float
    about: float
    most: float


@dataclass(frozen=True)
class Forecast:
    """A sweep before it is run."""

    smallest: Size
    largest: Size
    places: int
    epochs: Range
    hours: Range
    gpu_hours: Range
    disk: Range
    """Bytes."""


def epochs_of(spec: SweepSpec, pace: tuple[float, float] = (1.0, 1.0)) -> Range:
    """Epochs of all trials: if as few as can be go on at each rung; likely ones; if all go on.

    Likely is what the stopping lets through of trials in random order. As ASHA does not wait, that
    is more than its rate says; a search that gets better lets through still more.

    Args:
        spec: the sweep.
        pace: seconds of the shortest epoch and of the longest, for rungs in seconds.
    """
    each, last = searches(spec), spec.training.epochs
    tested = confirmations(spec) * last
    runs = [sum(_let_through(s, Random(seed), pace) for s in each) for seed in range(_RUNS)]
    return Range(
        sum(map(least_epochs, each)) + tested,
        statistics.mean(runs) + tested,
        sum(map(trial_count, each)) * last + tested,
    )


def _let_through(spec: SweepSpec, chance: Random, pace: tuple[float, float]) -> int:
    """Epochs of one made-up search, its trials as good at the first rung as at the last."""
    if spec.stopping.promote:
        return made_up(spec, chance).total()
    stopping, last, epochs = Stopping(spec), spec.training.epochs, 0
    for trial in range(trial_count(spec)):
        value = chance.random()
        each = second = chance.uniform(*pace) if _by_time(spec) else 0.0
        path = (Reached(e, value, second, (e - 1) * each, e * each) for e in range(1, last))
        stopped = (at.epoch for at in path if stopping.stops(trial, at))
        epochs += next(stopped, last)
    return epochs


def _by_time(spec: SweepSpec) -> bool:
    return bool(spec.stopping.seconds or spec.objective.second)


def forecast(spec: SweepSpec, smallest: Size, largest: Size, places: int) -> Forecast:
    """The whole sweep from two sizes; a budget ends it earlier, so it is a limit of the most."""
    trials, budget = planned(spec), spec.budget
    low, high = smallest.epoch_seconds, max(smallest.epoch_seconds, largest.epoch_seconds)
    epochs = _capped(epochs_of(spec, (low, high)), budget.max_epochs)
    work = Range(epochs.least * low, epochs.about * (low + high) / 2, epochs.most * high)
    at_once = min(places, trials)
    # One trial that goes on alone to the last epoch keeps a single place busy.
    least = max(work.least / at_once, spec.training.epochs * low)
    clock = Range(least, max(work.about / at_once, least), max(work.most / at_once, least))
    hours = Range(*((seconds + _START_S) / 3600 for seconds in _values(clock)))
    gpus = Range(*(s * spec.resources.gpus / 3600 for s in _values(work)))
    size = max(smallest.checkpoint, largest.checkpoint)
    copies = 2 if spec.tracking.artifacts else 0  # MLflow's: the best and the last
    least_kept = 1 + min(copies, 1)
    disk = Range(
        trials * least_kept * smallest.checkpoint,
        trials * (least_kept + 1) * (smallest.checkpoint + size) / 2,
        trials * (KEPT + 1 + copies) * size,
    )
    return Forecast(
        smallest=smallest,
        largest=largest,
        places=places,
        epochs=epochs,
        hours=_capped(hours, budget.max_hours),
        gpu_hours=_capped(gpus, budget.max_gpu_hours),
        disk=disk,
    )


def _values(figures: Range) -> tuple[float, float, float]:
    return figures.least, figures.about, figures.most


def _capped(figures: Range, limit: float | None) -> Range:
    return figures if limit is None else Range(*(min(v, limit) for v in _values(figures)))
