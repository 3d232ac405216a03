"""Draws around what is believed of an axis before anything was tried."""

from __future__ import annotations

import math
from random import Random

from sweeps.spec import Dimension, PriorSpec, Scalar

SPREAD = 0.1
"""Deviation of the normal, in widths of the range."""


def follow(
    priors: dict[str, PriorSpec], space: dict[str, Dimension], chance: Random
) -> dict[str, Scalar]:
    """Values for those axes on which this draw follows its prior, each with its confidence."""
    return {
        path: _around(space[path], prior.value, chance)
        for path, prior in sorted(priors.items())
        if chance.random() < prior.confidence
    }


def _around(dimension: Dimension, value: Scalar, chance: Random) -> Scalar:
    """The value of a choice itself; on a range a normal about it, drawn again while outside."""
    if dimension.kind in ("choice", "fixed"):
        return value
    low, high = (float(v) for v in dimension.values)
    logarithmic = dimension.kind.startswith("log")
    bend, unbend = (math.log, math.exp) if logarithmic else (float, float)
    width = bend(high) - bend(low)
    while True:
        drawn = unbend(chance.gauss(bend(float(value)), SPREAD * width))
        if dimension.kind in ("int", "logint"):
            drawn = round(drawn)
        if (inside := dimension.match(drawn)) is not None:
            return inside
