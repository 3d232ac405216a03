"""What a running sweep shows: a live view on a terminal, a line a trial on a pipe, or JSON.

A view is called with each journal record and the state after it; it is a context manager.
"""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Any, TextIO

from sweeps.selection import due, expected
from sweeps.spec import rungs
from sweeps.state import Record, State, Trial
from sweeps.text import short_names

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
        elif goes_on(record, state):
            self._print(plan(state))

    def _print(self, line: str) -> None:
        print(line, file=self.out, flush=True)


class JsonView(PlainView):
    """Each record as one JSON line, for programs."""

    def __call__(self, record: Record, state: State) -> None:
        """Print the record."""
        self._print(json.dumps(record))


class LiveView(PlainView):
    """Progress, rungs, best so far, time left and the last failure, redrawn in place."""

    def __enter__(self) -> LiveView:
        from rich.console import Console
        from rich.live import Live

        self._state: State | None = None
        self._begun = time.time()
        self._ended_before = 0
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
        if self._state is None:
            self._ended_before = _ended(state)
        self._state = state
        if goes_on(record, state):
            self._live.console.print(plan(state), highlight=False)

    def _render(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        if self._state is None or self._state.spec is None:
            return Text(f"starting Ray … {time.time() - self._begun:.0f} s")
        lines = summary_lines(self._state, self._seconds_left())
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))

    def _seconds_left(self) -> float | None:
        """From the pace of the trials that ended under this driver; None before the first."""
        assert self._state is not None and self._state.spec is not None
        ended = _ended(self._state)
        here = ended - self._ended_before
        if not here:
            return None
        return (time.time() - self._begun) / here * (expected(self._state) - ended)


def view(as_json: bool = False, out: TextIO | None = None) -> PlainView:
    """The view that suits `out` (default: standard output)."""
    stream: TextIO = out or sys.stdout
    if as_json:
        return JsonView(stream)
    return LiveView(stream) if stream.isatty() else PlainView(stream)


def goes_on(record: Record, state: State) -> bool:
    """Whether the record begins a session of a sweep that had begun before."""
    began = (record["kind"], record.get("state")) == ("session", "started")
    return began and bool(state.trials)


def plan(state: State) -> str:
    """What going on means: which trials go on and from where, how many are to come."""
    assert state.spec is not None
    total = expected(state)
    left = [t for t in state.trials.values() if not t.end]
    lines = [f"{state.spec.name}: {_ended(state)} of {total} trials have ended"]
    for trial in left[:_PLANNED]:
        seen = f"after epoch {trial.epoch}" if trial.epoch else "from its start"
        lines.append(f"  trial {trial.number} goes on {seen}, attempt {len(trial.attempts) + 1}")
    if len(left) > _PLANNED:
        lines.append(f"  and {len(left) - _PLANNED} more")
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
        f"{point(trial, state)}  ({_ended(state)} of {total}{_best(state)})"
    )


def summary_lines(state: State, seconds_left: float | None) -> list[str]:
    """The live view's lines."""
    assert state.spec is not None
    total, ended = expected(state), _ended(state)
    running = [t for t in state.trials.values() if not t.end]
    width = 30
    bar = "█" * (width * ended // total)
    left = "starting" if seconds_left is None else f"about {duration(seconds_left)} left"
    if ended == total:
        left = "writing the report"
    counts = f"{ended} of {total} trials, {len(running)} running"
    lines = [f"{state.spec.name}  {bar:░<{width}}  {counts}, {left}"]
    past = [f"{epoch}: {_reached(state, epoch)}" for epoch in rungs(state.spec)]
    if past:
        full = sum(t.status == "finished" and t.of is None for t in state.trials.values())
        lines.append(f"trials past rung (epoch)  {'  '.join(past)}  in full: {full}")
    if best := state.best():
        lines.append(f"{_best(state).removeprefix(', ')} so far  {point(best, state)}")
    if tested := [t for t in state.trials.values() if t.of is not None]:
        done, every = sum(t.end is not None for t in tested), len(tested) + len(due(state))
        lines.append(f"confirming on fresh seeds: {done} of {every} trainings")
    for trial in running:
        lines.append(f"trial {trial.number:>3}  epoch {trial.epoch:>3}  {point(trial, state)}")
    failures = [t for t in state.trials.values() if t.status in ("failed", "diverged")]
    if failures:
        last = max(failures, key=lambda t: t.end["n"] if t.end else 0)
        assert last.end is not None
        reason = first_line(last.end["reason"])
        lines.append(f"{len(failures)} failed; last: trial {last.number}: {reason}")
    return lines


def point(trial: Trial, state: State) -> str:
    """The trial's parameters under short names, its seed where it is a repeat; what it is for."""
    assert state.spec is not None
    names = short_names(list(trial.params))
    shown = [f"{trial.baseline}:"] if trial.baseline else []
    shown += [f"{names[path]}={_number(value)}" for path, value in trial.params.items()]
    if trial.seed != state.spec.training.seed:
        shown.append(f"seed={trial.seed}")
    if trial.of is not None:
        shown.append(f"confirms {trial.of}")
    return " ".join(shown)


def first_line(text: str) -> str:
    """The first line of a message that may have none."""
    return text.strip().partition("\n")[0]


def duration(seconds: float) -> str:
    """`42 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _number(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ended(state: State) -> int:
    return state.ended


def _reached(state: State, epoch: int) -> int:
    return sum(trial.epoch > epoch and trial.of is None for trial in state.trials.values())


def _best(state: State) -> str:
    best = state.best()
    if best is None or state.spec is None:
        return ""
    values = best.values(state.spec.objective.metric)
    return f", best {list(values.values())[-1]:.4f} (trial {best.number})" if values else ""
