"""Ends a training that has gone silent, first by an exception where it hangs, then by force."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from types import FrameType

from sweeps.errors import TrialSilent

PATIENCE_S = 30.0
"""Seconds that the exception may take to end the step before the process is ended."""
KILLED = 70
"""Exit status of a process that the watchdog ended."""


class Watchdog:
    """Watches one process that trains one trial after another; `beat` shows that it is alive.

    As a context manager it watches while the context lasts. In a thread other than the main one
    nothing can be interrupted, and nothing is watched.
    """

    def __init__(self, minutes: float | None):
        self._limit = None if minutes is None else 60 * minutes
        self._last = time.monotonic()
        self._watching = threading.Event()
        if self._limit is not None:
            threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def beat(self) -> None:
        """Show that the training goes on."""
        self._last = time.monotonic()

    def __enter__(self) -> Watchdog:
        self.beat()
        if self._limit is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, self._interrupt)
            self._watching.set()
        return self

    def __exit__(self, *exception: object) -> None:
        self._watching.clear()

    def _silence(self) -> float:
        return time.monotonic() - self._last if self._watching.is_set() else 0.0

    def _watch(self) -> None:
        assert self._limit is not None
        while True:
            self._watching.wait()
            time.sleep(max(0.05, min(self._limit - self._silence(), self._limit / 2)))
            if self._silence() >= self._limit:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
                time.sleep(PATIENCE_S)
                if self._silence() >= self._limit + PATIENCE_S:
                    self._kill()

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._watching.is_set():
            assert self._limit is not None
            self._watching.clear()
            raise TrialSilent(f"nothing was reported for {self._limit / 60:g} minutes")

    def _kill(self) -> None:
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        traceback.print_stack(main, file=sys.stderr)
        os._exit(KILLED)
