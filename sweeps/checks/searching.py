"""How the sweep searches and stops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sweeps.constraints import MANY_COMBINATIONS, SIZES, broken_by, combinations
from sweeps.errors import Mistake
from sweeps.spec import Dimension, Scalar, SweepSpec, space_size, steps, trial_count
from sweeps.text import either, suggest
from sweeps.values import arms_of

LARGEST_GRID = 100_000
LEARNING = ("tpe", "gp", "cmaes")
"""Samplers that other trials influence."""
STARTING = ("tpe", "gp")
"""Samplers with startup trials."""


def search(spec: SweepSpec) -> Iterator[Mistake]:
    """A sampler that does not fit the space."""
    if spec.search.sampler != "grid":
        if spec.search.replicates > 1:
            rule = f"is for a grid; {spec.search.sampler} repeats no point on purpose"
            yield Mistake("search.replicates", rule, str(spec.search.replicates))
        if spec.search.sampler == "cmaes" and not any(map(_is_range, spec.space.values())):
            rule = "moves along ranges, and the space has none"
            yield Mistake("search.sampler", rule, "cmaes", "Use tpe, or give a range")
        return
    size = space_size(spec)
    if size is None:
        for path, dimension in spec.space.items():
            if dimension.kind in ("uniform", "loguniform"):
                yield Mistake(
                    f"space.{path}",
                    "a grid needs listed values",
                    dimension.kind,
                    "Use choice, or another sampler",
                )
    elif size > LARGEST_GRID:
        rule = f"a grid of more than {LARGEST_GRID:,} points is none that one runs"
        yield Mistake("search.sampler", rule, f"{size:,}", "List fewer values, or use random")
    elif trial_count(spec) > size * spec.search.replicates:
        yield Mistake(
            "search.trials",
            f"the grid has only {size} points",
            str(spec.search.trials),
            "Leave trials out to run them all",
        )


def _is_range(axis: Dimension) -> bool:
    return axis.kind not in ("choice", "fixed")


def lenders(spec: SweepSpec) -> Iterator[Mistake]:
    """Earlier sweeps for a sampler that learns from none, or this sweep itself."""
    if spec.search.from_ and spec.search.sampler not in LEARNING:
        rule = f"is for samplers that learn; {spec.search.sampler} does not"
        yield Mistake("search.from", rule, ", ".join(spec.search.from_), f"Use {either(LEARNING)}")
    if spec.name in spec.search.from_:
        yield Mistake("search.from", "names this sweep itself", spec.name, "Give it another name")


def points(spec: SweepSpec) -> Iterator[Mistake]:
    """Queued points outside the space, for a grid, or more of them than trials."""
    search = spec.search
    if search.points and search.sampler == "grid":
        yield Mistake(
            "search.points", "a grid tries its own points alone", remedy="List them there"
        )
        return
    if len(search.points) > trial_count(spec):
        found = f"{len(search.points)} points, {trial_count(spec)} trials"
        yield Mistake("search.points", "has more points than there are trials", found)
    for index, point in enumerate(search.points):
        place = f"search.points.{index}"
        mistakes = [m for path, v in point.items() for m in _outside(spec, place, path, v)]
        yield from mistakes
        if not mistakes and (mistake := _fits_nowhere(spec, point)):
            yield replace(mistake, path=f"{place}.{mistake.path}")


def _fits_nowhere(spec: SweepSpec, point: dict[str, Scalar]) -> Mistake | None:
    """A rule that the point's sizes break, whatever the other axes give."""
    given, mistake = {path: v for path, v in point.items() if path in SIZES}, None
    for arm in arms_of(spec) if given else []:
        for index, sizes in enumerate(combinations(spec, arm)):
            mistake = broken_by(sizes | given, within_batch=spec.search.ghost_within_batch)
            if mistake is None or index == MANY_COMBINATIONS:
                return None
    return mistake


def priors(spec: SweepSpec) -> Iterator[Mistake]:
    """Priors outside their range, or for a sampler that has no startup trials."""
    if spec.search.priors and spec.search.sampler not in STARTING:
        rule = f"shape the startup trials of {either(STARTING)}; {spec.search.sampler} has none"
        yield Mistake("search.priors", rule, remedy="Leave them out, or give search.points")
    for path, prior in spec.search.priors.items():
        yield from _outside(spec, "search.priors", path, prior.value)


