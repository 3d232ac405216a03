"""Learning curves: the objective by epoch, with the rungs."""

from __future__ import annotations

from plotly import graph_objects as go

from sweeps.report.canvas import compared
from sweeps.report.page.axes import Objective, objective
from sweeps.report.page.layout import (
    GREY,
    STATUS_COLOURS,
    STATUS_WORDS,
    VERMILION,
    Section,
    dressed,
    number,
)
from sweeps.report.results import Sweep
from sweeps.spec import rungs
from sweeps.state import Trial

_MOST = 300
"""Curves drawn; the best are taken."""


def learning_curves(sweep: Sweep) -> Section:
    """Every trial's curve, the best one thick."""
    title, ranked = "Learning curves", sweep.ranked()
    if not ranked:
        nothing = f"No trial reported {sweep.spec.objective.metric}, so there is nothing to draw."
        return Section("curves", title, [nothing])
    text = ["One line a trial; a mark stands where it ended. Hover to see which."]
    if len(ranked) > _MOST:
        text.append(f"Drawn are the best {_MOST} of {len(ranked)}; curves.csv has all.")
    return Section("curves", title, text, figures=[_figure(sweep, ranked[:_MOST])])


def _figure(sweep: Sweep, ranked: list[Trial]) -> go.Figure:
    metric, steps = sweep.spec.objective.metric, rungs(sweep.spec)
    values = [v for t in ranked for v in t.values(metric).values()]
    scale, figure = objective(sweep, values), go.Figure()
    for status in reversed(STATUS_WORDS):
        group = [t for t in ranked[1:] if t.status == status]
        if group:
            figure.add_trace(_curves(group, status, metric, scale))
    figure.add_trace(_best(ranked[0], metric, scale))
    for epoch in steps:
        figure.add_vline(epoch, line={"color": GREY, "width": 1, "dash": "dot"})
    if steps:  # a legend's entry for the dotted lines
        rung = {"color": GREY, "width": 1, "dash": "dot"}
        figure.add_scatter(x=[None], y=[None], mode="lines", line=rung, name="rung")
    epochs, compared_at = compared(sweep)
    if epochs:
        figure.add_scatter(
            x=epochs, y=scale.place(compared_at), mode="markers", name="compared at a rung",
            hoverinfo="skip", marker={"symbol": "diamond-open", "size": 8, "color": GREY},
        )  # fmt: skip
    axis = {"title": {"text": "epoch"}, "rangemode": "tozero"}
    if steps:
        ticks = [*steps, sweep.spec.training.epochs]
        axis = {"title": {"text": "epoch (log scale)"}, "type": "log", "tickvals": ticks}
    return dressed(figure, 460, xaxis=axis, yaxis=scale.axis(values))


def _curves(trials: list[Trial], status: str, metric: str, scale: Objective) -> go.Scatter:
    """One trace for all trials of a status, with gaps between them: fast for hundreds."""
    x, y, said, marks = [], [], [], []
    for trial in trials:
        values = trial.values(metric)
        x += [*values, None]
        y += [*scale.place(list(values.values())), None]
        said += [*_said(trial, values), ""]
        marks += [0] * (len(values) - 1) + [6, 0]
    colour = STATUS_COLOURS[status]
    return go.Scatter(
        x=x, y=y, mode="lines+markers", name=STATUS_WORDS[status], text=said, hoverinfo="text",
        line={"color": colour, "width": 1.2}, opacity=0.75,
        marker={"size": marks, "color": colour, "symbol": "x" if status == "failed" else "circle",
                "line": {"width": 0}},
    )  # fmt: skip


def _best(trial: Trial, metric: str, scale: Objective) -> go.Scatter:
    values = trial.values(metric)
    return go.Scatter(
        x=list(values), y=scale.place(list(values.values())), mode="lines+markers",
        name=f"best: trial {trial.number}", text=_said(trial, values), hoverinfo="text",
        line={"color": VERMILION, "width": 3}, marker={"size": 6},
    )  # fmt: skip


def _said(trial: Trial, values: dict[int, float]) -> list[str]:
    word = STATUS_WORDS[trial.status]
    return [f"trial {trial.number}, {word}<br>epoch {e}: {number(v)}" for e, v in values.items()]
