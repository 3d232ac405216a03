"""`status --watch`: a running sweep's figures, read from its journal as it grows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from sweeps import journal
from sweeps.progress import seconds_left, summary_lines
from sweeps.state import State

POLL_S = 1.0
"""From one look at the journal to the next."""


def watch(
    folder: Path, out: TextIO | None = None, rest: Callable[[float], Any] = time.sleep
) -> None:
    """Show where the sweep in `folder` stands until no driver runs it, or Ctrl-C.

    A terminal is redrawn in place; anything else gets the lines whenever a trial has ended.

    Raises:
        SweepNotFound: there is no journal in `folder`.
        JournalError: it is damaged before its last line.
        StorageError: the store that holds it refuses or does not answer.
    """
    stream: TextIO = out or sys.stdout
    journal.read(folder)
    states = _states(folder, rest)
    with suppress(KeyboardInterrupt):
        (_redraw if stream.isatty() else _print)(states, stream)


def _states(folder: Path, rest: Callable[[float], Any]) -> Iterator[State]:
    """The state after each look; the last one when nobody writes any more."""
    state, offset = State(), 0
    while True:
        running = journal.held(folder)  # asked first, so that its last records are seen
        journal.refresh(folder)
        records, offset = journal.tail(folder / journal.FILE, offset)
        for record in records:
            state.apply(record)
        yield state
        if not running:
            return
        rest(POLL_S)


def _lines(state: State) -> list[str]:
    return summary_lines(state, seconds_left(state, time.time()))


def _print(states: Iterator[State], out: TextIO) -> None:
    shown = None
    for state in states:
        news = (state.ended, len(state.sessions))
        if news != shown:
            print(*_lines(state), sep="\n", file=out, flush=True)
        shown = news


def _redraw(states: Iterator[State], out: TextIO) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=out), auto_refresh=False) as live:
        for state in states:
            lines = (Text(line, no_wrap=True, overflow="ellipsis") for line in _lines(state))
            live.update(Group(*lines), refresh=True)
