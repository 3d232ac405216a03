"""Two objectives: where a trial stands in both, and which trials no other beats in both.

All is computed from the journal's records, timings among them. So what is decided by it is decided
again in the same way when a sweep goes on, though a timing itself would not come out the same.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from sweeps.service import ObjectiveSpec, SecondSpec
from sweeps.state import Record, State, Trial

if TYPE_CHECKING:
    from sweeps.spec import SweepSpec

SECONDS = "seconds"
"""The metric that rungs in seconds add up: of an epoch, its evaluation included."""
Pair = tuple[float, float]


@dataclass(frozen=True)
class Reached:
    """Where a trial stands after an epoch."""

    epoch: int
    value: float
    second: float = 0.0
    """The second objective; 0 without one."""
    before: float = 0.0
    """Recorded seconds of the epochs before this one."""
    seconds: float = 0.0
    """Recorded seconds of all epochs, this one included."""


def course(objective: ObjectiveSpec, results: Sequence[Record]) -> Iterator[Reached]:
    """Where a trial stood after each epoch that reported every objective."""
    seconds, seen = 0.0, []
    for result in results:
        metrics = result["metrics"]
        before, seconds = seconds, seconds + (metrics.get(SECONDS) or 0.0)
        value = metrics.get(objective.metric)
        second = metrics.get(objective.second.metric) if objective.second else 0.0
        if value is None or second is None:
            continue
        insort(seen, second)
        if objective.second and objective.second.take == "median":
            second = statistics.median(seen)
        yield Reached(result["epoch"], value, second, before, seconds)


def required(spec: SweepSpec) -> list[str]:
    """Metrics that each epoch must report as finite numbers."""
    second = spec.objective.second
    names = [spec.objective.metric, *([second.metric] if second else [])]
    return list(dict.fromkeys([*names, *([SECONDS] if spec.stopping.seconds else [])]))


def losses(objective: ObjectiveSpec, second: SecondSpec, pair: Pair) -> Pair:
    """Both values as numbers of which less is better."""
    first_sign = -1 if objective.mode == "max" else 1
    return first_sign * pair[0], (-1 if second.mode == "max" else 1) * pair[1]


def pair_of(objective: ObjectiveSpec, trial: Trial) -> Pair | None:
    """What `course` ends with of two objectives; None when it has nothing."""
    assert objective.second is not None
    names = (objective.metric, objective.second.metric)
    told = [tuple(r["metrics"].get(name) for name in names) for r in trial.results]
    known = [pair for pair in told if None not in pair]
    if not known:
        return None
    value, second = known[-1]
    if objective.second.take == "median":
        second = statistics.median(second for _, second in known)
    return value, second


def front(state: State) -> list[Trial]:
    """The search's trials trained in full that none other beats; best of the first objective first.

    One beats another when it is better in one objective and not worse in the other. Empty without a
    second objective. Trials with both values equal stand on the front together.
    """
    assert state.spec is not None
    objective = state.spec.objective
    if objective.second is None:
        return []
    full = [t for t in state.trials.values() if t.searches and t.status == "finished"]
    known = [(t, pair) for t in full if (pair := pair_of(objective, t)) is not None]
    pairs = [losses(objective, objective.second, pair) for _, pair in known]
    first = [
        (pair, trial)
        for (trial, _), pair, layer in zip(known, pairs, layers(pairs), strict=True)
        if layer == 0
    ]
    return [trial for _, trial in sorted(first, key=lambda each: (each[0], each[1].number))]


def layers(pairs: Sequence[Pair]) -> list[int]:
    """For each pair its layer: 0 where none beats it, 1 where only those of layer 0 do, …

    Less is better in both; n · log n steps.
    """
    found: dict[Pair, int] = {}
    ends: list[float] = []  # the least second number of each layer so far, which ascend
    for pair in sorted(set(pairs)):
        layer = bisect_right(ends, pair[1])
        ends[layer : layer + 1] = [pair[1]]
        found[pair] = layer
    return [found[pair] for pair in pairs]


def crowding(pairs: Sequence[Pair]) -> list[float]:
    """How far apart the neighbours of each pair are within one layer; infinite at its ends.

    Both numbers are counted in parts of the layer's range, as in NSGA-II (Deb et al. 2002).
    """
    line = sorted(set(pairs))
    wide = line[-1][0] - line[0][0] or 1.0
    high = abs(line[0][1] - line[-1][1]) or 1.0
    steps = [(b[0] - a[0]) / wide + abs(b[1] - a[1]) / high for a, b in pairwise(line)]
    room = [a + b for a, b in pairwise([math.inf, *steps, math.inf])]
    found = dict(zip(line, room, strict=True))
    return [found[pair] for pair in pairs]
