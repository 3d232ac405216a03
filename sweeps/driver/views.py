"""What a running sweep shows: a live view on a terminal, a line a trial on a pipe, or JSON.

A view is called with each journal record and the state after it; it is a context manager.
"""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Any, TextIO

from sweeps.progress import first_line, point, seconds_left, summary_lines
from sweeps.selection import expected
from sweeps.state import Record, State, Trial

_PLANNED = 10


class PlainView:
    """What is left of a sweep that goes on, then one line for each trial that ends."""

    def __init__(self, out: TextIO | None = None):
        self.out = out or sys.stdout

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def __call__(self, record: Record, state: State) -> None:
        """Print what the record says, if it is news to a reader."""
        if record["kind"] == "end":
            self._print(trial_line(state.trials[record["trial"]], state))
        elif record["kind"] == "device":
            self._print(device_line(record))
        elif goes_on(record, state):
            self._print(plan(state))

    def note(self, line: str) -> None:
        """Show what is no record: a change that the verb made before it goes on."""
        self._print(line)

    def _print(self, line: str) -> None:
        print(line, file=self.out, flush=True)


class JsonView(PlainView):
    """Each record as one JSON line, for programs."""

    def __call__(self, record: Record, state: State) -> None:
        """Print the record."""
        self._print(json.dumps(record))

    def note(self, line: str) -> None:
        """Nothing: a program reads records alone."""


class LiveView(PlainView):
    """Progress, rungs, best so far, time left and the last failure, redrawn in place."""

    def __enter__(self) -> LiveView:
        from rich.console import Console
        from rich.live import Live

        self._state: State | None = None
        self._begun = time.time()
        console = Console(file=self.out)
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._live.__exit__(*exception)

    def __call__(self, record: Record, state: State) -> None:
        """Take in the state; the view redraws itself."""
        self._state = state
        if record["kind"] == "device":
            self._live.console.print(device_line(record), highlight=False, markup=False)
        if goes_on(record, state):
            self._live.console.print(plan(state), highlight=False, markup=False)

    def note(self, line: str) -> None:
        """Show it above the view."""
        self._live.console.print(line, highlight=False, markup=False)

    def _render(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        if self._state is None or self._state.spec is None:
            return Text(f"starting Ray … {time.time() - self._begun:.0f} s")
        lines = summary_lines(self._state, seconds_left(self._state, time.time()))
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def view(as_json: bool = False, out: TextIO | None = None) -> PlainView:
    """The view that suits `out` (default: standard output)."""
    stream: TextIO = out or sys.stdout
    if as_json:
        return JsonView(stream)
    return LiveView(stream) if stream.isatty() else PlainView(stream)


def device_line(record: Record) -> str:
    """That a GPU gets no more trials, or gets them again."""
    what = "is left out" if record["out"] else "gets trials again"
    return f"{record['node']} GPU {record['gpu']} {what}: {record['reason']}"


def goes_on(record: Record, state: State) -> bool:
    """Whether the record begins a session of a sweep that had begun before."""
    began = (record["kind"], record.get("state")) == ("session", "started")
    return began and bool(state.trials)


def plan(state: State) -> str:
    """What going on means: which trials go on and from where, how many are to come."""
    assert state.spec is not None
    total = expected(state)
    left = [t for t in state.trials.values() if t.status == "running"]
    lines = [f"{state.spec.name}: {state.ended} of {total} trials have ended"]
    for trial in left[:_PLANNED]:
        seen = f"after epoch {trial.epoch}" if trial.epoch else "from its start"
        lines.append(f"  trial {trial.number} goes on {seen}, attempt {len(trial.attempts) + 1}")
    if len(left) > _PLANNED:
        lines.append(f"  and {len(left) - _PLANNED} more")
    if waiting := sum(trial.paused for trial in state.trials.values()):
        lines.append(f"  {waiting} wait at rungs")
    if total > len(state.trials):
        lines.append(f"  {total - len(state.trials)} are still to be proposed")
    return "\n".join(lines)


def trial_line(trial: Trial, state: State) -> str:
    """`trial  7  pruned  epoch  3  val_accuracy 0.9123  ghost_size=16 …  (8 of 32, best …)`."""
    assert state.spec is not None and trial.end is not None
    metric = state.spec.objective.metric
    ended_well = trial.status in ("finished", "pruned")
    shown = f"{metric} {trial.end['value']:.4f}" if ended_well else first_line(trial.end["reason"])
    total = expected(state)
    return (
        f"trial {trial.number:>3}  {trial.status:<8}  epoch {trial.epoch:>3}  {shown}  "
        f"{point(trial, state)}  ({state.ended} of {total}{_best(state)})"
    )


def _best(state: State) -> str:
    best = state.best()
    if best is None or state.spec is None:
        return ""
    value = best.last(state.spec.objective.metric)
    return "" if value is None else f", best {value:.4f} (trial {best.number})"
