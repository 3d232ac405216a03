"""Starts the tracker beside the driver. Imports neither MLflow nor Ray nor torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STORE_HINT = "SWEEPS_TRACKER_STORE"
"""Environment variable that tells a tracker its store before the journal does."""


class Tracker:
    """A running tracker. It ends by itself when this process closes its pipe or dies."""

    def __init__(self, process: subprocess.Popen[bytes]):
        self.process = process

    def finish(self, timeout: float = 60.0) -> bool:
        """Tell the tracker that the journal is complete, and wait for it.

        Returns True when everything was delivered. After `timeout` seconds it is ended and the
        answer is False: nothing is lost, `sync` delivers the rest from the folder.
        """
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            return self.process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False


def start(folder: Path, uri: str | None = None) -> Tracker:
    """Start a tracker on the sweep in `folder`, which need not hold a journal yet.

    With `uri` (see `store.store_uri`) it prepares that store at once; without, it waits for the
    journal to name one. Its own session keeps a terminal's Ctrl-C from it; it writes to
    `logs/tracker.log`.
    """
    log = folder / "logs" / "tracker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    hint = {STORE_HINT: uri} if uri else {}  # the environment, since an address may hold a password
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.track", str(folder.resolve())],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **hint},
            start_new_session=True,
        )
    return Tracker(process)
