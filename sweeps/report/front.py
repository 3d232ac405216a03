"""The picture of two objectives: every trial in both, and the front that none beats."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeps.objectives import pair_of
from sweeps.report.canvas import GREY, ORANGE, blank, objective_axis
from sweeps.report.results import Sweep
from sweeps.state import Trial


def front_figure(sweep: Sweep) -> Figure:
    """The first objective over the second. Trials stopped early stand where they were then."""
    second = sweep.spec.objective.second
    assert second is not None
    figure, (axes,) = blank(7.2, 4.8)
    ranked = sweep.ranked()
    _dots(axes, sweep, [t for t in ranked if t.status != "finished"], "cut short, last value", True)
    _dots(axes, sweep, [t for t in ranked if t.status == "finished"], "trained in full", False)
    axes.plot(
        [each.second for each in sweep.front],
        [each.value for each in sweep.front],
        color=ORANGE,
        marker="o",
        label=f"the front: {len(sweep.front)} trials",
        drawstyle="steps-pre",  # what lies on the worse side of the stairs is beaten
        zorder=3,
    )
    objective_axis(axes, sweep, [v for t in ranked if (v := sweep.value(t)) is not None])
    axes.set_xlabel(second.metric)
    axes.set_title(f"{sweep.spec.name}: {len(sweep.searched())} trials", loc="left", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _dots(axes: Axes, sweep: Sweep, trials: list[Trial], label: str, hollow: bool) -> None:
    pairs = [pair for t in trials if (pair := pair_of(sweep.spec.objective, t)) is not None]
    if pairs:
        face = "none" if hollow else GREY
        x, y = [p[1] for p in pairs], [p[0] for p in pairs]
        axes.scatter(x, y, s=26, facecolor=face, edgecolor=GREY, label=label)
