"""The place of the confirmation on the page: what fresh seeds and unseen data say.

All figures are those of `sweeps.report.confirmation`.
"""

from __future__ import annotations

from plotly import graph_objects as go

from sweeps.report.confirmation import Confirmation, confirmation
from sweeps.report.page.layout import BLUE, GREY, Section, Table, cell, dressed
from sweeps.report.results import Sweep


def verdict(sweep: Sweep) -> str:
    """The confirmation's sentence; empty without one."""
    found = confirmation(sweep)
    return found.verdict if found else ""


def confirmed(sweep: Sweep) -> list[Section]:
    """The arms on unseen data and their paired comparisons; nothing without a confirmation."""
    found = confirmation(sweep)
    if not found:
        return []
    text = [] if found.arms else [found.verdict]  # else the summary has it
    text += found.missing
    if found.arms:
        seeds = f"{len(found.seeds)} fresh seeds ({found.seeds[0]} to {found.seeds[-1]})"
        text.append(
            f"Chosen on validation, then trained in full on the same {seeds} and tested once. "
            f"Intervals are of the mean, {_percent(found)}."
        )
    figures = [_figure(found)] if any(arm.interval for arm in found.arms) else []
    table = _arms(found) if found.arms else None
    sections = [Section("confirmation", "Confirmation on unseen data", text, table, figures)]
    return sections + ([_comparisons(found)] if found.comparisons else [])


def _arms(found: Confirmation) -> Table:
    columns = ["configuration", "parameters", "seeds n", f"{found.metric}, mean", "± sd"]
    columns += ["from", "to", "interquartile mean", "on validation"]
    rows = []
    for arm in found.arms:
        low, high = arm.interval or (None, None)
        values = [low, high, arm.interquartile_mean, arm.validation]
        lead = [cell(arm.name), cell(arm.label), cell(len(arm.values))]
        rows.append([*lead, cell(arm.mean), cell(arm.sd, 2), *map(cell, values)])
    return Table(columns, rows)


def _figure(found: Confirmation) -> go.Figure:
    """Every seed as a dot, the mean with its interval as a bar; baselines in grey."""
    figure = go.Figure()
    for arm in found.arms:
        if arm.mean is None:
            continue
        colour, values = GREY if arm.baseline else BLUE, list(arm.values.values())
        figure.add_scatter(
            x=values, y=[arm.name] * len(values), mode="markers", hoverinfo="text",
            text=[f"seed {seed}: {value:.4f}" for seed, value in arm.values.items()],
            marker={"color": colour, "symbol": "line-ns-open", "size": 10}, opacity=0.6,
        )  # fmt: skip
        low, high = arm.interval or (arm.mean, arm.mean)
        figure.add_scatter(
            x=[arm.mean], y=[arm.name], mode="markers", hoverinfo="text",
            text=[f"{arm.name}: mean {arm.mean:.4f}, {low:.4f} to {high:.4f}"],
            marker={"color": colour, "size": 11},
            error_x={"type": "data", "array": [high - arm.mean], "arrayminus": [arm.mean - low],
                     "color": colour, "thickness": 2},
        )  # fmt: skip
    title = f"{found.metric}: seeds, mean and {_percent(found)} interval"
    return dressed(
        figure, 140 + 40 * len(found.arms), showlegend=False, yaxis={"autorange": "reversed"},
        xaxis={"title": {"text": title}},
    )  # fmt: skip


def _comparisons(found: Confirmation) -> Section:
    """Arm less baseline over the seeds they share, in points where the metric is an accuracy."""
    points = found.metric.endswith("accuracy")
    scale, unit = (100, "points") if points else (1, "difference")
    columns = ["configuration", "baseline", "pairs n", unit, "interval from", "to"]
    columns += ["chance to be better", "p (Holm)", "found"]
    rows = []
    for each in found.comparisons:
        ends = each.interval or (None, None)
        sizes = [None if v is None else scale * v for v in (each.mean, *ends)]
        tests = [cell(each.improvement, 2), cell(each.adjusted, 2), cell(each.finding)]
        lead = [cell(each.arm), cell(each.baseline), cell(each.n)]
        rows.append([*lead, *(cell(v, 3) for v in sizes), *tests])
    text = [
        f"Paired by seed, {_percent(found)} intervals for each comparison by itself; p is "
        f"adjusted for all {len(rows)} (Holm)."
    ]
    return Section("comparisons", "Paired comparisons", text, Table(columns, rows))


def _percent(found: Confirmation) -> str:
    return f"{100 * found.confidence:g} %"
