"""Rungs that Ray's ASHA has not: reached by seconds, or compared by two objectives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from sweeps.objectives import Pair, Reached, crowding, layers, losses
from sweeps.spec import SweepSpec


class Rung(Protocol):
    """Compares a trial with those that came to it before."""

    def stops(self, trial: int, at: Reached) -> bool:
        """Take in where a trial stands; True when it should end."""
        ...


def _no_rung() -> Rung:
    raise AssertionError("a ladder without steps asks for no rung")


class Ladder:
    """Rungs at `steps`, ascending, each made by `make`.

    A trial is compared at each rung that an epoch reached, by what it was after that epoch, and
    ends when one of them says so. Without steps it never does.
    """

    def __init__(
        self, spec: SweepSpec, steps: Sequence[float], make: Callable[[], Rung] = _no_rung
    ):
        self._by_seconds = bool(spec.stopping.seconds)
        self._rungs = {step: make() for step in steps}

    def stops(self, trial: int, at: Reached) -> bool:
        """Compare at the rungs reached; at none, never True."""
        before, now = (at.before, at.seconds) if self._by_seconds else (at.epoch - 1, at.epoch)
        here = replace(at, epoch=1)
        reached = [rung for step, rung in self._rungs.items() if before < step <= now]
        decisions = [rung.stops(trial, here) for rung in reached]  # each is to know of it
        return any(decisions)


class ParetoRung:
    """One rung of asynchronous successive halving for two objectives (arXiv 2106.12639).

    Those that came so far are ordered by layers of non-dominated trials, and within a layer by the
    room around them (the crowding distance of NSGA-II), the ends of the layer first. A trial goes
    on when fewer than 1/reduction of all, and fewer than one, stand before it: the first always
    does, and so does the best in either objective, unless another is as good in it and better in
    the other.
    """

    def __init__(self, spec: SweepSpec):
        self._objective, self._reduction = spec.objective, spec.stopping.reduction
        self._known: dict[int, Pair] = {}

    def stops(self, trial: int, at: Reached) -> bool:
        """Record both values, and compare with all that came before."""
        assert self._objective.second is not None
        pair = (at.value, at.second)
        self._known[trial] = losses(self._objective, self._objective.second, pair)
        pairs = list(self._known.values())
        mine = list(self._known).index(trial)
        ranks = layers(pairs)
        ahead = sum(rank < ranks[mine] for rank in ranks)
        same = [pair for pair, rank in zip(pairs, ranks, strict=True) if rank == ranks[mine]]
        room = dict(zip(same, crowding(same), strict=True))
        ahead += sum(room[pair] > room[pairs[mine]] for pair in same)
        return ahead >= max(1, len(pairs) // self._reduction)
