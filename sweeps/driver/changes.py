"""Changes to a sweep that no driver is running: more of it, or failed trials once more.

Each writes records to the journal and starts nothing; `execute` then goes on.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sweeps.baselines import planned
from sweeps.checks import check
from sweeps.driver.budget import gpu_hours
from sweeps.driver.children import children
from sweeps.driver.folder import opened
from sweeps.errors import Mistake, SpecError, SweepBusy, SweepNotFound
from sweeps.journal import Journal, held, read
from sweeps.spec import BudgetSpec, SweepSpec, space_size, trial_count
from sweeps.state import State
from sweeps.storage import truth
from sweeps.trial import stop as requests
from sweeps.values import extended, values_of

POLL_S = 0.1


def extend(
    folder: Path,
    *,
    trials: int = 0,
    epochs: int | None = None,
    restart_schedule: bool = False,
    **budget: float | None,
) -> list[str]:
    """Add to the sweep in `folder`: what it has stays as it is.

    Args:
        folder: the sweep's own.
        trials: so many more than now; a grid goes on with the next seeds.
        epochs: the new last epoch. Finished trials go on to it; those stopped early stay so. A
            cosine schedule ends with its last epoch, so a longer one is another configuration and
            is refused, unless
        restart_schedule: each finished trial gets a child that goes on to `epochs` with a cosine of
            its own over the added ones, or with the other schedule that it has; see
            sweeps/driver/children.py. `budget.max_trials` does not count children.
        budget: new values of the fields of `budget`.

    Returns:
        What changed, one line each.

    Raises:
        SpecError: a change that cannot be.
        SweepNotFound, SweepBusy: no such sweep; it is being run.
    """
    spec = _spec(folder)
    changes = _more_trials(spec, trials)
    state = read(folder)
    born = children(folder, state, epochs) if restart_schedule else []
    if not restart_schedule:
        changes |= _more_epochs(spec, epochs)
    wanted = {f"budget.{name}": value for name, value in budget.items() if value is not None}
    changes |= {path: value for path, value in wanted.items() if value != _value(spec, path)}
    if not changes and not born:
        raise SpecError([Mistake("extend", "nothing to add", remedy="Say what: --trials +N, …")])
    try:
        new = extended(spec, changes)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, found["loc"]))
        raise SpecError([Mistake(place, found["msg"], repr(found["input"]))]) from None
    if mistakes := check(new):
        raise SpecError(mistakes)
    _check_budget(state, new.budget, born)
    with opened(spec, folder) as journal:
        old = {path: _value(journal.state.spec, path) for path in changes}
        for child in born:
            journal.write("trial", trial=len(journal.state.trials), **child)
        if epochs and not restart_schedule:
            _reopen(journal, ("finished",), confirmations=False)
        if trials and spec.stopping.promote:
            _reopen(journal, ("pruned",))  # they wait at their rungs again
        # Last: cut short before it, the sweep is as long as it was and the command can be repeated.
        journal.write("extend", changes=changes)
    said = [f"{path}: {old[path]} -> {value}" for path, value in changes.items()]
    return [*said, f"{len(born)} trials go on to epoch {epochs}"] if born else said


def retry(folder: Path, *, failed: bool = True, gpus: bool = False) -> list[int]:
    """Open the failed trials again; they go on from their last checkpoints.

    Args:
        folder: the sweep's own.
        failed: whether to do so.
        gpus: take back the GPUs that were left out.

    Returns:
        The trials' numbers.

    Raises:
        SpecError: there is nothing to try again.
        SweepNotFound, SweepBusy: no such sweep; it is being run.
    """
    with opened(_spec(folder), folder) as journal:
        _check_retry(journal.state, failed, gpus)
        for node, gpu in list(journal.state.left_out) if gpus else ():
            journal.write("device", node=node, gpu=gpu, out=False, reason="taken back by retry")
        return _reopen(journal, ("failed",)) if failed else []


def stop(folder: Path, patience: float = 60.0) -> bool:
    """Ask the driver of the sweep in `folder` to stop, and wait until it has.

    Returns:
        Whether one was running.

    Raises:
        SweepNotFound: no such sweep.
        SweepBusy: it still runs after `patience` seconds; the request stands.
    """
    read(folder)
    if not held(folder):
        return False
    requests.request(truth(folder))
    until = time.monotonic() + patience
    while held(folder):
        if time.monotonic() > until:
            raise SweepBusy(
                f"{folder.name} has not stopped after {patience:g} s; it is still asked to. "
                "An update may take longer than that: look at it again with `sweeps status`"
            )
        time.sleep(POLL_S)
    return True


def _spec(folder: Path) -> SweepSpec:
    spec = read(folder).spec
    if spec is None:
        raise SweepNotFound(f"no sweep at {truth(folder)}")
    return spec


def _check_retry(state: State, failed: bool, gpus: bool) -> None:
    """Of what is asked for there must be something."""
    found = {
        "--failed": failed and any(t.status == "failed" for t in state.trials.values()),
        "--gpus": gpus and bool(state.left_out),
    }
    if not any(found.values()):
        lacks = {"--failed": "no trial failed"} if failed else {}
        lacks |= {"--gpus": "no GPU is left out"} if gpus else {}
        asked, rule = " ".join(lacks), f"nothing to try again: {' and '.join(lacks.values())}"
        raise SpecError([Mistake(asked, rule, remedy="`sweeps resume` goes on with the rest")])


def _reopen(
    journal: Journal, statuses: tuple[str, ...], *, confirmations: bool = True
) -> list[int]:
    """Open those trials again; what was tested may stay so, and is trained anew if it is chosen."""
    known = journal.state.trials.values()
    trials = [t for t in known if t.status in statuses and (confirmations or t.of is None)]
    for trial in trials:
        assert trial.end is not None
        journal.write(
            "reopen", trial=trial.number, status=trial.status, value=trial.end.get("value")
        )
    return [trial.number for trial in trials]


def _more_trials(spec: SweepSpec, trials: int) -> dict[str, Any]:
    if not trials:
        return {}
    if trials < 0:
        raise SpecError([Mistake("--trials", "adds to what there is", str(trials))])
    total = trial_count(spec) + trials
    unlimited = trial_count(spec.model_copy(update={"budget": BudgetSpec()}))
    changes: dict[str, Any] = {"search.trials": max(total, unlimited)}
    if spec.search.sampler == "grid":
        replicates = math.ceil(changes["search.trials"] / (space_size(spec) or 1))
        changes["search.replicates"] = max(replicates, spec.search.replicates)
    larger = extended(spec, changes | {"budget.max_trials": None})
    in_all = total + planned(larger) - trial_count(larger)
    if spec.budget.max_trials is not None and in_all > spec.budget.max_trials:
        changes["budget.max_trials"] = in_all
    return changes


def _check_budget(state: State, budget: BudgetSpec, born: list[dict[str, Any]]) -> None:
    """A budget that is used up already, or before all children are trained, would end the sweep."""
    used = {
        "max_trials": sum(trial.parent is None for trial in state.trials.values()) - 1,
        "max_epochs": state.epochs,
        "max_hours": state.seconds / 3600,
        "max_gpu_hours": gpu_hours(state),
    }
    for name, amount in used.items():
        limit = getattr(budget, name)
        if limit is not None and limit <= amount:
            found = f"{limit:g}; {amount if name != 'max_trials' else amount + 1:.4g} used"
            remedy = f"Give more: --{name.replace('_', '-')}"
            raise SpecError([Mistake(f"budget.{name}", "is used up already", found, remedy)])
    needed = _needed(state, born)
    if budget.max_epochs is not None and born and state.epochs + needed > budget.max_epochs:
        rule = "is used up before all that go on are trained"
        found = f"{budget.max_epochs}; {state.epochs} used, {needed} to come"
        remedy = f"Add --max-epochs {state.epochs + needed}"
        raise SpecError([Mistake("budget.max_epochs", rule, found, remedy)])


def _needed(state: State, born: list[dict[str, Any]]) -> int:
    """Epochs of the new children, and at most of the trials that are open: these come first."""
    assert state.spec is not None
    last, trials = state.spec.training.epochs, state.trials.values()
    left = sum((t.epochs or last) - t.epoch for t in trials if t.status == "running")
    return left + sum(child["epochs"] - child["after"] for child in born)


def _more_epochs(spec: SweepSpec, epochs: int | None) -> dict[str, Any]:
    if epochs is None:
        return {}
    now = spec.training.epochs
    if epochs <= now:
        rule = "must be above the sweep's epochs"
        raise SpecError([Mistake("--epochs", rule, f"{epochs}; the sweep has {now}")])
    if "cosine" in values_of(spec, "training.schedule.name") and not spec.training.loop:
        rule = (
            "a cosine schedule has come to its end with its last epoch; a longer one is another "
            "configuration"
        )
        remedy = (
            "Run a new sweep with that many epochs; or add --restart-schedule: each trial trained "
            "in full goes on as a new one, with a cosine over the added epochs"
        )
        raise SpecError([Mistake("--epochs", rule, f"{epochs} after {now}", remedy)])
    return {"training.epochs": epochs}


def _value(spec: Any, path: str) -> Any:
    for part in path.split("."):
        spec = getattr(spec, part)
    return spec
