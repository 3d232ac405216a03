"""Axes of plotly figures: the objective, and a dimension of the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

from sweeps.report.canvas import ACCURACIES, error_scale, limits, scale_of, smallest_error
from sweeps.report.page.layout import colour_bar, number
from sweeps.report.results import Sweep
from sweeps.spec import Dimension


@dataclass(frozen=True)
class Objective:
    """How values of the objective become places on an axis and shades.

    An accuracy is placed by the logarithm of its error, which sets 0.98 and 0.99 as far apart as
    0.8 and 0.9; any other objective by itself.
    """

    metric: str
    least: float | None
    """Error that stands for 0; None for a plain axis."""
    low: float
    high: float

    def place(self, values: Sequence[float]) -> list[float]:
        """Where on the axis: the error of an accuracy."""
        if self.least is None:
            return list(values)
        return [max(1 - v, self.least) for v in values]

    def axis(self, values: Sequence[float]) -> dict[str, Any]:
        """A plotly axis on which all `values` are in view."""
        if self.least is None:
            return {"title": {"text": self.metric}}
        errors = self.place(values)
        top, bottom = min(1, 1.15 * max(errors)), 0.85 * min(errors)
        ticks = [a for a in ACCURACIES if bottom <= 1 - a <= top]
        return {
            "type": "log",
            "autorange": False,
            "range": [log10(top), log10(bottom)],
            "tickvals": [1 - a for a in ticks],
            "ticktext": [f"{a:g}" for a in ticks],
            "title": {"text": f"{self.metric} (log of the error)"},
        }

    def shades(self, values: Sequence[float]) -> list[float]:
        """Numbers to colour by: larger is better."""
        if self.least is None:
            return list(values)
        return [-log10(e) for e in self.place(values)]

    def bar(self) -> dict[str, Any]:
        """The limits and the colour bar for `shades`; the worst few share one shade."""
        if self.least is None:
            return {"cmin": self.low, "cmax": self.high, "colorbar": colour_bar(self.metric)}
        low, high = self.shades([max(self.low, 0.0), min(self.high, 1 - self.least)])
        ticks = [a for a in ACCURACIES if low <= -log10(1 - a) <= high]
        ticks = ticks[:: 1 + len(ticks) // 7]
        bar = {"tickvals": self.shades(ticks), "ticktext": [f"{a:g}" for a in ticks]}
        return {"cmin": low, "cmax": high, "colorbar": colour_bar(self.metric) | bar}


def objective(sweep: Sweep, values: Sequence[float]) -> Objective:
    """The axis for these values of the sweep's objective."""
    logarithmic = error_scale(sweep, values) is not None
    least = smallest_error([1 - v for v in values]) if logarithmic else None
    return Objective(sweep.spec.objective.metric, least, *limits(sweep, values))


def dimension_axis(dimension: Dimension, title: str) -> dict[str, Any]:
    """A plotly axis over all values of a dimension, whether tried or not."""
    scale = scale_of(dimension)
    if scale == "category":
        names = [str(v) for v in dimension.values]
        return {"type": "category", "categoryarray": names, "title": {"text": title}}
    numbers = [float(v) for v in dimension.values]
    low, high = min(numbers), max(numbers)
    if scale == "linear":
        margin = 0.06 * (high - low) or 1.0
        return {"range": [low - margin, high + margin], "title": {"text": title}}
    margin = 0.06 * (log10(high) - log10(low))
    ticks = numbers if dimension.kind == "choice" else _round_numbers(low, high, dimension.kind)
    return {
        "type": "log",
        "range": [log10(low) - margin, log10(high) + margin],
        "tickvals": ticks,
        "ticktext": [number(t, 3) for t in ticks],
        "title": {"text": f"{title} (log scale)"},
    }


def _round_numbers(low: float, high: float, kind: str) -> list[float]:
    powers = [2.0**k for k in range(32)]
    decades = [step * 10.0**k for k in range(-12, 13) for step in (1, 2, 5)]
    ticks = powers if kind == "logint" else decades
    return [t for t in ticks if low * 0.999 <= t <= high * 1.001]
