"""Starts the report beside the driver. Imports neither the charts nor what they are made of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from sweeps.baselines import planned
from sweeps.state import Observer, Record, State

WAITING = "--when-told"
GO = b"go\n"


class Reporter:
    """Writes the report of the sweep in `folder`, in a process of its own.

    Its imports take longer than the writing, so it starts when half of the trials have been handed
    out, imports in what time they leave it, and waits. When the driver dies, or leaves the context
    without having told it to write, it ends, nothing written.
    """

    def __init__(self, folder: Path):
        self._folder, self._log = folder, folder / "logs" / "report.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        process = self._process
        if process is None:
            return
        if not self._told:
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        process.wait()

    def beside(self, observe: Observer) -> Observer:
        """`observe`, which from now on also starts the process when it is time."""

        def both(record: Record, state: State) -> None:
            if record["kind"] == "attempt" and not self._process:
                assert state.spec is not None
                if 2 * len(state.trials) >= planned(state.spec):
                    self._process = self._start()
            observe(record, state)

        return both

    def write(self, folder: Path) -> Callable[[], None]:
        """Tell it to write the report of `folder`, the same; gives what waits for that."""
        self._process = process = self._process or self._start()
        assert process.stdin is not None
        self._told = True
        with suppress(BrokenPipeError):  # it has ended, and its log says why
            process.stdin.write(GO)
            process.stdin.close()

        def wait() -> None:
            if process.wait():
                text = f"warning: the report could not be written; see {self._log}"
                print(text, file=sys.stderr)

        return wait

    def _start(self) -> subprocess.Popen[bytes]:
        """A session of its own keeps a terminal's Ctrl-C from it."""
        command = [sys.executable, "-m", "sweeps.report", str(self._folder), WAITING]
        with self._log.open("a") as log:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
                bufsize=0,
            )  # fmt: skip
