"""Rungs and Hyperband's brackets: which rungs a trial meets, a function of its number alone.

Bracket 0 has all rungs, bracket 1 all but the first, … and the last none. As in the paper (arXiv
1603.06560) each bracket is meant to use about the same number of epochs, so that of B brackets the
one that leaves out k rungs gets a share of (B / (B - k)) · reduction^(B-1-k) trials.
"""

from __future__ import annotations

import math

from sweeps.spec import SweepSpec, rungs, steps, trial_count

_GOLDEN = (math.sqrt(5) - 1) / 2


def shares(spec: SweepSpec) -> list[float]:
    """Each bracket's share of the trials, the one with all rungs first."""
    stopping = spec.stopping
    if stopping.name != "hyperband":
        return [1.0]
    full = len(steps(spec)) + 1
    counts = [
        math.ceil(full / (full - k) * stopping.reduction ** (full - 1 - k)) for k in range(full)
    ]
    kept = counts[: stopping.brackets]
    return [count / sum(kept) for count in kept]


def bracket(spec: SweepSpec, number: int) -> int:
    """The bracket of trial `number`; multiples of the golden ratio spread each one evenly."""
    place, upto = (number + 1) * _GOLDEN % 1, 0.0
    for index, share in enumerate(shares(spec)):
        upto += share
        if place < upto:
            return index
    return len(shares(spec)) - 1


def rungs_of(spec: SweepSpec, number: int) -> list[int] | list[float]:
    """Epochs (or seconds) at which it is decided whether trial `number` goes on."""
    return steps(spec)[bracket(spec, number) :]


def by_best(spec: SweepSpec) -> bool:
    """Whether rungs compare the best epoch so far. The median rule sees to that by itself."""
    if spec.stopping.name not in ("asha", "hyperband"):
        return False
    usual = "last" if spec.objective.metric.endswith("loss") else "best"
    return (spec.stopping.compare or usual) == "best"


def least_epochs(spec: SweepSpec) -> int:
    """Epochs if every trial stops as early as it may; one of each bracket never does.

    The median lets at least `min_samples` through. One epoch may reach all rungs in seconds.
    """
    trials, epochs, stopping = trial_count(spec), spec.training.epochs, spec.stopping
    if stopping.promote:
        return _least_promoted(spec)
    if stopping.name == "median":
        through = min(trials, stopping.min_samples)
        return through * epochs + (trials - through) * min(stopping.grace, epochs)
    first = [rungs_of(spec, number)[:1] for number in range(trials)]
    brackets = {step[0] for step in first if step}
    if stopping.seconds:
        stopped = sum(1 if step else epochs for step in first)
        return stopped + len(brackets) * (epochs - 1)
    stopped = sum(step[0] if step else epochs for step in first)
    return int(stopped + sum(epochs - step for step in brackets))


def wanted(spec: SweepSpec) -> int:
    """Trials in full that a search with waiting trials is to have, if it has so many in all."""
    return min(trial_count(spec), spec.confirm.top if spec.confirm else 1)


def _least_promoted(spec: SweepSpec) -> int:
    """Epochs if at each rung as few go on as may: the best 1/reduction, or those wanted in full."""
    trials, before, total = trial_count(spec), 0, 0
    for rung in (*rungs(spec), spec.training.epochs):
        total += trials * (rung - before)
        trials, before = max(trials // spec.stopping.reduction, wanted(spec)), rung
    return total
