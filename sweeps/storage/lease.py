"""Whether a driver lives, in a store that knows no locks: an object that it renews.

`driver.lease` is written every `BEAT_S`; one older than `TERM_S` belongs to a dead driver. Its age
is told by the store's clock alone. A lease is politeness: that two drivers never both write is
the work of sweeps/storage/segments.py.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from sweeps.errors import StorageError, SweepBusy
from sweeps.storage.client import FIRST_PATIENCE_S
from sweeps.storage.objects import ObjectPath

FILE = "driver.lease"
BEAT_S = 5.0
TERM_S = 30.0
_LOOK_S = 1.0
_NAME = ".copy"


def held(sweep: ObjectPath) -> bool:
    """Whether a driver runs the sweep, or was killed less than `TERM_S` ago."""
    age = (sweep / FILE).age()
    return age is not None and age < TERM_S


def of_this_copy(sweep: ObjectPath, folder: Path) -> bool:
    """Whether the driver that wrote the lease worked in this very folder: its lock says more."""
    try:
        return json.loads((sweep / FILE).read_bytes())["copy"] == (folder / _NAME).read_text()
    except FileNotFoundError:
        return False


class Lease:
    """Held while its context lasts. `folder` is the working copy, which the caller has locked."""

    def __init__(self, sweep: ObjectPath, folder: Path):
        self._sweep, self._file = sweep, sweep / FILE
        self._holder = {
            "holder": uuid.uuid4().hex,
            "copy": _copy(folder),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")

    def __enter__(self) -> Lease:
        self._wait_until_free()
        self._write(0)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join(BEAT_S)
        try:
            if self._is_ours():
                self._file.unlink()
        except StorageError:
            pass  # it runs out by itself

    def _wait_until_free(self) -> None:
        """Return when no driver lives: at once if the last one worked in this very folder.

        Raises:
            SweepBusy: the lease is being renewed.
        """
        before = self._read(FIRST_PATIENCE_S)
        while before and before["copy"] != self._holder["copy"]:
            age = self._file.age()
            if age is None or age > TERM_S:
                return
            time.sleep(_LOOK_S)
            now = self._read()
            if now and now != before:
                text = f"{self._sweep} is being run by another driver ({now['host']} {now['pid']})"
                raise SweepBusy(text)
            before = now

    def _renew(self) -> None:
        beat = 0
        while not self._ended.wait(BEAT_S):
            beat += 1
            try:
                if not self._is_ours():
                    return  # the journal refuses this driver's next record
                self._write(beat)
            except StorageError:
                continue

    def _is_ours(self) -> bool:
        found = self._read()
        return found is None or found["holder"] == self._holder["holder"]

    def _read(self, patience: float | None = None) -> dict[str, Any] | None:
        try:
            return json.loads(self._file.read_bytes(patience))
        except FileNotFoundError:
            return None

    def _write(self, beat: int) -> None:
        self._file.write_bytes(json.dumps({**self._holder, "beat": beat}).encode())


def _copy(folder: Path) -> str:
    """A name of this working copy that no other has, on whatever machine."""
    file = folder / _NAME
    if not file.exists():
        file.write_text(uuid.uuid4().hex)
    return file.read_text()
