"""The journal: one file of numbered records, written by the driver alone, that a sweep *is*.

`STORAGE/NAME/journal.jsonl` holds one JSON object a line. Every record has `n` (0, 1, 2, …), `time`
(Unix seconds; it is the record's for ever, so a projection replayed from it is the same again) and
`kind`:

    sweep     spec, identity, versions                    once, first
    lent      sweep, trials                               what an earlier sweep tells the search,
                                                          before any trial: each params, status,
                                                          values
    session   state, reason, gpus_per_trial               one driver process begins (started; with
                                                          the part of a GPU where it is measured) or
                                                          ends: finished, interrupted, stopped (on
                                                          request), budget (used up) or refused
                                                          (data or network cannot be as asked)
    trial     trial, params, seed, baseline, of,          a proposal; `baseline`: of that baseline
              parent, after, epochs                       of `confirm`; `of`: on a fresh seed, the
                                                          configuration of that trial, for test
                                                          data; `parent`: from that finished
                                                          trial's checkpoint of epoch `after` to
                                                          `epochs`, its cosine begun anew. Absent in
                                                          a trial of the search
    attempt   trial, attempt, epoch, alone                handed to a worker; `epoch`: known so far;
                                                          alone: with the whole device
    result    trial, attempt, epoch, metrics, node,       an epoch, and what was decided on it:
              decision, rung                              continue, prune, pause (it waits, see
                                                          stopping.promote), finish; at which rung
                                                          (an epoch; seconds with stopping.seconds)
    end       trial, status, epoch, value, reason, error  finished | pruned | failed | diverged
    device    node, gpu, out, reason                      a GPU that gets no more trials (out), or
                                                          gets them again
    reopen    trial, status, value                        an ended trial goes on: what it had been
    extend    changes                                     new values at dotted paths of the spec,
                                                          or none where children alone were added;
                                                          after what it adds or reopens

A metric `NAME@UPDATE` of a result belongs to that update of the trial, any other to its epoch.

Each record is written whole and synced before the driver acts on it. A crash can leave only a torn
last line, which the next write or driver cuts off; anything else that cannot be read is a
`JournalError`.

Of a sweep in an object store the file is the driver's working copy: each record is put there first
(sweeps/storage/segments.py), and says its `writer`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.errors import JournalError, StorageError, SweepNotFound, how_to_mend
from sweeps.state import Record, State
from sweeps.storage import lease, origin, segments, truth, write_whole
from sweeps.storage.segments import Segments

FILE = "journal.jsonl"
LOCK = "driver.lock"


def held(folder: Path) -> bool:
    """Whether a driver is running the sweep in `folder`: it locks `driver.lock` while it lives."""
    if place := origin(folder):
        here = lease.of_this_copy(place, folder)
        return _locked(folder) if here else lease.held(place)
    return _locked(folder)


def begun(storage: Path) -> list[Path]:
    """The folders of all sweeps in a storage; of those in a store the working copies' places."""
    if place := origin(storage):
        journals = {name: (place / name / "journal").glob("*.jsonl") for name in place.folders()}
        return [storage / name for name, found in journals.items() if any(found)]
    return sorted(path.parent for path in storage.glob(f"*/{FILE}") if path.stat().st_size)


def _locked(folder: Path) -> bool:
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