def _outside(spec: SweepSpec, place: str, path: str, value: Scalar) -> Iterator[Mistake]:
    if path not in spec.space:
        yield Mistake(
            f"{place}.{path}", "is no axis of the space", "", suggest(path, [*spec.space])
        )
    elif spec.space[path].match(value) is None:
        axis = spec.space[path]
        inside = f"{axis.kind} {list(axis.values)}"
        remedy = f"Give a value inside, or widen space.{path}"
        yield Mistake(f"{place}.{path}", f"is outside its axis, {inside}", repr(value), remedy)


def stopping(spec: SweepSpec) -> Iterator[Mistake]:
    """Rungs that nobody reaches."""
    name, brackets = spec.stopping.name, spec.stopping.brackets
    if brackets and name != "hyperband":
        yield Mistake("stopping.brackets", f"are Hyperband's; {name} has none", str(brackets))
    elif brackets and brackets > len(steps(spec)) + 1:
        rule = f"there are {len(steps(spec)) + 1} at most with these rungs"
        yield Mistake("stopping.brackets", rule, str(brackets), "Lower it, or leave it out")
    if spec.stopping.compare and name not in ("asha", "hyperband"):
        rule, remedy = f"is for rungs of asha or hyperband; {name} has none", "Leave it out"
        yield Mistake("stopping.compare", rule, spec.stopping.compare, remedy)
    if spec.stopping.promote:
        yield from _promoting(spec)
    if spec.stopping.seconds:
        yield from _seconds(spec)
    elif name != "none" and spec.stopping.grace > spec.training.epochs:
        yield Mistake(
            "stopping.grace",
            "is above training.epochs, so nothing would ever be stopped",
            f"grace {spec.stopping.grace}, epochs {spec.training.epochs}",
            "Lower grace, or write stopping: {name: none}",
        )


def _promoting(spec: SweepSpec) -> Iterator[Mistake]:
    """Where trials cannot wait at rungs, or could not go on from there."""
    every, place = spec.training.checkpoint_every, "stopping.promote"
    remedy = "Change it, or leave promote out"
    for found, rule in (
        (spec.stopping.name != "asha" and spec.stopping.name, "is a form of asha"),
        (spec.stopping.seconds, "needs rungs in epochs, and these are in seconds"),
        (spec.objective.second, "compares one objective, and there are two"),
        (spec.search.sampler == "cmaes" and "cmaes", "tells values anew, which CMA-ES cannot take"),
    ):
        if found:
            yield Mistake(place, rule, found if isinstance(found, str) else "", remedy)
    if isinstance(every, str) or spec.stopping.grace % every:
        rule = "needs a checkpoint at each rung: checkpoint_every must divide stopping.grace"
        found = f"checkpoint_every {every}, grace {spec.stopping.grace}"
        yield Mistake("training.checkpoint_every", rule, found, "Write checkpoint_every: 1")


def _seconds(spec: SweepSpec) -> Iterator[Mistake]:
    """Rungs in seconds beside those in epochs, out of order, or for a rule that has none."""
    stopping, place = spec.stopping, "stopping.seconds"
    found = ", ".join(f"{each:g}" for each in stopping.seconds)
    if stopping.name not in ("asha", "hyperband"):
        rule = f"are rungs of asha or hyperband; {stopping.name} has none"
        yield Mistake(place, rule, found, "Leave them out")
    if list(stopping.seconds) != sorted(set(stopping.seconds)):
        yield Mistake(place, "must ascend", found, "Write the shortest first, each once")
    if stopping.grace != 1:
        rule = "counts epochs, and the rungs are in seconds"
        yield Mistake("stopping.grace", rule, str(stopping.grace), "Leave one of them out")


def second(spec: SweepSpec) -> Iterator[Mistake]:
    """A second objective that is the first, or that sampler or stopping cannot take."""
    if (other := spec.objective.second) is None:
        return
    if other.metric == spec.objective.metric:
        rule = "is the first objective already"
        yield Mistake("objective.second.metric", rule, other.metric, "Name another metric")
    if spec.search.sampler == "cmaes":
        rule = "CMA-ES takes one objective, and there are two"
        yield Mistake("search.sampler", rule, "cmaes", "Use tpe, gp, qmc, random or grid")
    if spec.stopping.name == "median":
        rule = "the median rule compares one objective, and there are two"
        yield Mistake("stopping.name", rule, "median", "Use asha, hyperband or none")
