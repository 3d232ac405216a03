"""The search: proposes points, and is told the truth about each.

The study lives in memory and is a cache: a resumed driver rebuilds it by `restore` from what the
journal says of every trial. A proposal is drawn by a fresh sampler whose seed is a hash of the
sweep's seed and the trial's number: it depends on these and on the study alone, never on how many
random numbers an earlier process drew.

Optuna is told when a trial ends: finished is COMPLETE with its last value; stopped early is PRUNED
with its values by epoch, so that TPE ranks it by the epoch it reached; failed is FAIL, which
samplers leave out; diverged is PRUNED without any value, the worst rank there is.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from sweeps.search.space import distributions, grid
from sweeps.spec import Scalar, SweepSpec, trial_count
from sweeps.state import Trial

Point = dict[str, Scalar]


class Search:
    """Proposals for one sweep, in order of trial number.

    Args:
        spec: the sweep; its `space`, `search`, `objective` and `training.seed` are read.
    """

    def __init__(self, spec: SweepSpec):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.spec = spec
        self.total = trial_count(spec)
        self._space = distributions(spec.space)
        self._points = grid(spec.space) if spec.search.sampler == "grid" else None
        direction = "maximize" if spec.objective.mode == "max" else "minimize"
        self._study = optuna.create_study(direction=direction, sampler=RandomSampler(seed=0))
        self._open: dict[int, optuna.Trial] = {}
        self._seen: Counter[str] = Counter()

    def restore(self, trials: dict[int, Trial]) -> None:
        """Take in all trials of a journal in order of number; those without an end stay open."""
        self._study.sampler = RandomSampler(seed=0)  # a given point needs no model
        for number in sorted(trials):
            trial = trials[number]
            self._enter(number, trial.params)
            if trial.end:
                self.end(number, trial.status, trial.values(self.spec.objective.metric))

    def propose(self, number: int) -> tuple[Point, int]:
        """Parameters and seed of trial `number`; a point proposed before gets the next seed."""
        if self._points is not None:
            params = self._points[number % len(self._points)]
            self._enter(number, params)
        else:
            self._study.sampler = self._sampler(number)
            trial = self._study.ask(self._space)
            params = trial.params
            self._note(number, trial)
        repeats = self._seen[_key(params)] - 1
        return params, self.spec.training.seed + repeats

    def end(self, number: int, status: str, values: dict[int, float]) -> None:
        """How trial `number` ended, with the objective's values by epoch."""
        trial = self._open.pop(number)
        if status == "failed":
            self._study.tell(trial, state=TrialState.FAIL)
            return
        if status != "diverged":
            for epoch, value in values.items():
                trial.report(value, epoch)
        if status == "finished":
            self._study.tell(trial, list(values.values())[-1])
        else:
            self._study.tell(trial, state=TrialState.PRUNED)

    @property
    def told(self) -> list[FrozenTrial]:
        """Copies of what Optuna holds, in order of number."""
        return self._study.get_trials()

    def _enter(self, number: int, params: Point) -> None:
        self._study.enqueue_trial(params)
        self._note(number, self._study.ask(self._space))

    def _note(self, number: int, trial: optuna.Trial) -> None:
        self._open[number] = trial
        self._seen[_key(trial.params)] += 1

    def _sampler(self, number: int) -> BaseSampler:
        search = self.spec.search
        digest = hashlib.sha256(f"{search.seed}/{number}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        if search.sampler == "random":
            return RandomSampler(seed=seed)
        return TPESampler(
            seed=seed, n_startup_trials=search.startup_trials, multivariate=True, constant_liar=True
        )


def _key(params: Point) -> str:
    return json.dumps(params, sort_keys=True)
