"""The figures of a sweep's report, drawn by matplotlib without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.report.canvas import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    blank,
    compared,
    legend,
    log_ticks,
    objective_axis,
    varied,
)
from sweeps.report.distance import distance_figure, recorded
from sweeps.report.front import front_figure
from sweeps.report.maps import amount, ghost_map, isolation
from sweeps.report.results import Sweep
from sweeps.spec import rungs
from sweeps.state import Trial

_DPI = 130


def draw(sweep: Sweep, folder: Path) -> list[Path]:
    """Draw what the sweep has data for into `folder`; returns the files.

    The learning curves; of two objectives their front; then the map over ghost size and strength
    where the space has both, else a plot of each dimension of the space by itself; then the
    weights' distance from their start. The sweep must have a trial with a value.
    """
    figures = {"learning_curves.png": learning_curves(sweep)}
    if sweep.front:
        figures["pareto_front.png"] = front_figure(sweep)
    if amount(sweep):
        figures["ghost_map.png"] = ghost_map(sweep)
    elif varied(sweep):
        figures["isolation.png"] = isolation(sweep)
    if recorded(sweep):
        figures["weight_distance.png"] = distance_figure(sweep)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=_DPI)
    return [folder / name for name in figures]


def learning_curves(sweep: Sweep) -> Figure:
    """The objective by epoch: a line for each trial, the best one marked, the rungs dotted.

    Rungs in seconds, which each trial reaches at an epoch of its own, are marks on the lines.
    """
    figure, (axes,) = blank(7.2, 4.8)
    ranked, metric = sweep.ranked(), sweep.spec.objective.metric
    for trial in reversed(ranked):
        _curve(axes, trial, metric, best=trial is ranked[0])
    steps = rungs(sweep.spec)
    for epoch in steps:
        axes.axvline(epoch, color=BLACK, linewidth=1, linestyle=":", zorder=1)
    if steps:
        log_ticks(axes, "x", [*steps, sweep.spec.training.epochs])
    axes.set_xlabel("epoch (log scale)" if steps else "epoch")
    objective_axis(axes, sweep, [v for t in ranked for v in t.values(metric).values()])
    axes.set_title(f"{sweep.spec.name}: {len(sweep.searched())} trials", loc="left", fontsize=11)
    key = _key(ranked, bool(steps))
    if sweep.spec.stopping.seconds:
        dot: dict[str, Any] = {
            "marker": "d",
            "fillstyle": "none",
            "linestyle": "",
            "markersize": 5,
            "zorder": 5,
        }
        key += axes.plot(*compared(sweep), color=BLACK, **dot, label="compared at a rung")
    legend(figure, key, columns=3)
    return figure


def _curve(axes: Axes, trial: Trial, metric: str, *, best: bool) -> None:
    values = trial.values(metric)
    x, y = list(values), list(values.values())
    if best:
        axes.plot(x, y, color=ORANGE, linewidth=2.2, marker="o", markersize=3.5, zorder=4)
    elif trial.status == "finished":
        axes.plot(x, y, color=BLUE, linewidth=1.1, alpha=0.7, zorder=3)
    else:
        axes.plot(x, y, color=GREY, linewidth=0.9, alpha=0.5, zorder=2)
        axes.plot(x[-1:], y[-1:], color=GREY, marker=_END[trial.status], markersize=5, zorder=2)


_END = {"pruned": ".", "waiting": "|", "running": ">", "failed": "x", "diverged": "x"}
_MEANING = {
    "pruned": "stopped early",
    "waiting": "waits at a rung",
    "running": "not ended",
    "failed": "failed or diverged",
    "diverged": "failed or diverged",
}


def _key(ranked: list[Trial], with_rungs: bool) -> list[Line2D]:
    """A legend of what is in the picture."""
    entries = {
        f"best: trial {ranked[0].number}": {"color": ORANGE, "linewidth": 2.2, "marker": "o"}
    }
    if any(t.status == "finished" for t in ranked[1:]):
        entries["trained in full"] = {"color": BLUE}
    for status, text in _MEANING.items():
        if any(t.status == status for t in ranked[1:]):
            entries[text] = {"color": GREY, "marker": _END[status]}
    if with_rungs:
        entries["rungs"] = {"color": BLACK, "linestyle": ":"}
    return [Line2D([], [], label=label, markersize=4, **style) for label, style in entries.items()]
