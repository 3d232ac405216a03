"""Sizes that must fit one another: rules that one point of the space can break.

A grid lists its points, so one that breaks a rule is a mistake of the spec. Every other sampler
draws again, and such a point never becomes a trial.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

from sweeps.errors import Mistake
from sweeps.spec import ARM, GROUPED, Dimension, Scalar, SweepSpec
from sweeps.values import Arm, value_at, values_in

BATCH, ACCUMULATE = "training.batch_size", "training.accumulate"
KIND, GROUP, GHOSTS = "model.norm.kind", "model.norm.ghost_size", "model.noise.ghost_size"
SIZES = (BATCH, ACCUMULATE, KIND, GROUP, GHOSTS)
MANY_COMBINATIONS = 100_000
"""Looked through by `check`, at most."""


def broken(spec: SweepSpec, params: dict[str, Scalar]) -> Mistake | None:
    """The first rule that a point of the space breaks."""
    arm = spec.arms[str(params[ARM])] if ARM in params and spec.arms else {}
    chosen = {**arm, **params}
    sizes = {path: chosen.get(path, value_at(spec, path)) for path in SIZES}
    return broken_by(sizes, within_batch=spec.search.ghost_within_batch)


def broken_by(sizes: dict[str, Any], *, within_batch: bool) -> Mistake | None:
    """The first rule that these values of `SIZES` break."""
    batch, accumulate, kind, group, ghosts = (sizes[path] for path in SIZES)
    seen = batch // accumulate
    if batch % accumulate:
        found = f"{batch} / {accumulate}"
        remedy = "Choose a divisor of the batch size"
        return Mistake(ACCUMULATE, "must divide batch_size", found, remedy)
    if seen == 1 and kind in ("batch", *GROUPED):
        rule = "leaves one image a forward pass, and batch statistics need at least 2"
        return Mistake(ACCUMULATE, rule, str(accumulate), "Lower it")
    if kind in GROUPED and group < 2:
        return Mistake(GROUP, f"{kind} needs at least 2 samples in a group", str(group), "Raise it")
    if kind in GROUPED and seen % group:
        rule = "must divide the batch that one forward pass sees"
        return Mistake(GROUP, rule, f"ghost size {group}, batch {seen}", _divisors(seen))
    if within_batch and ghosts is not None and ghosts > seen:
        rule = "is above the batch that one forward pass sees"
        remedy = "Lower it, or leave out search.ghost_within_batch"
        return Mistake(GHOSTS, rule, f"ghost size {ghosts}, batch {seen}", remedy)
    return None


@cache
def _divisors(size: int) -> str:
    return f"Divisors: {', '.join(str(d) for d in range(2, size + 1) if size % d == 0)}"


def combinations(spec: SweepSpec, arm: Arm) -> Iterator[dict[str, Any]]:
    """Every combination of sizes that the space holds in one arm.

    The noise's ghost size is only one of its values where no rule looks at it.
    """
    axes = [_listed(spec, path, arm) for path in SIZES]
    if not spec.search.ghost_within_batch:
        axes[SIZES.index(GHOSTS)] = axes[SIZES.index(GHOSTS)][:1]
    return (dict(zip(SIZES, values, strict=True)) for values in itertools.product(*axes))


def _listed(spec: SweepSpec, path: str, arm: Arm) -> tuple[Any, ...] | range:
    dimension: Dimension | None = spec.space.get(path)
    if dimension and dimension.kind in ("int", "logint"):
        low, high = (int(v) for v in dimension.values)
        return range(low, high + 1)
    return values_in(spec, path, arm)
