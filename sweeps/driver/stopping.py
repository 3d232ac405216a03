"""When a trial ends early: Ray's asynchronous successive halving, or the median rule.

All is keyed by our trial numbers. Stock ASHA keys rungs by Tune's trial id, which a resumed trial
does not keep: it would be counted twice. Here what the journal holds can be told again on resume,
and an epoch told twice is recorded once. Ray's Hyperband draws a trial's bracket from numpy's
global generator; here it follows from the number (sweeps/brackets.py).
"""

from __future__ import annotations

import statistics
from types import SimpleNamespace
from typing import Any, Protocol

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from sweeps.brackets import bracket, rungs_of, shares
from sweeps.spec import SweepSpec, rungs
from sweeps.state import Trial


class _Rule(Protocol):
    def stops(self, trial: int, epoch: int, value: float) -> bool: ...


class Stopping:
    """Decides after each epoch whether a trial goes on."""

    def __init__(self, spec: SweepSpec):
        self._spec = spec
        self._rules: list[_Rule] = []
        if spec.stopping.name == "median":
            self._rules = [MedianRule(spec)]
        elif spec.stopping.name != "none":
            steps = rungs(spec)
            self._rules = [_Asha(spec, steps[k:]) for k in range(len(shares(spec)))]

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Take in `value` after `epoch`; True when the trial should end."""
        if not self._rules:
            return False
        return self._rules[bracket(self._spec, trial)].stops(trial, epoch, value)

    def rung(self, trial: int, epoch: int) -> int | None:
        """`epoch` when it is a rung of that trial."""
        return epoch if epoch in rungs_of(self._spec, trial) else None


class _Asha:
    """One bracket; without a rung nothing is stopped."""

    def __init__(self, spec: SweepSpec, steps: list[int]):
        self._asha: ASHAScheduler | None = None
        if steps:
            self._asha = ASHAScheduler(
                time_attr="epoch",
                metric="value",
                mode=spec.objective.mode,
                max_t=spec.training.epochs,
                grace_period=steps[0],
                reduction_factor=spec.stopping.reduction,
            )
        self._known: set[int] = set()

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Record `value` at the rung of `epoch`, if it is one."""
        if self._asha is None:
            return False
        keyed: Any = SimpleNamespace(trial_id=trial)
        nothing: Any = None  # ASHA does not look at the controller
        if trial not in self._known:
            self._known.add(trial)
            self._asha.on_trial_add(nothing, keyed)
        decision = self._asha.on_trial_result(nothing, keyed, {"epoch": epoch, "value": value})
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

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Record `value`, and compare from `grace` on."""
        mine = self._values.setdefault(trial, {})
        mine[epoch] = self._sign * value
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
    if spec.stopping.name == "median":
        return "pruned", f"below the median of the others at epoch {last['epoch']}"
    name = {"asha": "ASHA"}.get(spec.stopping.name, "Hyperband")
    return "pruned", f"stopped by {name} at the rung of epoch {last['epoch']}"
