"""The front of two objectives: a picture of all trials in both, and a table of the front."""

from __future__ import annotations

from plotly import graph_objects as go

from sweeps.objectives import pair_of
from sweeps.report.canvas import varied
from sweeps.report.page.axes import Objective, objective
from sweeps.report.page.layout import (
    GREY,
    STATUS_WORDS,
    VERMILION,
    Section,
    Table,
    cell,
    dressed,
    number,
)
from sweeps.report.results import OnFront, Sweep
from sweeps.state import Trial

_MOST_ROWS = 500


def front(sweep: Sweep) -> Section | None:
    """The front, where the sweep has a second objective."""
    aims = sweep.spec.objective
    if aims.second is None:
        return None
    title = f"The front of {aims.metric} and {aims.second.metric}"
    if not sweep.front:
        return Section("front", title, ["No trial was trained in full, so there is no front yet."])
    how = "its last epoch's" if aims.second.take == "last" else "the median of its epochs'"
    text = [
        f"{len(sweep.front)} of {_full(sweep)} trials trained in full stand on the front: no other "
        "is better in one objective without being worse in the other. Only these are compared; "
        "trials that were stopped early are drawn where they stood then.",
        f"A trial's {aims.second.metric} is {how}.",
    ]
    shown = sweep.front[:_MOST_ROWS]
    names = {path: sweep.labels[path] for path in varied(sweep)}
    rows = [
        [cell(v) for v in (each.trial, each.value, each.second)]
        + [cell(each.params.get(path)) for path in names]
        for each in shown
    ]
    columns = ["trial", aims.metric, aims.second.metric, *names.values()]
    left = len(sweep.front) - len(shown)
    table = Table(columns, rows, f"{left} more are in trials.csv." if left else "")
    return Section("front", title, text, table, figures=[_figure(sweep)])


def _full(sweep: Sweep) -> int:
    return sum(trial.status == "finished" for trial in sweep.searched())


def _figure(sweep: Sweep) -> go.Figure:
    second = sweep.spec.objective.second
    assert second is not None
    known, figure = {each.trial for each in sweep.front}, go.Figure()
    ranked = sweep.ranked()
    values = [v for t in ranked if (v := sweep.value(t)) is not None]
    scale = objective(sweep, values)
    others = [t for t in ranked if t.number not in known]
    for status, symbol, size in (("pruned", "circle-open", 6), ("finished", "circle", 8)):
        figure.add_trace(_points(sweep, [t for t in others if t.status == status], status, scale))
        figure.update_traces(
            marker={"symbol": symbol, "size": size, "color": GREY}, selector={"meta": status}
        )
    figure.add_trace(_line(sweep.front, scale))
    axis = {"title": {"text": second.metric}, "rangemode": "tozero"}
    return dressed(figure, 460, xaxis=axis, yaxis=scale.axis(values))


def _points(sweep: Sweep, trials: list[Trial], status: str, scale: Objective) -> go.Scatter:
    pairs = [(t, p) for t in trials if (p := pair_of(sweep.spec.objective, t)) is not None]
    said = [
        f"trial {t.number}, {STATUS_WORDS[status]}<br>{number(p[0])}, {number(p[1])}"
        for t, p in pairs
    ]
    return go.Scatter(
        x=[p[1] for _, p in pairs], y=scale.place([p[0] for _, p in pairs]), mode="markers",
        name=STATUS_WORDS[status], meta=status, text=said, hoverinfo="text",
    )  # fmt: skip


def _line(front: list[OnFront], scale: Objective) -> go.Scatter:
    """Stairs: whatever lies on their worse side is beaten by a trial of the front."""
    said = [f"trial {e.trial}<br>{number(e.value)}, {number(e.second)}" for e in front]
    return go.Scatter(
        x=[e.second for e in front], y=scale.place([e.value for e in front]),
        mode="lines+markers", name="the front", text=said, hoverinfo="text",
        line={"color": VERMILION, "width": 1.5, "shape": "vh"},
        marker={"size": 10, "color": VERMILION},
    )  # fmt: skip
