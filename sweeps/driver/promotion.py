"""Asynchronous successive halving as published: trials wait at each rung, the best are promoted.

Li et al., "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934, Algorithm 2).
Ray's ASHA decides at once whether a trial goes on, by those that came before it: an early one goes
on too easily, and one that was stopped is lost. Here it is paused, and goes on from its checkpoint
as soon as it is among the best 1/reduction of its rung.

A search of few trials would so train none in full: of 8 with a reduction of 3, two go on at the
first rung and nobody at the second. Once nothing else is left, the foremost go on all the same,
until as many are trained in full as `confirm` takes (`brackets.wanted`).
"""

from __future__ import annotations

from collections import Counter
from random import Random

from sweeps.brackets import wanted
from sweeps.objectives import Reached
from sweeps.spec import SweepSpec, rungs, trial_count


def made_up(spec: SweepSpec, chance: Random) -> Counter[int]:
    """Epochs of each trial of one made-up search, its trials as good at one rung as at another."""
    rule, last = Promotion(spec), spec.training.epochs
    worth, done = [chance.random() for _ in range(trial_count(spec))], Counter[int]()

    def train(trial: int | None) -> None:
        while trial is not None:
            for epoch in range(done[trial] + 1, last + 1):
                done[trial] = epoch
                if epoch < last and rule.stops(trial, Reached(epoch, worth[trial])):
                    break
            trial = rule.promote()

    for trial in range(len(worth)):
        train(trial)
    while sum(epoch == last for epoch in done.values()) < wanted(spec):
        train(rule.foremost({trial for trial, epoch in done.items() if epoch < last}))
    return done


class Promotion:
    """The rungs of one search; all is keyed by its own trial numbers."""

    def __init__(self, spec: SweepSpec):
        self._reduction = spec.stopping.reduction
        self._sign = 1 if spec.objective.mode == "max" else -1
        self._rungs: dict[int, dict[int, float]] = {rung: {} for rung in rungs(spec)}
        self._gone_on: dict[int, set[int]] = {rung: set() for rung in self._rungs}

    def stops(self, trial: int, at: Reached) -> bool:
        """Take in an epoch; True at a rung where the trial is to wait."""
        if at.epoch not in self._rungs:
            return False
        self._rungs[at.epoch][trial] = self._sign * at.value
        if trial not in self._best(at.epoch):
            return True
        self._gone_on[at.epoch].add(trial)
        return False

    def know(self, trial: int, at: Reached, waits: bool) -> None:
        """Take in an epoch of an earlier driver; `waits`: the trial is still there."""
        if at.epoch in self._rungs:
            self._rungs[at.epoch][trial] = self._sign * at.value
            if not waits:
                self._gone_on[at.epoch].add(trial)

    def promote(self) -> int | None:
        """A waiting trial that is to go on now, from the highest rung that has one."""
        for rung in reversed(self._rungs):
            for trial in self._best(rung):
                if trial not in self._gone_on[rung]:
                    self._gone_on[rung].add(trial)
                    return trial
        return None

    def foremost(self, waiting: set[int]) -> int | None:
        """The best of those that wait at the highest rung where any does; it is to go on now."""
        for rung in reversed(self._rungs):
            for trial in self._ranked(rung):
                if trial in waiting and trial not in self._gone_on[rung]:
                    self._gone_on[rung].add(trial)
                    return trial
        return None

    def _best(self, rung: int) -> list[int]:
        """The best 1/reduction of those that came to the rung."""
        ranked = self._ranked(rung)
        return ranked[: len(ranked) // self._reduction]

    def _ranked(self, rung: int) -> list[int]:
        """From the best to the worst; of equals the earlier trial first."""
        values = self._rungs[rung]
        return sorted(values, key=lambda trial: (-values[trial], trial))
