"""Configurations of a sweep over their seeds: mean, deviation, growth of the weight distance."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import numpy

from sweeps.report.results import Sweep, distance_rows
from sweeps.spec import ARM
from sweeps.state import Trial


@dataclass(frozen=True)
class Configuration:
    """One point of the space with its trials that were trained in full."""

    label: str
    """The arm, and `name=value` of every other parameter that varies; never empty."""
    trials: list[Trial]
    values: list[float]
    """The objective of each after its last epoch."""

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over seeds; None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Growth:
    """Least squares fit of distance = intercept + slope · ln(update)."""

    slope: float
    intercept: float
    r2: float
    """Share of the variance of the distances that the fit explains; 0 if they do not vary."""


def configurations(sweep: Sweep) -> list[Configuration]:
    """All with a trial trained in full, in the order in which they were first proposed."""
    found: dict[str, Configuration] = {}
    for trial in sweep.searched():
        value = sweep.value(trial)
        if trial.status != "finished" or value is None:
            continue
        label = _label(sweep, trial)
        entry = found.setdefault(label, Configuration(label, [], []))
        entry.trials.append(trial)
        entry.values.append(value)
    return list(found.values())


def replicated(sweep: Sweep) -> list[Configuration]:
    """`configurations`, if any of them has several seeds; else none."""
    found = configurations(sweep)
    return found if any(len(c.values) > 1 for c in found) else []


def summary_rows(sweep: Sweep) -> list[dict[str, Any]]:
    """One dict a configuration: label, seeds, mean and sd of the objective, slope of the distance.

    The slope's mean and sd are over seeds too; absent where no distance was recorded.
    """
    rows: list[dict[str, Any]] = []
    for each in replicated(sweep):
        row = {"configuration": each.label, "n": len(each.values), "mean": each.mean}
        row["sd"] = each.deviation
        fits = [fit for t in each.trials if (fit := growth(sweep, t))]
        if fits:
            slopes = [fit.slope for fit in fits]
            row["slope"] = statistics.fmean(slopes)
            row["slope_sd"] = statistics.stdev(slopes) if len(slopes) > 1 else None
            row["slope_r2"] = statistics.fmean(fit.r2 for fit in fits)
        rows.append(row)
    return rows


def distances(trial: Trial, until: int | None = None) -> dict[int, float]:
    """The distance of a trial's weights from their start by update, up to epoch `until`."""
    return {
        row["update"]: row["distance"]
        for row in distance_rows(trial)
        if until is None or row["epoch"] <= until
    }


def growth(sweep: Sweep, trial: Trial) -> Growth | None:
    """The fit over the updates before a step schedule's first milestone, else over all.

    None with fewer than three recorded distances.
    """
    schedule = sweep.spec.trial(trial.params, trial.seed).training.schedule
    until = min(schedule.milestones) if schedule.name == "step" else None
    return fitted(distances(trial, until))


def fitted(points: dict[int, float]) -> Growth | None:
    """The fit of distances by update; None of fewer than three."""
    if len(points) < 3:
        return None
    x, y = numpy.log(list(points)), numpy.array(list(points.values()))
    slope, intercept = numpy.polyfit(x, y, 1)
    rest, total = ((y - intercept - slope * x) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    return Growth(float(slope), float(intercept), float(1 - rest / total) if total else 0.0)


def _label(sweep: Sweep, trial: Trial) -> str:
    names = sweep.labels
    parts = [
        str(value) if path == ARM else f"{names.get(path, path)}={value}"
        for path, value in trial.params.items()
    ]
    return " ".join(parts) or sweep.spec.name
