"""How much of a sweep is still to be trained where trials wait at rungs (`stopping.promote`).

There trials end all together, when nothing else is left: how many have ended says nothing of how
far the sweep is. Its epochs do.
"""

from __future__ import annotations

from sweeps.baselines import confirmations, shares
from sweeps.brackets import wanted
from sweeps.selection import due, searched
from sweeps.spec import SweepSpec, rungs, trial_count
from sweeps.state import State, Trial

_LOST = ("failed", "diverged")


def epochs_to_come(state: State) -> int:
    """Of all searches, if from now on no more are promoted than must be.

    With those of confirmations and of children, which are trained in full.
    """
    assert state.spec is not None
    spec, trials = state.spec, list(state.trials.values())
    left = 0
    for name, count in {"": trial_count(spec), **shares(spec)}.items():
        mine = [t for t in trials if t.proposed_by_search and t.baseline == name]
        own = wanted(spec) if not name else 1
        left += _promoted(spec, mine, max(count, len(mine)), own)
    last = spec.training.epochs
    others = (t for t in trials if not t.proposed_by_search and not t.end)
    left += sum((t.epochs or last) - t.epoch for t in others)
    return left + last * (len(due(state)) if searched(state) else confirmations(spec))


def _promoted(spec: SweepSpec, trials: list[Trial], total: int, in_full: int) -> int:
    """Of one search of `total` trials: from rung to rung, those that are still to come there."""
    left, before, coming = 0, 0, total
    for rung in (*rungs(spec), spec.training.epochs):
        here = [t for t in trials if before <= t.epoch < rung]
        coming -= sum(t.status in _LOST for t in here)
        there = sum(t.epoch >= rung for t in trials)
        left += max(0, coming - there) * (rung - before)
        left -= sum(t.epoch - before for t in here if t.status == "running")
        gone_on = sum(t.epoch > rung or (t.epoch, t.status) == (rung, "running") for t in trials)
        least = min(coming, in_full)
        before, coming = rung, max(coming // spec.stopping.reduction, least, gone_on)
    return max(0, left)
