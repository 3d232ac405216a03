"""What all figures share: size, colours, axes, legends.

Colours are Okabe and Ito's, and cividis: both can be told apart by colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from sweeps.report.results import Sweep
from sweeps.spec import Dimension

BLUE, ORANGE, GREY, BLACK = "#0072B2", "#D55E00", "#8A8A8A", "#222222"
COLOURS = "cividis"
LIKELY = 0.15
"""Share of the worst values that a scale may leave outside, so that the best can be told apart."""
ACCURACIES = [round(1 - d / 10**k, 6) for k in range(1, 6) for d in (10, 7, 5, 4, 3, 2, 1.5)]
"""Round accuracies, for ticks."""


def blank(
    width: float, height: float, panels: tuple[int, int] = (1, 1)
) -> tuple[Figure, list[Axes]]:
    """An empty figure of that many inches, with rows × columns of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    rows, columns = panels
    axes = [figure.add_subplot(rows, columns, k + 1) for k in range(rows * columns)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.25, linewidth=0.6)
        each.set_axisbelow(True)
    return figure, axes


def legend(figure: Figure, entries: Sequence[Line2D], columns: int = 4) -> None:
    """A legend below the axes, where it covers no data."""
    figure.legend(
        handles=list(entries),
        loc="outside lower center",
        ncols=min(columns, len(entries)),
        frameon=False,
        fontsize=9,
    )


def log_ticks(axes: Axes, which: str, ticks: Sequence[float]) -> None:
    """A logarithmic axis (`x` or `y`) with plain numbers at these ticks alone."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log", base=2)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def dimension_axis(axes: Axes, which: str, dimension: Dimension) -> None:
    """Lay out an axis (`x` or `y`) over all values of a dimension, whether tried or not."""
    scale, values = scale_of(dimension), dimension.values
    set_limits = axes.set_xlim if which == "x" else axes.set_ylim
    if scale == "category":
        set_limits(-0.5, len(values) - 0.5)
        (axes.set_xticks if which == "x" else axes.set_yticks)(range(len(values)), map(str, values))
        return
    numbers = [float(v) for v in values]
    low, high = min(numbers), max(numbers)
    if scale == "linear":
        margin = 0.06 * (high - low)
        set_limits(low - margin, high + margin)
        return
    if dimension.kind == "choice":
        ticks = numbers
    elif dimension.kind == "logint":
        ticks = [2.0**k for k in range(32)]
    else:
        ticks = [step * 10.0**k for k in range(-12, 13) for step in (1, 2, 5)]
    log_ticks(axes, which, [t for t in ticks if low * 0.999 <= t <= high * 1.001])
    margin = (high / low) ** 0.06
    set_limits(low / margin, high * margin)


def scale_of(dimension: Dimension) -> str:
    """`log`, `linear` or `category`: how values of a dimension are laid out."""
    values = dimension.values
    if any(isinstance(v, str | bool) for v in values):
        return "category"
    if dimension.kind in ("loguniform", "logint"):
        return "log"
    low, high = min(map(float, values)), max(map(float, values))
    return "log" if dimension.kind == "choice" and high >= 8 * low > 0 else "linear"


def varied(sweep: Sweep) -> dict[str, Dimension]:
    """The dimensions of the space that can take more than one value."""
    return {
        path: dimension
        for path, dimension in sweep.spec.space.items()
        if dimension.kind not in ("fixed", "choice") or len(dimension.values) > 1
    }


def objective_axis(axes: Axes, sweep: Sweep, values: Sequence[float]) -> None:
    """Lay out the y axis for the objective, every one of `values` in view; see `error_scale`."""
    metric, functions = sweep.spec.objective.metric, error_scale(sweep, values)
    if functions is None:
        axes.set_ylabel(metric)
        return
    errors = [1 - v for v in values]
    low, high = 1 - min(1, 1.15 * max(errors)), 1 - 0.85 * max(min(errors), smallest_error(errors))
    axes.set_yscale("function", functions=functions)
    axes.set_ylim(low, high)
    accuracy_ticks(axes.yaxis, low, high)
    axes.set_ylabel(f"{metric} (log scale of the error)")


def objective_colours(sweep: Sweep, values: Sequence[float]) -> Normalize:
    """How `values` of the objective become colours; the worst few share one. See `error_scale`."""
    low, high = limits(sweep, values)
    functions = error_scale(sweep, values)
    if functions is None:
        return Normalize(low, high, clip=True)
    best = 1 - smallest_error([1 - v for v in values])
    return FuncNorm(functions, max(low, 0.0), min(high, best), clip=True)


def error_scale(sweep: Sweep, values: Sequence[float]) -> tuple[Any, Any] | None:
    """For an accuracy, the functions to and from a logarithmic scale of its error, 1 - accuracy.

    They set 0.98 and 0.99 as far apart as 0.8 and 0.9. None for any other objective.
    """
    errors = [1 - v for v in values]
    accuracy = "accuracy" in sweep.spec.objective.metric
    if not accuracy or min(errors) < 0 or max(errors) > 1 or not max(errors):
        return None
    least = smallest_error(errors)
    return (
        lambda v: -numpy.log10(numpy.maximum(1 - numpy.asarray(v), least)),
        lambda u: 1 - 10 ** -numpy.asarray(u),
    )


def accuracy_ticks(axis: Axis, low: float, high: float) -> None:
    """Round accuracies between the two as ticks, written plainly."""
    axis.set_major_locator(FixedLocator([t for t in ACCURACIES if low <= t <= high]))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def smallest_error(errors: Sequence[float]) -> float:
    """What stands for an error of 0 on a logarithmic scale: half of the least other one."""
    return min(e for e in errors if e > 0) / 2


def limits(sweep: Sweep, values: Sequence[float]) -> tuple[float, float]:
    """The range of a scale for these values of the objective: the worst few may lie outside."""
    ordered = sorted(values)
    cut = int(LIKELY * (len(ordered) - 1))
    maximise = sweep.spec.objective.mode == "max"
    low = ordered[cut] if maximise else ordered[0]
    high = ordered[-1] if maximise else ordered[-1 - cut]
    margin = 0.04 * (high - low) or 0.01 * abs(high) or 0.01
    return low - margin, high + margin


def compared(sweep: Sweep) -> tuple[list[int], list[float]]:
    """Epochs after which rungs in seconds compared trials, each at its own, and values there."""
    metric = sweep.spec.objective.metric
    points = [
        (result["epoch"], result["metrics"][metric])
        for trial in sweep.searched()
        for result in trial.results
        if sweep.spec.stopping.seconds and result["rung"] is not None
    ]
    return [epoch for epoch, _ in points], [value for _, value in points]
