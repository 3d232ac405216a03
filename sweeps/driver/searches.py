"""What a sweep proposes: its own search, one for each baseline, and at last the confirmations.

Each search has an Optuna study and a stopping rule of its own, so a baseline is compared with
nothing but itself. Confirmations and the children of finished trials are no part of any: they
train in full and nobody is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sweeps.baselines import baseline_spec, shares
from sweeps.brackets import wanted
from sweeps.driver.stopping import Stopping
from sweeps.objectives import Reached, course
from sweeps.search.search import Search
from sweeps.selection import due
from sweeps.spec import Scalar, SweepSpec
from sweeps.state import Record, State, Trial


class _Group:
    """One search; it numbers its trials by itself, as if there were no others.

    Args:
        spec: its own, as `baselines.baseline_spec` gives it.
        settings: what each of its trials has besides the proposed parameters.
        lent: what earlier sweeps told it.
    """

    def __init__(
        self, spec: SweepSpec, settings: dict[str, Scalar | None], lent: Sequence[Record] = ()
    ):
        self.search, self._stopping = Search(spec, lent), Stopping(spec)
        self._settings, self._space, self._objective = settings, spec.space, spec.objective
        self.wanted = wanted(spec)
        """Trials in full that it is to have where trials wait at rungs."""
        self._own: dict[int, int] = {}
        """Its own number of each trial."""

    @property
    def left(self) -> bool:
        return len(self._own) < self.search.total

    def restore(self, trials: list[Trial], last: int) -> None:
        """Take in its trials of a journal; what they reached below epoch `last` made the rungs."""
        self._own = {trial.number: own for own, trial in enumerate(trials)}
        self.search.restore(
            {
                own: replace(t, params={p: v for p, v in t.params.items() if p in self._space})
                for own, t in enumerate(trials)
            }
        )
        for trial in trials:
            for at in course(self._objective, trial.results):
                if at.epoch < last:
                    waits = trial.paused and at.epoch == trial.epoch
                    self._stopping.know(self._own[trial.number], at, waits)

    def promoted(self) -> int | None:
        """A trial that waits at a rung and is to go on."""
        promotion = self._stopping.promotion
        own = promotion.promote() if promotion else None
        return None if own is None else list(self._own)[own]

    def foremost(self, waiting: set[int]) -> int | None:
        """The one of these trials, which all wait at rungs, that goes on before the others."""
        promotion, numbers = self._stopping.promotion, list(self._own)
        assert promotion is not None
        own = promotion.foremost({self._own[number] for number in waiting})
        return None if own is None else numbers[own]

    def pause(self, trial: Trial) -> None:
        path = course(self._objective, trial.results)
        self.search.pause(self._own[trial.number], list(path))

    def stops(self, trial: Trial, at: Reached) -> bool:
        return self._stopping.stops(self._own[trial.number], at)

    def rung(self, trial: Trial, at: Reached) -> float | None:
        return self._stopping.rung(self._own[trial.number], at)

    def propose(self, number: int) -> dict[str, Any]:
        own = self._own[number] = len(self._own)
        params, seed = self.search.propose(own)
        return {"params": {**self._settings, **params}, "seed": seed}

    def end(self, trial: Trial) -> None:
        path = course(self._objective, trial.results)
        self.search.end(self._own[trial.number], trial.status, list(path))


class Searches:
    """All that a sweep proposes and stops early.

    Args:
        state: of the journal; looked at again with each call.
    """

    def __init__(self, state: State):
        assert state.spec is not None
        spec = self._spec = state.spec
        self._state = state
        self._groups = {"": _Group(spec, {}, state.lent)}
        for name in shares(spec):
            assert spec.confirm is not None
            settings = spec.confirm.baselines[name]
            self._groups[name] = _Group(baseline_spec(spec, name), settings)

    def restore(self) -> None:
        """Take in what the journal holds."""
        trials = [t for _, t in sorted(self._state.trials.items()) if t.proposed_by_search]
        for name, group in self._groups.items():
            mine = [t for t in trials if t.baseline == name]
            group.restore(mine, self._spec.training.epochs)

    @property
    def left(self) -> bool:
        """Whether anything is to be proposed now; confirmations are once all else has ended."""
        return any(group.left for group in self._groups.values()) or bool(due(self._state))

    def propose(self, number: int) -> dict[str, Any]:
        """What the journal is to say of trial `number`, the next; something must be left."""
        for name, group in self._groups.items():
            if group.left:
                return group.propose(number) | ({"baseline": name} if name else {})
        first = due(self._state)[0]
        source, baseline = first.chosen.trial, first.chosen.baseline
        content = {"params": source.params, "seed": first.seed, "of": source.number}
        return content | ({"baseline": baseline} if baseline else {})

    def stops(self, trial: Trial, at: Reached) -> bool:
        """Whether a trial is to end at this epoch, before its last."""
        if not trial.proposed_by_search:
            return False
        return self._groups[trial.baseline].stops(trial, at)

    def promoted(self) -> int | None:
        """A trial that waits at a rung and is to go on now."""
        found = (group.promoted() for group in self._groups.values())
        return next((number for number in found if number is not None), None)

    def foremost(self, live: set[int]) -> int | None:
        """A trial that waits at a rung and goes on all the same: too few are trained in full.

        Args:
            live: trials at work now; they may come to the end yet.
        """
        if not self._spec.stopping.promote:
            return None
        trials = [t for t in self._state.trials.values() if t.proposed_by_search]
        for name, group in self._groups.items():
            mine = [t for t in trials if t.baseline == name]
            waiting = {t.number for t in mine if t.paused}
            ahead = [t for t in mine if t.status == "finished" or t.number in live]
            points = {repr(sorted(t.params.items())) for t in ahead}
            if waiting and len(points) < group.wanted:
                return group.foremost(waiting)
        return None

    def pause(self, trial: Trial) -> None:
        """Tell its search that a trial waits at a rung."""
        self._groups[trial.baseline].pause(trial)

    def rung(self, trial: Trial, at: Reached) -> float | None:
        """The rung that this epoch reached, where the trial's search decides at one."""
        if not trial.proposed_by_search:
            return None
        return self._groups[trial.baseline].rung(trial, at)

    def end(self, trial: Trial) -> None:
        """Tell its search how a trial ended."""
        if trial.proposed_by_search:
            self._groups[trial.baseline].end(trial)
