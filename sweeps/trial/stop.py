"""How a trial learns that it should stop: a file in the sweep's folder, or SIGTERM.

`STORAGE/NAME/stop` is put there by `sweeps stop`, or by a driver that is to end; a worker looks for
it once a second between two updates, and the next driver removes it. It works wherever the folder
is seen, and whoever dies.
"""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType

FILE = "stop"
LOOK_S = 1.0
"""Seconds from one look at the folder to the next."""


def request(folder: Path) -> None:
    """Ask the sweep in `folder` to stop."""
    (folder / FILE).touch()


def withdraw(folder: Path) -> None:
    """Forget an earlier request."""
    (folder / FILE).unlink(missing_ok=True)


class Stop:
    """Tells whether to stop; cheap enough to be asked after every update."""

    def __init__(self, folder: Path):
        self._file = folder / FILE
        self._next = 0.0
        self._requested = False
        self.terminated = False
        """Whether this process got SIGTERM: its machine is about to go."""

    def __call__(self) -> bool:
        """Whether to stop at this update."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LOOK_S
            self._requested = self._file.exists()
        return self.terminated or self._requested

    def __enter__(self) -> Stop:
        """Take SIGTERM as a request, as long as this process trains."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _terminate(self, signum: int, frame: FrameType | None) -> None:
        self.terminated = True
