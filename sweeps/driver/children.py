"""Finished trials that go on under a schedule begun anew (`sweeps extend --restart-schedule`).

A cosine ends with its last epoch, so more epochs are another configuration: each trial trained in
full gets a child, a trial of its own that begins with its parent's last checkpoint. Where the
space varies the schedule, a parent without a cosine has one too: it trains as if its parent had
simply gone on, which `--epochs` alone cannot do beside cosines, and all are compared at one epoch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweeps.errors import Mistake, SpecError
from sweeps.spec import SweepSpec
from sweeps.state import State, Trial
from sweeps.storage import trial_folder, truth
from sweeps.values import values_of

_FLAG = "--restart-schedule"
_SHOWN = 8


def children(folder: Path, state: State, epochs: int | None) -> list[dict[str, Any]]:
    """Contents of their `trial` records, but for the numbers.

    Parents are the trials of the search and of its baselines that were trained in full; of one that
    has a child already, that child. Those that have so many epochs are left as they are.

    Args:
        folder: the sweep's own.
        epochs: the children's last epoch, counted from their first ancestor's start.

    Raises:
        SpecError: there is no cosine, no parent, nothing to add, or a checkpoint is gone.
    """
    assert state.spec is not None
    if epochs is None:
        raise _refused(_FLAG, "needs the new last epoch", remedy="Add --epochs N")
    _check_schedule(state.spec)
    parents = _parents(state)
    if not parents:
        raise _refused(_FLAG, "goes on from trials trained in full, and there is none")
    first = parents[0]
    parents = [trial for trial in parents if trial.epoch < epochs]
    if not parents:
        found = f"{epochs}; trial {first.number} has {first.epoch}"
        raise _refused("--epochs", "must be above the trials' epochs", found)
    _check_checkpoints(folder, parents)
    return [
        {
            "params": trial.params,
            "seed": trial.seed,
            **({"baseline": trial.baseline} if trial.baseline else {}),
            "parent": trial.number,
            "after": trial.epoch,
            "epochs": epochs,
        }
        for trial in parents
    ]


def _parents(state: State) -> list[Trial]:
    known = {trial.parent for trial in state.trials.values()}
    return [
        trial
        for trial in state.trials.values()
        if trial.status == "finished" and trial.of is None and trial.number not in known
    ]


def _check_schedule(spec: SweepSpec) -> None:
    names = sorted(set(map(str, values_of(spec, "training.schedule.name"))))
    if spec.training.loop:
        rule = "begins the cosine of our own loop anew; a loop of yours has its schedule itself"
        raise _refused(_FLAG, rule, spec.training.loop, "Leave it out")
    if "cosine" not in names:
        rule = "begins a cosine anew, and there is none; this schedule goes on as it is"
        raise _refused(_FLAG, rule, ", ".join(names), "Leave it out")


def _check_checkpoints(folder: Path, parents: list[Trial]) -> None:
    from sweeps.trial import checkpoint  # torch, which takes a second

    place = truth(folder)
    gone = [t for t in parents if t.epoch not in checkpoint.files(trial_folder(place, t.number))]
    if gone:
        numbers = ", ".join(str(trial.number) for trial in gone[:_SHOWN])
        more = f" and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else ""
        rule = f"the last checkpoint is gone from {place}"
        raise _refused(_FLAG, rule, f"trials {numbers}{more}", "Put it back, or run a new sweep")


def _refused(place: str, rule: str, found: str = "", remedy: str = "") -> SpecError:
    return SpecError([Mistake(place, rule, found, remedy)])
