"""Follows a sweep's journal and keeps MLflow up with it, whatever the store does meanwhile."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from sweeps import journal
from sweeps.track.store import QUIET, locked, prepare, store_uri

POLL = 0.5
"""Seconds from one look at the journal to the next."""
PATIENCE = 30.0
"""Seconds that a store may stay out of reach after the journal is complete."""
_LONGEST_PAUSE = 15.0
_log = logging.getLogger(__name__)


def sync(folder: Path, patience: float = PATIENCE) -> bool:
    """Deliver all that the sweep's folder holds to its store; True when it is all there.

    Waits for the tracker of a sweep that is still running. Changes nothing that is there already.

    Raises:
        SweepNotFound: there is no journal in `folder`.
        JournalError: it is damaged before its last line.
        StorageError: the store that holds it refuses or does not answer.
    """
    journal.read(folder)
    journal.refresh(folder)
    closing = threading.Event()
    closing.set()
    return follow(folder, closing, patience=patience)


def follow(
    folder: Path, closing: threading.Event, uri: str | None = None, patience: float = PATIENCE
) -> bool:
    """Project the journal in `folder` as it grows, until `closing` is set and all is delivered.

    Returns False when the store could not be reached for `patience` seconds after that. Holds
    `tracker.lock`, so a sweep has one tracker at a time; the next one waits.

    Raises:
        JournalError: the journal is damaged before its last line.
    """
    import_mlflow()
    with locked(folder / "tracker.lock"):
        follower = _Follower(folder, uri)
        deadline = None
        while True:
            last = closing.is_set()  # before reading, so that nothing written before it is missed
            if last and deadline is None:
                deadline = time.monotonic() + patience
            delivered = follower.step(last)
            if last and (delivered or time.monotonic() > (deadline or 0)):
                follower.report(delivered)
                return delivered
            closing.wait(max(POLL, follower.pause)) if not last else time.sleep(POLL)


class _Follower:
    """One journal on its way to one store, with what to do when the store does not answer."""

    def __init__(self, folder: Path, uri: str | None):
        from sweeps.track.projection import Projection

        self.folder = folder
        self.uri = uri
        self.projection = Projection(folder)
        self.pause = 0.0
        self._offset = 0
        self._outage = ""

    def step(self, closing: bool) -> bool:
        """Read what is new and deliver it; True when the store holds all of it."""
        path = self.folder / journal.FILE
        if path.exists():
            records, self._offset = journal.tail(path, self._offset)
            for record in records:
                self.projection.apply(record)
        try:
            self._deliver(closing)
        except Exception as error:
            # Whatever MLflow, its drivers or the network raise, the sweep must go on.
            self._say_once(error)
            self.pause = min(_LONGEST_PAUSE, 2 * self.pause or 1.0)
            self.projection.reopen()
            return False
        if self._outage:
            _log.info("the store answers again; all is delivered up to here")
        self.pause, self._outage = 0.0, ""
        return True

    def report(self, delivered: bool) -> None:
        """Leave one line about the end."""
        records, seconds = self.projection.state.records, time.process_time()
        outcome = "delivered" if delivered else "NOT all delivered (`sweeps sync` does it later)"
        _log.info("%d records %s; %.1f s of CPU in all", records, outcome, seconds)

    def _deliver(self, closing: bool) -> None:
        spec = self.projection.state.spec
        if spec:
            self.uri = store_uri(spec, self.folder)
        if self.uri:
            prepare(self.uri)
        if spec and self.uri:
            self.projection.deliver(self.uri, closing)

    def _say_once(self, error: Exception) -> None:
        if self._outage != type(error).__name__:
            self._outage = type(error).__name__
            _log.warning("the store does not take it, trying on", exc_info=error)


def import_mlflow() -> None:
    """Import MLflow with its sqlite store, without telemetry and without its own long retries."""
    os.environ.update(QUIET)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a "create" sent twice makes two runs
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    import mlflow.store.tracking.sqlalchemy_store
    import mlflow.tracking  # noqa: F401
