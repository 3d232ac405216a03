"""How a running sweep ends before its last trial: a signal, a request, a budget.

The first Ctrl-C or SIGTERM asks the workers to write a checkpoint at their next update, through
the file that sweeps/trial/stop.py describes, and waits `GRACE_S` for them. The second ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from sweeps.driver import budget
from sweeps.driver.conductor import Conductor
from sweeps.errors import StorageError
from sweeps.storage import truth
from sweeps.trial import stop

GRACE_S = 20.0
"""Seconds that workers have to write their checkpoints."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Watches for reasons to end; a context manager that takes the signals meanwhile."""

    def __init__(self, conductor: Conductor, folder: Path):
        self.reason = self.failure = ""
        self._conductor, self._place = conductor, truth(folder)
        self._signalled = False
        self._next = 0.0
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def poll(self, at_once: bool = False) -> None:
        """Look for a reason to end; called from Tune's loop, between two records.

        `at_once`: a worker has seen a request, so do not wait for the next look.
        """
        if self._conductor.stopping:
            return
        now = time.monotonic()
        if at_once:
            self._next = now
        if self._signalled:
            self._end("interrupted", "by a signal")
        elif now >= self._next:
            self._next = now + stop.LOOK_S
            if (self._place / stop.FILE).exists():
                self._end("stopped", "on request")
            elif spent := budget.used_up(self._conductor.state, self._conductor.live, time.time()):
                self._end("budget", spent)

    def unwritable(self, message: str) -> None:
        """A worker could not write: nothing can go on until that is mended."""
        self.failure = message
        self._end("interrupted", message)

    def _end(self, state: str, reason: str) -> None:
        self._conductor.stopping, self.reason = state, reason
        with suppress(OSError, StorageError):  # workers that cannot be asked end after their epoch
            stop.request(self._place)

    def __enter__(self) -> Ending:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._signal) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if self._timer:
            self._timer.cancel()

    def _signal(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
        self._timer = threading.Timer(GRACE_S, os.kill, (os.getpid(), signal.SIGINT))
        self._timer.daemon = True
        self._timer.start()
        message = "Stopping: each trial writes a checkpoint at its next update (again: at once)"
        print(message, file=sys.__stderr__, flush=True)
