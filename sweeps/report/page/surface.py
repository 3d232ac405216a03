"""The objective over the space: the map of ghost size × strength, and one dimension at a time."""

from __future__ import annotations

from fractions import Fraction
from math import log10

from plotly import graph_objects as go

from sweeps.report.canvas import scale_of, varied
from sweeps.report.maps import MOST_PANELS, RIDGES, SIZE, amount, best_along
from sweeps.report.page.axes import Objective, dimension_axis, objective
from sweeps.report.page.layout import (
    BLUE,
    GREY,
    SCALE,
    STATUS_WORDS,
    VERMILION,
    Section,
    dressed,
    number,
)
from sweeps.report.results import Sweep
from sweeps.spec import NU, STRENGTH, Dimension
from sweeps.state import Trial

_UPRIGHT = {STRENGTH: "noise strength s", NU: "amount of noise ν = s²/N"}
"""Axes that say how much noise there is beside the ghost size, and their titles."""


def ghost_map(sweep: Sweep) -> Section | None:
    """The map, where the space varies both the ghost size and how much noise there is."""
    upright = amount(sweep)
    if not upright:
        return None
    title = "Ghost size and strength" if upright == STRENGTH else "Ghost size and amount of noise"
    if not sweep.ranked():
        return Section("map", title, ["No trial has a value, so there is no map."])
    same = "a dashed" if upright == STRENGTH else "a level"
    text = [
        f"Each point is a trial. Along {same} line the noise ν = s²/N is the same (ghost size N, "
        "strength s): where those lines follow the colours, only ν matters."
    ]
    return Section("map", title, text, figures=[_map(sweep, upright)])


def isolation(sweep: Sweep) -> Section | None:
    """A figure for each dimension: every trial, and the best over all other dimensions."""
    dimensions = list(varied(sweep).items())[:MOST_PANELS]
    if not dimensions or not sweep.ranked():
        return None
    text = [
        "The line is the best over all other parameters, for each value of a choice or each eighth "
        "of a range; dots are trials, filled where trained in full. A best of many looks better "
        "than a best of few."
    ]
    figures = [_isolated(sweep, path, dimension) for path, dimension in dimensions]
    return Section("isolation", "One parameter at a time", text, figures=figures)


def _map(sweep: Sweep, upright: str) -> go.Figure:
    ranked = sweep.ranked()
    scale, figure = objective(sweep, _values(sweep, ranked)), go.Figure()
    axes = {
        "xaxis": dimension_axis(sweep.spec.space[SIZE], "ghost size N, samples"),
        "yaxis": dimension_axis(sweep.spec.space[upright], _UPRIGHT[upright]),
    }
    if upright == STRENGTH:  # over ν they would be level
        _draw_ridges(figure, axes)
    for status in STATUS_WORDS:
        size = 15 if status == "finished" else 9
        group = [t for t in ranked if t.status == status]
        if group:
            figure.add_trace(_points(sweep, group, upright, size, scale))
    lost = [t for t in sweep.searched() if t.end and sweep.value(t) is None]
    if lost:
        figure.add_scatter(
            x=_at(lost, SIZE), y=_at(lost, upright), mode="markers", name="no value",
            text=[f"trial {t.number}: no value" for t in lost], hoverinfo="text",
            marker={"symbol": "x-thin", "size": 9, "line": {"color": GREY, "width": 2}},
        )  # fmt: skip
    ring = {"symbol": "circle-open", "size": 24, "color": VERMILION, "line": {"width": 3}}
    figure.add_scatter(
        x=_at(ranked[:1], SIZE), y=_at(ranked[:1], upright), mode="markers",
        name=f"best: trial {ranked[0].number}", marker=ring, hoverinfo="skip",
    )  # fmt: skip
    return dressed(figure, 480, **axes)


def _points(
    sweep: Sweep, trials: list[Trial], upright: str, size: int, scale: Objective
) -> go.Scatter:
    values = _values(sweep, trials)
    return go.Scatter(
        x=_at(trials, SIZE), y=_at(trials, upright), mode="markers",
        name=STATUS_WORDS[trials[0].status],
        text=_said(sweep, trials), hoverinfo="text",
        marker={"size": size, "color": scale.shades(values), "colorscale": SCALE, **scale.bar(),
                "reversescale": sweep.spec.objective.mode == "min",
                "line": {"color": GREY, "width": 1}},
    )  # fmt: skip


