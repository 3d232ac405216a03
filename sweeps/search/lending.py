"""What the trials of an earlier sweep tell the search of another one."""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import ValidationError

from sweeps.objectives import Reached, course
from sweeps.search.samplers import Distributions
from sweeps.search.two import COURSE
from sweeps.spec import ARM, NU, Scalar, SweepSpec
from sweeps.state import State, Trial
from sweeps.values import value_at


def lendable(spec: SweepSpec, earlier: State) -> list[dict[str, Any]]:
    """The finished and pruned trials of `earlier`, less children, that fit the space of `spec`.

    One fits when each axis of the space holds what the trial had there, proposed or fixed. What
    else differs between the two sweeps is taken not to matter; that is for the user to judge.

    Returns:
        Of each trial its params on the axes of `spec`, its status and its values by epoch: epoch
        and value, and the second objective's where there is one. Fewer epochs than `spec` trains
        are as good as stopped early: status pruned.
    """
    out = []
    for trial in earlier.trials.values():
        values = [_row(spec, at) for at in course(spec.objective, trial.results)]
        if trial.status not in ("finished", "pruned") or not values or trial.parent is not None:
            continue
        if (params := _point(spec, earlier.spec, trial)) is not None:
            full = trial.status == "finished" and trial.epoch >= spec.training.epochs
            status = "finished" if full else "pruned"
            out.append({"params": params, "status": status, "values": values})
    return out


def _row(spec: SweepSpec, at: Reached) -> tuple[float, ...]:
    return (at.epoch, at.value, at.second) if spec.objective.second else (at.epoch, at.value)


def _point(spec: SweepSpec, other: SweepSpec | None, trial: Trial) -> dict[str, Scalar] | None:
    """The trial's place on the axes of `spec`; None when it lies outside."""
    assert other is not None
    try:
        resolved = other.trial(trial.params, trial.seed)
    except ValidationError:
        return None
    noise = resolved.model.noise
    point: dict[str, Scalar] = {}
    for path, axis in spec.space.items():
        if path == ARM:
            found = trial.params.get(ARM)
        elif path == NU:
            found = trial.params.get(NU, noise and noise.strength**2 / noise.ghost_size)
        else:
            found = value_at(resolved, path)
        value = axis.match(found)
        if value is None:
            return None
        point[path] = value
    return point


def told(record: dict[str, Any], space: Distributions) -> list[FrozenTrial]:
    """The trials of a `lent` record as Optuna takes them."""
    out = []
    for trial in record["trials"]:
        full = trial["status"] == "finished"
        out.append(
            create_trial(
                state=TrialState.COMPLETE if full else TrialState.PRUNED,
                params=trial["params"],
                distributions=space,
                **_values(trial["values"], full),
            )
        )
    return out


def _values(rows: list[list[float]], full: bool) -> dict[str, Any]:
    """The values in the form in which Optuna takes those of one objective, or of two."""
    *_, last = rows
    if len(last) == 2:
        return {"value": last[1], "intermediate_values": {int(e): v for e, v in rows}}
    return {"values": last[1:] if full else None, "user_attrs": {COURSE: rows}}
