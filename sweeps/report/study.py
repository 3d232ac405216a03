"""The sweep as an Optuna study: for optuna-dashboard, and for Optuna's own charts.

Both are made from the journal whenever they are wanted; nothing reads them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import create_trial

from sweeps.report.canvas import varied
from sweeps.report.results import Sweep
from sweeps.search.samplers import directions
from sweeps.search.search import Search
from sweeps.search.space import distribution
from sweeps.spec import rungs

FILE = "optuna.log"
"""The study file's name in `report/`: one of Optuna's journal storage."""


@dataclass(frozen=True)
class Comparable:
    """The trials that have a value at one epoch, each valued there."""

    study: Study
    epoch: int
    trials: int
    step: int = 1
    """Every so many of those that have a value there."""


def write_study(sweep: Sweep) -> Path:
    """Write the study, as the search was told of it, to `report/optuna.log` anew."""
    path = sweep.folder / "report" / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    search = Search(sweep.spec, sweep.state.lent)
    search.restore(dict(enumerate(sweep.searched())))
    study = optuna.create_study(
        study_name=sweep.spec.name,
        storage=JournalStorage(JournalFileBackend(str(path))),
        directions=directions(sweep.spec.objective),
    )
    study.add_trials(search.told)
    return path


def comparable(sweep: Sweep, least: int) -> Comparable | None:
    """The trials at the latest epoch at which at least `least` of them have a value.

    Looks at the rungs and the last epoch, with rungs in seconds at every epoch. Values of different
    epochs do not compare: trials that were stopped early are the worse ones and had fewer epochs.
    None when no epoch has so many.
    """
    metric, space = sweep.spec.objective.metric, _space(sweep)
    last = sweep.spec.training.epochs
    looked = range(1, last) if sweep.spec.stopping.seconds else rungs(sweep.spec)
    for epoch in [last, *reversed(looked)]:
        found = [
            (trial, value)
            for trial in sweep.searched()
            if (value := trial.values(metric).get(epoch)) is not None
        ]
        if len(found) < least:
            continue
        study = optuna.create_study(direction=directions(sweep.spec.objective)[0])
        names = {path: sweep.labels[path] for path in space}
        shared = {names[path]: each for path, each in space.items()}
        for trial, value in found:
            params = {short: trial.params[path] for path, short in names.items()}
            study.add_trial(create_trial(params=params, distributions=shared, value=value))
        return Comparable(study, epoch, len(found))
    return None


def _space(sweep: Sweep) -> dict[str, BaseDistribution]:
    return {path: distribution(dimension) for path, dimension in varied(sweep).items()}