def _draw_ridges(figure: go.Figure, axes: dict) -> None:
    """Dashed lines along which s²/N is constant, each labelled at its end."""
    ends, (bottom, top) = axes["xaxis"]["range"], axes["yaxis"]["range"]
    logarithmic, tall = axes["xaxis"].get("type") == "log", axes["yaxis"].get("type") == "log"
    bottom, top = (10**bottom, 10**top) if tall else (max(bottom, 0.0), top)
    for nu in RIDGES:
        steps = [ends[0] + (ends[1] - ends[0]) * k / 60 for k in range(61)]
        xs = [10**x for x in steps] if logarithmic else [x for x in steps if x > 0]
        line = [(x, (x / nu) ** 0.5) for x in xs if bottom < (x / nu) ** 0.5 < top]
        if len(line) < 8:
            continue
        x, y = zip(*line, strict=True)
        dash = {"color": GREY, "width": 1, "dash": "dash"}
        figure.add_scatter(x=x, y=y, mode="lines", line=dash, hoverinfo="skip", showlegend=False)
        where = -max(2, len(line) // 14)
        figure.add_annotation(
            x=log10(x[where]) if logarithmic else x[where],
            y=log10(y[where]) if tall else y[where],
            text=f"s²/N = {Fraction(1, nu)}", showarrow=False, font={"size": 11}, yshift=9,
            xanchor="right",
        )  # fmt: skip


def _isolated(sweep: Sweep, path: str, dimension: Dimension) -> go.Figure:
    ranked = sweep.ranked()
    values = _values(sweep, ranked)
    scale, figure = objective(sweep, values), go.Figure()
    category = scale_of(dimension) == "category"

    def place(trial: Trial) -> float:
        return trial.params[path]

    full = [t for t in ranked if t.status == "finished"]
    for name, group, symbol, size in (
        ("cut short", [t for t in ranked if t.status != "finished"], "circle-open", 6),
        ("trained in full", full, "circle", 8),
    ):
        if group:
            figure.add_scatter(
                x=[str(place(t)) if category else place(t) for t in group],
                y=scale.place(_values(sweep, group)), mode="markers", name=name, hoverinfo="text",
                text=_said(sweep, group), marker={"symbol": symbol, "size": size, "color": GREY},
            )  # fmt: skip
    best = _best_line(sweep, full or ranked, path, dimension)
    figure.add_scatter(
        x=[x for x, _ in best], y=scale.place([y for _, y in best]), mode="lines+markers",
        name="best over the rest", line={"color": BLUE, "width": 2}, hoverinfo="skip",
    )  # fmt: skip
    axis = dimension_axis(dimension, sweep.labels[path])
    return dressed(figure, 320, xaxis=axis, yaxis=scale.axis(values), showlegend=False)


def _best_line(
    sweep: Sweep, trials: list[Trial], path: str, dimension: Dimension
) -> list[tuple[float | str, float]]:
    scale, names = scale_of(dimension), [str(v) for v in dimension.values]

    def place(trial: Trial) -> float:
        value = trial.params[path]
        return names.index(str(value)) if scale == "category" else float(value)

    line = best_along(sweep, trials, place, dimension, scale)
    return [(names[int(x)], y) for x, y in line] if scale == "category" else list(line)


def _said(sweep: Sweep, trials: list[Trial]) -> list[str]:
    names, metric = sweep.labels, sweep.spec.objective.metric
    return [
        f"trial {t.number}, {STATUS_WORDS[t.status]}, {t.epoch} epochs<br>"
        f"{metric} {number(value)}<br>"
        + "<br>".join(f"{names.get(p, p)} {_plain(v)}" for p, v in t.params.items())
        for t in trials
        if (value := sweep.value(t)) is not None
    ]


def _plain(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _at(trials: list[Trial], path: str) -> list:
    return [t.params[path] for t in trials]


def _values(sweep: Sweep, trials: list[Trial]) -> list[float]:
    return [value for t in trials if (value := sweep.value(t)) is not None]
