"""The figure of the weights' distance from their start against the logarithm of updates."""

from __future__ import annotations

import math
import statistics

import matplotlib
import numpy
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.report.canvas import COLOURS, blank, legend
from sweeps.report.replicates import Configuration, configurations, distances, growth
from sweeps.report.results import Sweep

_MARKS = "osD^vP*X<>"
_MOST = 12
"""Configurations drawn; more cannot be told apart."""


def recorded(sweep: Sweep) -> list[Configuration]:
    """The first configurations, at most 12, whose distances can be fitted."""
    able = [c for c in configurations(sweep) if any(growth(sweep, t) for t in c.trials)]
    return able[:_MOST]


def distance_figure(sweep: Sweep) -> Figure:
    """A curve for each configuration: the mean over seeds, with the fit of mean slope as a line.

    The fit covers the updates before the first step of the learning rate. The title says how far
    the slopes lie apart: the largest divided by the smallest.
    """
    drawn = recorded(sweep)
    figure, (axes,) = blank(7.2, 4.8 + 0.22 * math.ceil(len(drawn) / 2))
    shades = matplotlib.colormaps[COLOURS](numpy.linspace(0, 0.92, len(drawn)))
    entries, slopes = [], []
    for index, (each, colour) in enumerate(zip(drawn, shades, strict=True)):
        curves = [distances(t) for t in each.trials]
        updates = sorted(set.intersection(*(set(c) for c in curves)))
        means = [statistics.fmean(c[u] for c in curves) for u in updates]
        mark = _MARKS[index % len(_MARKS)]
        axes.plot(updates, means, mark, color=colour, markersize=4.5, zorder=3)
        fits = [fit for t in each.trials if (fit := growth(sweep, t))]
        slope = statistics.fmean(f.slope for f in fits)
        intercept = statistics.fmean(f.intercept for f in fits)
        ends = numpy.array([updates[0], updates[-1]])
        axes.plot(ends, intercept + slope * numpy.log(ends), color=colour, linewidth=1.1)
        slopes.append(slope)
        r2 = statistics.fmean(f.r2 for f in fits)
        text = f"{each.label}: slope {slope:.3g}, R² {r2:.2f} (n = {len(fits)})"
        entries.append(Line2D([], [], color=colour, marker=mark, markersize=4.5, label=text))
    axes.set_xscale("log")
    axes.set_xlabel("update (log scale)")
    axes.set_ylabel("L2 distance of all weights from their start")
    title = sweep.spec.name
    if len(slopes) > 1 and min(slopes) > 0:
        title += f": largest / smallest slope {max(slopes) / min(slopes):.2f}"
    axes.set_title(title, loc="left", fontsize=11)
    legend(figure, entries, columns=2)
    return figure
