"""What the samplers are shown of two objectives: a study in which every trial is COMPLETE.

Optuna ranks the trials of two objectives by non-domination, for which each needs both values, and
takes no value by epoch. Our own study keeps those in an attribute of the trial.
"""

from __future__ import annotations

import optuna
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.samplers import directions
from sweeps.spec import ObjectiveSpec

COURSE = "course"
"""Attribute of a trial: epoch and both values there, a list for each epoch."""
_Rows = list[tuple[int, float, float]]


def shown(study: Study, objective: ObjectiveSpec) -> Study:
    """The study for TPE and GP.

    A trial stopped at epoch e has each objective behind the best final value by as much as it was
    behind the best at e among the trials trained in full (before the first of them: its own last
    value); a median, as of timings, is its own. A diverged one has the worst of both.
    """
    assert objective.second is not None
    trials = study.get_trials(deepcopy=False)
    full = [_rows(t) for t in trials if t.state == TrialState.COMPLETE]
    modes = [objective.mode, objective.second.mode]
    signs = [1 if mode == "max" else -1 for mode in modes]
    as_it_is = [False, objective.second.take == "median"]
    known: dict[int, list[float]] = {}
    for trial in trials:
        if trial.values is not None:
            known[trial.number] = list(trial.values)
        elif rows := _rows(trial):
            known[trial.number] = [
                rows[-1][1 + k] if as_it_is[k] else _in_full(rows, full, 1 + k, signs[k])
                for k in range(2)
            ]
    worst = [
        min((sign * v[k] for v in known.values()), default=0.0) for k, sign in enumerate(signs)
    ]
    view = optuna.create_study(directions=directions(objective), sampler=RandomSampler(seed=0))
    for trial in trials:
        values = known.get(trial.number)
        if values is None and trial.state == TrialState.PRUNED and known:
            values = [sign * value for sign, value in zip(signs, worst, strict=True)]
        view.add_trial(trial if values is None else _complete(trial, values))
    return view


def _rows(trial: FrozenTrial) -> _Rows:
    return [tuple(row) for row in trial.user_attrs.get(COURSE, [])]


def _in_full(rows: _Rows, full: list[_Rows], column: int, sign: int) -> float:
    """What a stopped trial's last value is worth beside those trained in full."""
    epoch, own = rows[-1][0], rows[-1][column]
    there = [sign * row[column] for each in full for row in each if row[0] == epoch]
    if not there:
        return own
    behind = max(0.0, max(there) - sign * own)
    return sign * (max(sign * each[-1][column] for each in full) - behind)


def _complete(trial: FrozenTrial, values: list[float]) -> FrozenTrial:
    return create_trial(values=values, params=trial.params, distributions=trial.distributions)
