"""Optuna's samplers, each made anew for one proposal, and what each makes of how trials end.

==========  ==========================  =================================  ===================
sampler     stopped early               diverged                           running
==========  ==========================  =================================  ===================
tpe         ranked by the epoch it      the worst rank of all              counted as bad, so
            reached, then by its value                                     that it is avoided
gp          its place behind the best,  the worst value there is           its outcome is
            see `completed`                                                guessed by the model
cmaes       its last value              worse than every value             waited for
qmc,        of no effect                of no effect                       of no effect
random
==========  ==========================  =================================  ===================

Of two objectives cmaes knows none. There tpe and gp see a trial stopped early with each objective
at its place behind the best (sweeps/search/two.py), a diverged one with the worst of both.

A trial that failed tells nothing about its point, and all leave it out. Values by epoch reach tpe
(the last one of a trial stopped early) and gp. CMA-ES works on the axes that are ranges, from the
middle outwards or from where an earlier sweep's best tenth lies; choices are drawn at random. A
queued point counts in cmaes as one of its own, and takes the place of a point of the qmc sequence.

State: tpe, gp and random keep none. CMA-ES keeps its distribution, and qmc its place in the
sequence, in the study that they are given; a resumed search asks them again, in the old order.
"""

from __future__ import annotations

import hashlib
import warnings

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.spec import ObjectiveSpec, SearchSpec

Distributions = dict[str, BaseDistribution]

REMEMBERING = ("cmaes", "qmc")
"""Samplers that keep state in the study."""
TRIES = {"gp": 8}
"""Proposals that a sampler may make for one trial until one keeps all rules."""
USUAL_TRIES = 256
_FEWEST_LENT = 20
"""Trials of earlier sweeps that cmaes needs: its start is where the best tenth of them lies."""


def directions(objective: ObjectiveSpec) -> list[StudyDirection]:
    """Optuna's name for the direction of each objective."""
    modes = [objective.mode, *([objective.second.mode] if objective.second else [])]
    ways = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    return [ways[mode] for mode in modes]


def seed_of(search: SearchSpec, *parts: int | str) -> int:
    """A seed that depends on the sweep's and on these parts alone."""
    text = "/".join(map(str, (search.seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def made(search: SearchSpec, number: int, attempt: int, lent: list[FrozenTrial]) -> BaseSampler:
    """The spec's sampler for one proposal of trial `number`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _made(search, seed_of(search, number, *([attempt] if attempt else [])), lent)


def _made(search: SearchSpec, seed: int, lent: list[FrozenTrial]) -> BaseSampler:
    match search.sampler:
        case "tpe":
            return TPESampler(
                seed=seed,
                n_startup_trials=search.startup_trials,
                multivariate=True,
                constant_liar=True,
            )
        case "gp":
            return GPSampler(seed=seed, n_startup_trials=search.startup_trials)
        case "cmaes":
            return CmaEsSampler(
                seed=seed,
                n_startup_trials=0,
                warn_independent_sampling=False,
                consider_pruned_trials=True,
                source_trials=lent if len(lent) >= _FEWEST_LENT else None,
            )
        case "qmc":
            start = seed_of(search, "sequence")
            return QMCSampler(scramble=True, seed=start, independent_sampler=RandomSampler(seed))
        case _:
            return RandomSampler(seed=seed)


def modelled(
    sampler: BaseSampler, study: Study, trial: FrozenTrial, space: Distributions
) -> Distributions:
    """The axes that the sampler proposes together; the rest it draws one by one."""
    several = {name: d for name, d in space.items() if not d.single()}
    if isinstance(sampler, QMCSampler):
        return several
    if isinstance(sampler, CmaEsSampler):
        return ranges(several)
    return sampler.infer_relative_search_space(study, trial)


def ranges(space: Distributions) -> Distributions:
    """The axes of the space that are no choices."""
    return {name: d for name, d in space.items() if not isinstance(d, CategoricalDistribution)}


def completed(study: Study) -> Study:
    """A study for the GP, which reads only COMPLETE and RUNNING.

    There every trial with a value is COMPLETE. One stopped at epoch e stands behind the best final
    value by as much as it was behind the best at e among the trials trained in full (before the
    first of them: its own last value). A diverged one has the worst of these values.
    """
    trials = study.get_trials(deepcopy=False)
    sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
    full = [t for t in trials if t.state == TrialState.COMPLETE]
    valued = {t.number: _in_full(t, full, sign) for t in trials if t.state.is_finished()}
    known = [v for v in valued.values() if v is not None]
    worst = min(known, key=lambda v: sign * v, default=None)
    view = optuna.create_study(direction=study.direction, sampler=RandomSampler(seed=0))
    for trial in trials:
        value = valued.get(trial.number)
        if value is None and trial.state == TrialState.PRUNED:
            value = worst
        view.add_trial(trial if value is None else _complete(trial, value))
    return view


def _in_full(trial: FrozenTrial, full: list[FrozenTrial], sign: int) -> float | None:
    """What a trial's last value is worth beside those trained in full; None without a value."""
    if trial.state != TrialState.PRUNED or trial.value is None:
        return trial.value
    there = [v for t in full if (v := t.intermediate_values.get(trial.last_step or 0)) is not None]
    if not there:
        return trial.value
    behind = max(0.0, max(sign * v for v in there) - sign * trial.value)
    best = max(sign * t.value for t in full if t.value is not None)
    return sign * (best - behind)


def _complete(trial: FrozenTrial, value: float) -> FrozenTrial:
    return create_trial(value=value, params=trial.params, distributions=trial.distributions)
