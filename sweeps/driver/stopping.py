"""Ray's asynchronous successive halving, its rungs keyed by our trial numbers.

Stock ASHA keys rungs by Tune's trial id, which a resumed trial does not keep: it would be counted
twice. Here a trial is known to it by its number, so what the journal holds can be told again on
resume, and an epoch told twice is recorded once.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from sweeps.spec import SweepSpec


class Stopping:
    """Decides after each epoch whether a trial goes on."""

    def __init__(self, spec: SweepSpec):
        self._asha: ASHAScheduler | None = None
        if spec.stopping.name == "asha":
            self._asha = ASHAScheduler(
                time_attr="epoch",
                metric="value",
                mode=spec.objective.mode,
                max_t=spec.training.epochs,
                grace_period=spec.stopping.grace,
                reduction_factor=spec.stopping.reduction,
            )
        self._known: set[int] = set()

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        """Record `value` at the rung of `epoch`, if it is one; True when the trial should end."""
        if self._asha is None:
            return False
        keyed: Any = SimpleNamespace(trial_id=trial)
        nothing: Any = None  # ASHA does not look at the controller
        if trial not in self._known:
            self._known.add(trial)
            self._asha.on_trial_add(nothing, keyed)
        decision = self._asha.on_trial_result(nothing, keyed, {"epoch": epoch, "value": value})
        return decision == TrialScheduler.STOP
