"""The spec's space as Optuna distributions, and as the points of a grid."""

from __future__ import annotations

import itertools
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sweeps.spec import Dimension, Scalar


def distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna's distribution for one dimension; a fixed value is a choice of one."""
    values: Any = dimension.values
    match dimension.kind:
        case "uniform" | "loguniform":
            low, high = (float(v) for v in values)
            return FloatDistribution(low, high, log=dimension.kind == "loguniform")
        case "int" | "logint":
            low, high = (int(v) for v in values)
            return IntDistribution(low, high, log=dimension.kind == "logint")
        case _:
            return CategoricalDistribution(values)


def distributions(space: dict[str, Dimension]) -> dict[str, BaseDistribution]:
    """Optuna's distributions for a whole space, in the spec's order."""
    return {path: distribution(dimension) for path, dimension in space.items()}


def grid(space: dict[str, Dimension]) -> list[dict[str, Scalar]]:
    """All points of a discrete space, the last dimension varying fastest.

    Raises:
        ValueError: a dimension is continuous.
    """
    axes = [_listed(path, dimension) for path, dimension in space.items()]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*axes)]


def _listed(path: str, dimension: Dimension) -> list[Scalar]:
    if dimension.kind in ("choice", "fixed"):
        return list(dimension.values)
    if dimension.kind in ("int", "logint"):
        low, high = (int(v) for v in dimension.values)
        return list(range(low, high + 1))
    raise ValueError(f"{path}: a grid needs listed values, found {dimension.kind}. Use choice")
