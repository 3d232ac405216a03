"""The search: proposes points, and is told the truth about each.

The study lives in memory and is a cache: a resumed driver rebuilds it by `restore` from what the
journal says of every trial. A proposal is drawn by a fresh sampler whose seed is a hash of the
sweep's seed and the trial's number: it depends on these and on the study alone, never on how many
random numbers an earlier process drew.

Optuna is told when a trial ends: finished is COMPLETE with its last value; stopped early is PRUNED
with its values by epoch; failed is FAIL; diverged is PRUNED without any value, for CMA-ES with an
infinitely bad one. What each sampler makes of these stands in sweeps/search/samplers.py. Of two
objectives Optuna takes no values by epoch: they stand in the trial's attribute `course`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.objectives import Reached, course
from sweeps.search.lending import told
from sweeps.search.proposal import Point, Proposal
from sweeps.search.samplers import directions, ranges
from sweeps.search.space import distributions, grid
from sweeps.search.two import COURSE
from sweeps.spec import SweepSpec, trial_count
from sweeps.state import Trial


class Search:
    """Proposals for one sweep, in order of trial number.

    Args:
        spec: the sweep; its `space`, `arms`, `search`, `objective` and sizes are read.
        lent: the journal's records of what earlier sweeps told it.
    """

    def __init__(self, spec: SweepSpec, lent: Sequence[dict[str, Any]] = ()):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.spec = spec
        self.total = trial_count(spec)
        self._space = distributions(spec.space)
        self._points = grid(spec.space) if spec.search.sampler == "grid" else None
        aims = directions(spec.objective)
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, directions=aims, sampler=RandomSampler(seed=0)
        )
        lent_trials = [trial for record in lent for trial in told(record, self._space)]
        self._study.add_trials(lent_trials)
        one = spec.objective.second is None
        self._lent = [_on_ranges(trial) for trial in lent_trials if one]
        self._open: dict[int, optuna.Trial] = {}
        self._paused: dict[int, optuna.Trial] = {}
        self._seen: Counter[str] = Counter()

    def restore(self, trials: dict[int, Trial]) -> None:
        """Take in all trials of a journal, proposals and ends in its order.

        Those without an end stay open.
        """
        for _, number, what in sorted(_events(trials)):
            trial = trials[number]
            path = list(course(self.spec.objective, trial.results))
            if what == "begun":
                self._enter(number, trial.params)
            elif what == "paused":
                self.pause(number, [at for at in path if at.epoch <= _paused_at(trial)["epoch"]])
            else:
                self.end(number, trial.status, path)

    def propose(self, number: int) -> tuple[Point, int]:
        """Parameters and seed of trial `number`; a point proposed before gets the next seed.

        Raises:
            SpecError: no point that keeps all rules was found.
        """
        listed = self._points[number % len(self._points)] if self._points else None
        params = self._enter(number, listed)
        repeats = self._seen[_key(params)] - 1
        return params, self.spec.training.seed + repeats

    def end(self, number: int, status: str, path: Sequence[Reached]) -> None:
        """How trial `number` ended, with where it stood after each epoch."""
        if number in self._paused:
            self._amend(self._paused.pop(number), status, path)
            return
        trial = self._open.pop(number)
        if status == "failed":
            self._study.tell(trial, state=TrialState.FAIL)
        elif self.spec.objective.second:
            self._end_of_two(trial, status, path)
        else:
            self._end_of_one(trial, status, _by_epoch(path))

    def pause(self, number: int, path: Sequence[Reached]) -> None:
        """Trial `number` waits at a rung: it counts as stopped early there, until it goes on."""
        if (trial := self._paused.get(number)) is not None:
            self._amend(trial, "pruned", path)
            return
        trial = self._open[number]
        self.end(number, "pruned", path)
        self._paused[number] = trial

    def _amend(self, trial: optuna.Trial, status: str, path: Sequence[Reached]) -> None:
        """What was told of a trial, anew. Optuna has no way to: its own record is written over."""
        values = _by_epoch(path) if status != "diverged" else {}
        frozen = self._storage.get_trial(trial._trial_id)
        states = {"finished": TrialState.COMPLETE, "failed": TrialState.FAIL}
        frozen.state = states.get(status, TrialState.PRUNED)
        frozen.intermediate_values = values
        frozen.values = list(values.values())[-1:] or None if status != "failed" else None

    def _end_of_two(self, trial: optuna.Trial, status: str, path: Sequence[Reached]) -> None:
        last = path[-1] if path else None
        if status != "diverged":
            trial.set_user_attr(COURSE, [[at.epoch, at.value, at.second] for at in path])
        if status == "finished" and last:
            self._study.tell(trial, [last.value, last.second])
        else:
            self._study.tell(trial, state=TrialState.PRUNED)

    def _end_of_one(self, trial: optuna.Trial, status: str, values: dict[int, float]) -> None:
        if status == "diverged":
            values = {}
            if self.spec.search.sampler == "cmaes":
                values = {0: -math.inf if self.spec.objective.mode == "max" else math.inf}
        for epoch, value in values.items():
            trial.report(value, epoch)
        if status == "finished":
            self._study.tell(trial, list(values.values())[-1])
        else:
            self._study.tell(trial, state=TrialState.PRUNED)

    @property
    def told(self) -> list[FrozenTrial]:
        """Copies of what Optuna holds: what earlier sweeps lent, then trials in order of number."""
        return self._study.get_trials()

    def _enter(self, number: int, settled: Point | None) -> Point:
        """Open trial `number` at its point, a new one unless it is settled."""
        self._study.sampler = Proposal(self.spec, number, self._space, self._lent, settled)
        trial = self._open[number] = self._study.ask(self._space)
        self._seen[_key(trial.params)] += 1
        return trial.params


def _events(trials: dict[int, Trial]) -> Iterator[tuple[int, int, str]]:
    """Record, trial and what happened to it: begun, paused for the last time, ended."""
    for number, trial in trials.items():
        yield trial.record, number, "begun"
        if paused := _paused_at(trial):
            yield paused["n"], number, "paused"
        if trial.end:
            yield trial.end["n"], number, "ended"


def _paused_at(trial: Trial) -> dict[str, Any]:
    """The last result after which the trial waited at a rung; empty if it never did."""
    return next((r for r in reversed(trial.results) if r.get("decision") == "pause"), {})


def _by_epoch(path: Sequence[Reached]) -> dict[int, float]:
    return {at.epoch: at.value for at in path}


def _on_ranges(trial: FrozenTrial) -> FrozenTrial:
    """The trial with the axes alone that CMA-ES works on."""
    space = ranges({name: d for name, d in trial.distributions.items() if not d.single()})
    params = {name: trial.params[name] for name in space}
    state, values = trial.state, trial.intermediate_values
    return create_trial(
        state=state,
        value=trial.value,
        params=params,
        distributions=space,
        intermediate_values=values,
    )


def _key(params: Point) -> str:
    return json.dumps(params, sort_keys=True)
