"""When a trial ends early: Ray's asynchronous successive halving, or the median rule.

All is keyed by our trial numbers. Stock ASHA keys rungs by Tune's trial id, which a resumed trial
does not keep: it would be counted twice. Here what the journal holds can be told again on resume,
and an epoch told twice is recorded once. Ray's Hyperband draws a trial's bracket from numpy's
global generator; here it follows from the number (sweeps/brackets.py). Told seconds, Ray's ASHA
would compare a trial that jumped over a rung with the earlier ones there at a later epoch; here it
is compared at every rung that the epoch reached, by Ray's cutoff. Rungs of two objectives are our
own (sweeps/driver/rungs.py).

A rung compares the best epoch so far (`stopping.compare`): while the learning rate is high, one
epoch says less about the last one than the best of several does (docs/search.md has figures).
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Protocol

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from sweeps.brackets import bracket, by_best, rungs_of, shares
from sweeps.driver.promotion import Promotion
from sweeps.driver.rungs import Ladder, ParetoRung
from sweeps.objectives import Reached
from sweeps.spec import SweepSpec, steps
from sweeps.state import Trial


class _Rule(Protocol):
    def stops(self, trial: int, at: Reached) -> bool: ...


class Stopping:
    """Decides after each epoch whether a trial goes on."""

    def __init__(self, spec: SweepSpec):
        self._spec = spec
        self._best: dict[int, float] | None = {} if by_best(spec) else None
        self._rules: list[_Rule] = []
        self.promotion = Promotion(spec) if spec.stopping.promote else None
        if self.promotion:
            self._rules = [self.promotion]
        elif spec.stopping.name == "median":
            self._rules = [MedianRule(spec)]
        elif spec.stopping.name != "none":
            self._rules = [_bracket(spec, index) for index in range(len(shares(spec)))]

    def stops(self, trial: int, at: Reached) -> bool:
        """Take in where a trial stands after an epoch; True when it should end (or wait)."""
        if not self._rules:
            return False
        return self._rules[bracket(self._spec, trial)].stops(trial, self._compared(trial, at))

    def know(self, trial: int, at: Reached, waits: bool) -> None:
        """Take in an epoch of an earlier driver; `waits`: the trial is still at that rung."""
        if self.promotion:
            self.promotion.know(trial, self._compared(trial, at), waits)
        else:
            self.stops(trial, at)

    def rung(self, trial: int, at: Reached) -> float | None:
        """The last rung of that trial that the epoch reached, in epochs or in seconds."""
        mine = rungs_of(self._spec, trial)
        if self._spec.stopping.seconds:
            return max((s for s in mine if at.before < s <= at.seconds), default=None)
        return at.epoch if at.epoch in mine else None

    def _compared(self, trial: int, at: Reached) -> Reached:
        """Where the trial stands, with what a rung compares as its value."""
        if self._best is None:
            return at
        better = max if self._spec.objective.mode == "max" else min
        best = self._best[trial] = better(at.value, self._best.get(trial, at.value))
        return replace(at, value=best)


def _bracket(spec: SweepSpec, index: int) -> _Rule:
    """Ray's ASHA where rungs are epochs of one objective; our own ladder where they are not."""
    mine = steps(spec)[index:]
    if spec.objective.second:
        return Ladder(spec, mine, lambda: ParetoRung(spec))
    if spec.stopping.seconds:
        return Ladder(spec, mine, lambda: _Asha(spec, 1, last=2))
    return _Asha(spec, int(mine[0]), spec.training.epochs) if mine else Ladder(spec, [])


class _Asha:
    """One bracket of Ray's, with rungs from epoch `first` on."""

    def __init__(self, spec: SweepSpec, first: int, last: int):
        self._asha = ASHAScheduler(
            time_attr="epoch",
            metric="value",
            mode=spec.objective.mode,
            max_t=last,
            grace_period=first,
            reduction_factor=spec.stopping.reduction,
        )
        self._known: set[int] = set()

    def stops(self, trial: int, at: Reached) -> bool:
        """Record the value at the rung of the epoch, if it is one."""
        keyed: Any = SimpleNamespace(trial_id=trial)
        nothing: Any = None  # ASHA does not look at the controller
        if trial not in self._known:
            self._known.add(trial)
            self._asha.on_trial_add(nothing, keyed)
        told = {"epoch": at.epoch, "value": at.value}
        decision = self._asha.on_trial_result(nothing, keyed, told)
        return decision == TrialScheduler.STOP


class MedianRule:
    """A trial ends when its best epoch is below the median of the others' means so far.

    As Ray's MedianStoppingRule decides: only trials that have reached the epoch count, with their
    means from `grace` to it, and only once there are `min_samples` of them. Ray's own keeps a
    history that refuses to be told twice; this one keeps values by trial and epoch alone.
    """

    def __init__(self, spec: SweepSpec):
        self._grace, self._samples = spec.stopping.grace, spec.stopping.min_samples
        self._sign = 1 if spec.objective.mode == "max" else -1
        self._values: dict[int, dict[int, float]] = {}

    def stops(self, trial: int, at: Reached) -> bool:
        """Record the value, and compare from `grace` on."""
        epoch, mine = at.epoch, self._values.setdefault(trial, {})
        mine[epoch] = self._sign * at.value
        if epoch < self._grace:
            return False
        others = (o for number, o in self._values.items() if number != trial and max(o) >= epoch)
        spans = ([v for e, v in o.items() if self._grace <= e <= epoch] for o in others)
        means = [statistics.fmean(span) for span in spans if span]
        best = max(v for e, v in mine.items() if e <= epoch)
        return len(means) >= self._samples and best < statistics.median(means)


def outcome(spec: SweepSpec, trial: Trial) -> tuple[str, str]:
    """Status and reason of the end that a trial's last result decided."""
    last = trial.results[-1]
    if last["decision"] == "finish":
        return "finished", f"trained all {last['epoch']} epochs"
    if last["decision"] == "pause":
        return "pruned", f"not promoted from the rung of epoch {last['epoch']}"
    if spec.stopping.name == "median":
        return "pruned", f"below the median of the others at epoch {last['epoch']}"
    name = {"asha": "ASHA"}.get(spec.stopping.name, "Hyperband")
    if spec.stopping.seconds:
        rung = f"{last['rung']:g} seconds, after epoch {last['epoch']}"
        return "pruned", f"stopped by {name} at the rung of {rung}"
    return "pruned", f"stopped by {name} at the rung of epoch {last['epoch']}"
