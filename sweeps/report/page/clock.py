"""Where the time went: trials on nodes by the hour, and what their hours were made of.

Time is counted while a driver was at work: the hours between a stop and its resume are cut out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from plotly import graph_objects as go

from sweeps.report.page.layout import (
    BLUE,
    GREY,
    STATUS_COLOURS,
    STATUS_WORDS,
    Section,
    Table,
    cell,
    dressed,
)
from sweeps.report.results import Sweep
from sweeps.selection import epochs_in_full
from sweeps.state import State, Trial

_MOST_LANES = 60
_UNITS = ((7200, 3600, "hours"), (180, 60, "minutes"), (0, 1, "seconds"))
"""From so many seconds on: seconds of the unit, its name."""


@dataclass(frozen=True)
class Stretch:
    """One attempt at a trial: on which node, from when to when (Unix seconds)."""

    trial: Trial
    attempt: int
    node: str
    start: float
    end: float


class Clock:
    """Seconds at work since the sweep began, for a time of the clock."""

    def __init__(self, state: State):
        starts = [r["time"] for r in state.sessions if r["state"] == "started"]
        times = _times(state)
        self.spans: list[tuple[float, float]] = []
        for start, following in zip(starts, [*starts[1:], float("inf")], strict=True):
            last = max((t for t in times if start <= t < following), default=start)
            self.spans.append((start, last))

    def at(self, time: float) -> float:
        """Seconds at work up to that time."""
        return sum(max(0.0, min(time, end) - start) for start, end in self.spans)


def stretches(state: State) -> list[Stretch]:
    """Every attempt, by its start."""
    out = []
    for trial in state.trials.values():
        for record in trial.attempts:
            number = record["attempt"]
            results = [r for r in trial.results if r["attempt"] == number]
            end = results[-1]["time"] if results else record["time"]
            error = (trial.end or {}).get("error") or {}
            node = next((r["node"] for r in results if r.get("node")), "")
            waited = bool(results) and results[-1]["decision"] == "pause"
            if trial.end and record is trial.attempts[-1] and not waited:
                end, node = max(end, trial.end["time"]), node or error.get("node", "")
            out.append(Stretch(trial, number, node or "node not known", record["time"], end))
    return sorted(out, key=lambda s: s.start)


def timeline(sweep: Sweep) -> Section:
    """A bar for each attempt, on the lanes of its node."""
    found = stretches(sweep.state)
    if not found:
        return Section("timeline", "Trials on nodes", ["No trial was handed to a worker."])
    clock = Clock(sweep.state)
    lanes = _lanes(found)
    names = sorted(set(lanes), key=lambda lane: (lane[0], lane[1]))
    text = ["One bar an attempt, one lane for each trial that a node trains at a time."]
    if len(names) > _MOST_LANES:
        text.append(f"Drawn are {_MOST_LANES} of {len(names)} lanes.")
        names = names[:_MOST_LANES]
    if len(clock.spans) > 1:
        text.append("Dotted: the driver was started again; the time between is cut out.")
    shown = [(s, lane) for s, lane in zip(found, lanes, strict=True) if lane in set(names)]
    return Section("timeline", "Trials on nodes", text, figures=[_bars(shown, names, clock)])


def time_spent(sweep: Sweep) -> Section:
    """Trial-hours by how the trials ended: in their epochs, and beside them."""
    state, title = sweep.state, "Where the time went"
    if not state.trial_seconds:
        return Section("time", title, ["No trial has worked yet."])
    rows = []
    for status, word in STATUS_WORDS.items():
        group = [t for t in state.trials.values() if t.status == status]
        if group:
            inside = sum(_in_epochs(t) for t in group)
            beside = max(0.0, sum(t.seconds for t in group) - inside)
            rows.append((word, len(group), sum(len(t.results) for t in group), inside, beside))
    size, unit = _unit(max(inside + beside for *_, inside, beside in rows))
    columns = ["trials", "number", "epochs", f"in epochs, {unit}", f"beside them, {unit}"]
    cells = [[cell(w), cell(n), cell(e), cell(i / size, 3), cell(b / size, 3)]
             for w, n, e, i, b in rows]  # fmt: skip
    figure = go.Figure()
    for name, index, colour in (("in epochs", 3, BLUE), ("beside them", 4, GREY)):
        figure.add_bar(
            y=[r[0] for r in rows], x=[r[index] / size for r in rows], orientation="h", name=name,
            marker={"color": colour},
        )  # fmt: skip
    height = 150 + 34 * len(rows)
    axis = {"title": {"text": f"time of trials, {unit}"}}
    dressed(
        figure,
        height,
        barmode="stack",
        legend_traceorder="normal",
        xaxis=axis,
        yaxis={"autorange": "reversed"},
    )
    return Section("time", title, _said(sweep), Table(columns, cells), [figure])


def _said(sweep: Sweep) -> list[str]:
    state = sweep.state
    size, unit = _unit(state.seconds)
    most = epochs_in_full(state, len(state.trials))
    at_once = state.trial_seconds / state.seconds if state.seconds else 0.0
    return [
        f"The sweep was at work for {state.seconds / size:.3g} {unit} by the clock, with "
        f"{at_once:.2g} trials at a time on average. It trained {state.epochs} epochs; its "
        f"{len(state.trials)} trials in full would be {most}.",
        "Beside the epochs: the start of workers, data and networks, checkpoints, waiting for "
        "decisions, and epochs that a lost worker had not finished.",
    ]


def _bars(
    shown: list[tuple[Stretch, tuple[str, int]]], names: list[tuple[str, int]], clock: Clock
) -> go.Figure:
    size, unit = _unit(max(clock.at(s.end) for s, _ in shown))
    groups: dict[str, list[tuple[Stretch, tuple[str, int]]]] = defaultdict(list)
    for stretch, lane in shown:
        groups[stretch.trial.status].append((stretch, lane))
    figure = go.Figure()
    for status in (s for s in STATUS_WORDS if s in groups):
        begun = [clock.at(s.start) / size for s, _ in groups[status]]
        ended = [clock.at(s.end) / size for s, _ in groups[status]]
        figure.add_bar(
            base=begun, x=[b - a for a, b in zip(begun, ended, strict=True)], orientation="h",
            y=[_lane_name(lane) for _, lane in groups[status]], name=STATUS_WORDS[status],
            marker={"color": STATUS_COLOURS[status], "line": {"color": GREY, "width": 0.5}},
            text=[_hover(s, size, unit, clock) for s, _ in groups[status]],
            hoverinfo="text", textposition="none",
        )  # fmt: skip
    for start, _ in clock.spans[1:]:
        figure.add_vline(clock.at(start) / size, line={"color": GREY, "dash": "dot"})
    order = {"categoryorder": "array", "categoryarray": [_lane_name(n) for n in names][::-1]}
    return dressed(
        figure, 150 + 26 * len(names), barmode="overlay", bargap=0.15, yaxis=order,
        xaxis={"title": {"text": f"{unit} at work"}},
    )  # fmt: skip


def _hover(stretch: Stretch, size: int, unit: str, clock: Clock) -> str:
    lasted = (clock.at(stretch.end) - clock.at(stretch.start)) / size
    trial = stretch.trial
    return (
        f"trial {trial.number}, attempt {stretch.attempt}: {STATUS_WORDS[trial.status]}<br>"
        f"{trial.epoch} epochs, {lasted:.3g} {unit} on {stretch.node}"
    )


def _lanes(found: list[Stretch]) -> list[tuple[str, int]]:
    """For each stretch the first lane of its node that is free when it starts."""
    free: dict[str, list[float]] = defaultdict(list)
    out = []
    for stretch in found:
        ends = free[stretch.node]
        index = next((k for k, end in enumerate(ends) if end <= stretch.start), len(ends))
        ends[index : index + 1] = [stretch.end]
        out.append((stretch.node, index + 1))
    return out


def _lane_name(lane: tuple[str, int]) -> str:
    return f"{lane[0]} · {lane[1]}"


def _in_epochs(trial: Trial) -> float:
    return sum(r["metrics"].get("seconds") or 0.0 for r in trial.results)


def _unit(seconds: float) -> tuple[int, str]:
    return next((size, name) for least, size, name in _UNITS if seconds >= least)


def _times(state: State) -> list[float]:
    """Times at which a driver was at work.

    Not of what is written between two: a child proposed, or the end that a last result decided.
    """
    times = [r["time"] for r in state.sessions if r["state"] != "refused"]
    for trial in state.trials.values():
        times += [r["time"] for r in (*trial.attempts, *trial.results)]
        decided = any(r["decision"] != "continue" for r in trial.results[-1:])
        times += [trial.end["time"]] if trial.end and not decided else []
    return times