class Journal:
    """The writing end. One driver at a time opens it (the caller holds the sweep's lock)."""

    def __init__(self, folder: Path, store: Segments | None = None):
        """Open or create the journal in `folder`, cutting off a torn last line.

        With a `store` the file is first made what the store holds.

        Raises:
            JournalError: a record before the last line cannot be read.
            StorageError: the store refuses or does not answer.
        """
        self.state = State()
        self.path = folder / FILE
        self._store = store
        if store:
            write_whole(self.path, store.read())
        self._file = self.path.open("ab", buffering=0)
        self._size = self._records = 0
        """Bytes and records of the file that `state` holds for sure."""
        self._unsure = True
        try:
            self._mend()
        except BaseException:
            self._file.close()
            raise

    def write(self, kind: str, **content: Any) -> Record:
        """Append one record, sync it to the disk, apply it to `state`, and return it.

        Raises:
            JournalError, StorageError: it could not be written; the records before it stand. Also
                when the file has been moved or removed: what is written to it then is nowhere.
            SweepBusy: another driver has gone on with the sweep in the store.
        """
        self._mend()
        self._require_place()
        record = {"n": self.state.records, "time": time.time(), "kind": kind, **content}
        if self._store:
            record["writer"] = self._store.writer
        line = (json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n").encode()
        self._unsure = True
        if self._store:
            self._store.put(record["n"], line)
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._file.fileno())
        except OSError as error:
            message = f"{self.path} cannot be written: {error.strerror}. {how_to_mend(error)}"
            message += ", then resume; what stands in it is whole"
            raise JournalError(message) from error
        record = json.loads(line)
        self.state.apply(record)
        self._size, self._records = self._size + len(line), self.state.records
        self._unsure = False
        return record

    def _require_place(self) -> None:
        try:
            there = os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            there = False
        if not there:
            raise StorageError(
                f"{self.path.parent} is gone: moved, removed, or its storage is lost"
            )

    def _mend(self) -> None:
        """After an open, a failed write or an interrupt inside one: take what the file holds.

        Whole records that `state` lacks are applied, a torn last line is cut off. A record that has
        come to the store alone is taken from there.
        """
        if not self._unsure:
            return
        self._take_file()
        if self._store and (line := self._store.written(self.state.records)):
            self._file.write(line)
            self._take_file()
        self._unsure = False

    def _take_file(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._size)
            content = file.read()
        whole = 0
        for index, (record, end) in enumerate(_parse(content), self._records):
            if index >= self.state.records:
                self.state.apply(record)
            whole = end
        self._size, self._records = self._size + whole, self.state.records
        self._file.truncate(self._size)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        if self._store:
            self._store.close()


def _parse(content: bytes) -> Iterator[tuple[Record, int]]:
    """Each whole record with the offset of its end; a torn last line is left out."""
    start = 0
    while (end := content.find(b"\n", start)) >= 0:
        try:
            record = json.loads(content[start:end])
        except ValueError as error:
            reason = getattr(error, "msg", None) or error  # its "line 1" would be the record's own
            raise JournalError(f"the journal is damaged at byte {start}: {reason}") from error
        start = end + 1
        yield record, start


def read(folder: Path) -> State:
    """The state of the sweep in `folder`; safe at any time, also while a driver writes.

    Raises:
        SweepNotFound: there is no journal.
        JournalError: it is damaged before its last line.
        StorageError: the store that holds it refuses or does not answer.
    """
    state, content, place = State(), _content(folder), truth(folder)
    try:
        for record, _ in _parse(content):
            state.apply(record)
    except JournalError as error:
        raise JournalError(f"{place / FILE}: {error}") from None
    if state.spec is None:
        raise SweepNotFound(f"no sweep at {place}: its {FILE} has no whole first record")
    return state


def refresh(folder: Path) -> None:
    """Bring the working copy of a sweep in a store up to date, unless its driver is here."""
    place = origin(folder)
    if place and not _locked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FILE, segments.read(place))


def _content(folder: Path) -> bytes:
    if place := origin(folder):
        if content := segments.read(place):
            return content
        raise SweepNotFound(f"no sweep at {place}: it holds no journal")
    try:
        return (folder / FILE).read_bytes()
    except FileNotFoundError:
        raise SweepNotFound(f"no sweep at {folder}: it holds no {FILE}") from None
    except NotADirectoryError:
        raise SweepNotFound(f"no sweep at {folder}: that, or its storage, is a file") from None
    except IsADirectoryError:
        raise JournalError(f"{folder / FILE} is a folder, not a journal") from None


def tail(path: Path, offset: int = 0) -> tuple[list[Record], int]:
    """The whole records from byte `offset` on, and the offset to go on from."""
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    records, end = [], 0
    for record, end in _parse(content):  # noqa: B007 - `end` is used after the loop
        records.append(record)
    return records, offset + end
