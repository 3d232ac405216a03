"""One trial's point: what is given, what is believed, and the sampler for the rest."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweeps.constraints import broken
from sweeps.errors import Mistake, SpecError
from sweeps.search.priors import follow
from sweeps.search.samplers import (
    REMEMBERING,
    TRIES,
    USUAL_TRIES,
    Distributions,
    completed,
    made,
    modelled,
    seed_of,
)
from sweeps.search.two import shown
from sweeps.spec import Scalar, SweepSpec

Point = dict[str, Scalar]
UNIFORM_TRIES = 10_000


class Proposal(BaseSampler):
    """A sampler for one trial: a whole point that keeps all rules (sweeps/constraints.py).

    The spec's sampler draws until one does, each time with another seed, then a uniform draw takes
    over. So what breaks a rule never becomes a trial, in Optuna's study neither.

    Args:
        spec: the sweep.
        number: of the trial.
        space: all axes.
        lent: trials of earlier sweeps, for CMA-ES to start from.
        settled: the point that the trial has already. It is given, after a sampler that keeps
            state in the study was asked as it was the first time.
    """

    def __init__(
        self,
        spec: SweepSpec,
        number: int,
        space: Distributions,
        lent: list[FrozenTrial],
        settled: Point | None = None,
    ):
        self._spec, self._number, self._space, self._lent = spec, number, space, lent
        self._settled = settled
        points = spec.search.points
        self._queued = points[number] if number < len(points) else {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Distributions:
        """All axes."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Distributions
    ) -> Point:
        """A value for each axis of the space.

        Raises:
            SpecError: no point that keeps all rules was found.
        """
        if self._settled is None:
            return self._new(study, trial)
        if self._spec.search.sampler in REMEMBERING:
            self._new(study, trial)
        return self._settled

    def _new(self, study: Study, trial: FrozenTrial) -> Point:
        search = self._spec.search
        believed = self._believes(study)
        if search.sampler in ("tpe", "gp") and self._spec.objective.second:
            study = shown(study, self._spec.objective)
            trial = study.get_trials(deepcopy=False)[trial.number]
        elif search.sampler == "gp":
            study = completed(study)
            trial = study.get_trials(deepcopy=False)[trial.number]
        for attempt in range(TRIES.get(search.sampler, USUAL_TRIES) + UNIFORM_TRIES):
            point = self._drawn(study, trial, attempt) | believed(attempt)
            point |= self._queued
            if broken(self._spec, point) is None:
                return point
        rule = f"no point that keeps all rules was found in {UNIFORM_TRIES:,} draws"
        raise SpecError([Mistake("space", rule, remedy="Narrow the axes to sizes that fit")])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """Never: the point is whole."""
        raise ValueError(f"{param_name} is not in {param_distribution}")

    def _drawn(self, study: Study, trial: FrozenTrial, attempt: int) -> Point:
        search = self._spec.search
        if attempt < TRIES.get(search.sampler, USUAL_TRIES):
            sampler = made(search, self._number, attempt, self._lent)
        else:
            sampler = RandomSampler(seed=seed_of(search, self._number, attempt))
        together = modelled(sampler, study, trial, self._space)
        point = sampler.sample_relative(study, trial, together)
        for name, axis in self._space.items():
            if axis.single():
                point[name] = axis.to_external_repr(0.0)
            elif name not in point:
                point[name] = sampler.sample_independent(study, trial, name, axis)
        return point

    def _believes(self, study: Study) -> Callable[[int], Point]:
        """What the priors add to each attempt: nothing once the sampler has its model."""
        search = self._spec.search
        if not search.priors:
            return lambda attempt: {}
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if len(told) >= search.startup_trials:
            return lambda attempt: {}
        seed = seed_of(search, "prior", self._number)
        return lambda attempt: follow(search.priors, self._spec.space, Random(f"{seed}/{attempt}"))
