"""How a trial learns that it should stop: a file in the sweep's folder, or SIGTERM.

`STORAGE/NAME/stop` is put there by `sweeps stop`, or by a driver that is to end; a worker looks for
it once a second between two updates (in an object store: every 5 s), and the next driver removes
it. It works wherever the folder is seen, and whoever dies.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

from sweeps.storage import ObjectPath, Place

FILE = "stop"
LOOK_S = 1.0
"""Seconds from one look at the folder to the next."""
LOOK_AT_STORE_S = 5.0
"""The same where a look is a call over the network, some 30 ms."""


def request(folder: Place) -> None:
    """Ask the sweep in `folder` to stop."""
    (folder / FILE).write_bytes(b"")


def withdraw(folder: Place) -> None:
    """Forget an earlier request."""
    (folder / FILE).unlink(missing_ok=True)


class Stop:
    """Tells whether to stop; cheap enough to be asked after every update."""

    def __init__(self, folder: Place):
        self._file = folder / FILE
        self._pause = LOOK_AT_STORE_S if isinstance(folder, ObjectPath) else LOOK_S
        self._next = 0.0
        self._requested = False
        self.terminated = False
        """Whether this process got SIGTERM: its machine is about to go."""

    def __call__(self) -> bool:
        """Whether to stop at this update."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._pause
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
