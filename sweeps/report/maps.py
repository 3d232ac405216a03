"""Pictures of the objective over the space: ghost size × strength, or one dimension at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.report.canvas import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    ORANGE,
    accuracy_ticks,
    blank,
    dimension_axis,
    legend,
    objective_axis,
    objective_colours,
    scale_of,
    varied,
)
from sweeps.report.results import Sweep
from sweeps.spec import NU, STRENGTH, Dimension
from sweeps.state import Trial

SIZE = "model.noise.ghost_size"
RIDGES = (1, 4, 16, 64, 256, 1024)
"""Values of N/s² whose lines are drawn."""
MOST_PANELS = 9
_BINS = 8


def ghost_map(sweep: Sweep) -> Figure:
    """The objective over ghost size and strength, with the lines of constant noise ν = s²/N.

    A space stated in ν is drawn over ghost size and ν; there such a line is level.
    """
    upright = amount(sweep)
    figure, (axes,) = blank(7.2, 5.2)
    ranked = sweep.ranked()
    full = [t for t in ranked if t.status == "finished"]
    cut = [t for t in ranked if t.status != "finished"]
    shades = ScalarMappable(objective_colours(sweep, _values(sweep, ranked)), COLOURS)
    axes.scatter(
        *_places(cut, upright), s=26, facecolor="none", edgecolor=_colours(shades, sweep, cut)
    )
    axes.scatter(
        *_places(full, upright),
        s=90,
        color=_colours(shades, sweep, full),
        edgecolor=BLACK,
        linewidth=0.6,
    )
    lost = [t for t in sweep.searched() if t.end and sweep.value(t) is None]
    axes.scatter(*_places(lost, upright), s=28, color=GREY, marker="x")
    axes.scatter(
        *_places(ranked[:1], upright), s=260, facecolor="none", edgecolor=ORANGE, linewidth=2
    )
    for which, path in (("x", SIZE), ("y", upright)):
        dimension_axis(axes, which, sweep.spec.space[path])
    logarithmic = scale_of(sweep.spec.space[SIZE]) == "log"
    axes.set_xlabel("ghost size N (samples" + (", log scale)" if logarithmic else ")"))
    if upright == STRENGTH:
        axes.set_ylabel("noise strength s")
        _draw_ridges(axes)
    else:
        axes.set_ylabel("amount of noise ν = s²/N")
    _draw_colours(figure, axes, shades, sweep)
    axes.set_title(f"{sweep.spec.name}: {len(sweep.searched())} trials", loc="left", fontsize=11)
    ridge = Line2D([], [], color=GREY, linewidth=0.9, linestyle="--", label="equal ν = s²/N")
    dead = Line2D([], [], color=GREY, marker="x", linestyle="", label="no value")
    lines = [*([dead] if lost else []), *([ridge] if upright == STRENGTH else [])]
    legend(figure, [*_key(bool(full), bool(cut)), *lines], columns=5)
    return figure


def amount(sweep: Sweep) -> str:
    """The axis beside the ghost size that says how much noise; empty when one of them is fixed."""
    axes = varied(sweep)
    return next((path for path in (STRENGTH, NU) if {SIZE, path} <= set(axes)), "")


def isolation(sweep: Sweep) -> Figure:
    """For each dimension, the objective of every trial, and the best over all other dimensions."""
    dimensions = list(varied(sweep).items())[:MOST_PANELS]
    columns = 2 if len(dimensions) == 4 else min(3, len(dimensions))
    rows = math.ceil(len(dimensions) / columns)
    figure, panels = blank(max(7.2, 3.8 * columns), 1.1 + 2.9 * rows, (rows, columns))
    for axes, (path, dimension) in zip(panels, dimensions, strict=False):
        _isolate(axes, sweep, path, dimension)
    for axes in panels[len(dimensions) :]:
        axes.set_visible(False)
    figure.suptitle(f"{sweep.spec.name}: {len(sweep.searched())} trials", fontsize=11)
    legend(figure, [*_key(True, True), Line2D([], [], color=BLUE, label="best over the rest")])
    return figure


def _draw_colours(figure: Figure, axes: Axes, shades: ScalarMappable, sweep: Sweep) -> None:
    beyond = "min" if sweep.spec.objective.mode == "max" else "max"
    bar = figure.colorbar(
        shades, ax=axes, label=sweep.spec.objective.metric, extend=beyond, pad=0.02
    )
    if isinstance(shades.norm, FuncNorm):
        low, high = shades.norm.vmin, shades.norm.vmax
        assert low is not None and high is not None
        accuracy_ticks(bar.ax.yaxis, low, high)


def _draw_ridges(axes: Axes) -> None:
    """Lines along which N/s² is constant, each labelled near where it leaves the picture."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    logarithmic = axes.get_xscale() == "log"
    for nu in RIDGES:
        shares = [k / 60 for k in range(61)]
        if logarithmic:
            xs = [left * (right / left) ** share for share in shares]
        else:
            xs = [x for share in shares if (x := left + (right - left) * share) > 0]
        line = [(x, math.sqrt(x / nu)) for x in xs if bottom < math.sqrt(x / nu) < top]
        if len(line) < 2:
            continue
        axes.plot(*zip(*line, strict=True), color=GREY, linewidth=0.9, linestyle="--", zorder=0)
        x, y = line[-max(2, len(line) // 14)]
        patch = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.text(x, y, f"N/s²={nu}", ha="center", va="center", fontsize=8, bbox=patch, zorder=0.5)


def _isolate(axes: Axes, sweep: Sweep, path: str, dimension: Dimension) -> None:
    """One panel: every trial, and the best trained-in-full value at each place along the axis."""
    scale = scale_of(dimension)
    names = [str(v) for v in dimension.values]

    def place(trial: Trial) -> float:
        value = trial.params[path]
        return names.index(str(value)) if scale == "category" else float(value)

    ranked = sweep.ranked()
    full = [t for t in ranked if t.status == "finished"]
    cut = [t for t in ranked if t.status != "finished"]
    axes.scatter(
        [place(t) for t in cut], _values(sweep, cut), s=14, facecolor="none", edgecolor=GREY
    )
    axes.scatter([place(t) for t in full], _values(sweep, full), s=36, color=GREY)
    axes.scatter(
        [place(ranked[0])], _values(sweep, ranked[:1]), s=130, facecolor="none", edgecolor=ORANGE,
        linewidth=2,
    )  # fmt: skip
    best = best_along(sweep, full or ranked, place, dimension, scale)
    axes.plot(*zip(*best, strict=True), color=BLUE, marker="_", markersize=9, zorder=3)
    objective_axis(axes, sweep, _values(sweep, ranked))
    dimension_axis(axes, "x", dimension)
    axes.set_xlabel(sweep.labels[path] + (" (log scale)" if scale == "log" else ""))


def best_along(
    sweep: Sweep,
    trials: list[Trial],
    place: Callable[[Trial], float],
    dimension: Dimension,
    scale: str,
) -> list[tuple[float, float]]:
    """The best trial of each value of a choice, or of each eighth of a range, left to right."""
    bend = math.log if scale == "log" else float
    best: dict[float, Trial] = {}
    for trial in trials:  # best first
        cell = place(trial)
        if dimension.kind != "choice":
            low, high = (bend(float(v)) for v in dimension.values)
            cell = min(int((bend(cell) - low) / (high - low) * _BINS), _BINS - 1)
        best.setdefault(cell, trial)
    return sorted((place(t), v) for t in best.values() if (v := sweep.value(t)) is not None)


def _colours(shades: ScalarMappable, sweep: Sweep, trials: list[Trial]) -> Any:
    return shades.to_rgba(numpy.array(_values(sweep, trials)))


def _key(full: bool, cut: bool) -> list[Line2D]:
    dot: dict[str, Any] = {"linestyle": "", "marker": "o"}
    out = [Line2D([], [], **dot, markersize=12, markerfacecolor="none", color=ORANGE, label="best")]
    if full:
        out.append(Line2D([], [], **dot, markersize=8, color=GREY, label="trained in full"))
    if cut:
        text = "cut short, last value"
        out.append(
            Line2D([], [], **dot, markersize=5, markerfacecolor="none", color=GREY, label=text)
        )
    return out


def _places(trials: list[Trial], upright: str) -> tuple[list[float], list[float]]:
    return [t.params[SIZE] for t in trials], [t.params[upright] for t in trials]


def _values(sweep: Sweep, trials: list[Trial]) -> list[float]:
    return [value for t in trials if (value := sweep.value(t)) is not None]
