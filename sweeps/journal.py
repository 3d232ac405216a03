"""The journal: one file of numbered records, written by the driver alone, that a sweep *is*.

`STORAGE/NAME/journal.jsonl` holds one JSON object a line. Every record has `n` (0, 1, 2, …), `time`
(Unix seconds; it is the record's for ever, so a projection replayed from it is the same again) and
`kind`:

    sweep     spec, identity, versions                    once, first
    session   state: started | interrupted | finished     one driver process begins or ends
    trial     trial, params, seed                         a proposal
    attempt   trial, attempt, node, epoch                 handed to a worker; `epoch`: known so far
    result    trial, attempt, epoch, metrics, node,       an epoch, and what was decided on it:
              decision, rung                              continue, prune or finish; at which rung
    end       trial, status, epoch, value, reason, error  finished | pruned | failed | diverged

Each record is written whole and synced before the driver acts on it. A crash can leave only a torn
last line, which the next driver cuts off; anything else that cannot be read is a `JournalError`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sweeps.errors import JournalError, SweepNotFound
from sweeps.spec import SweepSpec

Record = dict[str, Any]
Observer = Callable[[Record, "State"], None]
"""Called with each new record and the state after it."""
FILE = "journal.jsonl"


@dataclass
class Trial:
    """What the journal says of one trial."""

    number: int
    params: dict[str, Any]
    seed: int
    proposed: float
    attempts: list[Record] = field(default_factory=list)
    results: list[Record] = field(default_factory=list)
    end: Record | None = None

    @property
    def epoch(self) -> int:
        """Last epoch with a result; 0 before the first."""
        return self.results[-1]["epoch"] if self.results else 0

    @property
    def status(self) -> str:
        """finished, pruned, failed, diverged; running when it has no end yet."""
        return self.end["status"] if self.end else "running"

    def values(self, metric: str) -> dict[int, float]:
        """That metric by epoch, where it was reported as a finite number."""
        found = ((r["epoch"], r["metrics"].get(metric)) for r in self.results)
        return {epoch: value for epoch, value in found if value is not None}


@dataclass
class State:
    """The sweep as folded from its journal; `apply` takes the next record."""

    spec: SweepSpec | None = None
    identity: str = ""
    created: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    trials: dict[int, Trial] = field(default_factory=dict)
    sessions: list[Record] = field(default_factory=list)
    records: int = 0
    updated: float = 0.0

    def apply(self, record: Record) -> None:
        """Take one record into the state.

        Raises:
            JournalError: the record is out of order or of no known kind.
        """
        if not isinstance(record, dict) or not {"n", "kind", "time"} <= record.keys():
            raise JournalError(f"record {self.records} of the journal is none: {record!r:.60}")
        if record["n"] != self.records:
            raise JournalError(f"record {record['n']} stands where {self.records} should")
        self.records += 1
        self.updated = record["time"]
        match record["kind"]:
            case "sweep":
                self.spec = _spec(record["spec"])
                self.identity = record["identity"]
                self.versions = record["versions"]
                self.created = record["time"]
            case "session":
                self.sessions.append(record)
            case "trial":
                number = record["trial"]
                self.trials[number] = Trial(
                    number, record["params"], record["seed"], record["time"]
                )
            case "attempt":
                self.trials[record["trial"]].attempts.append(record)
            case "result":
                self.trials[record["trial"]].results.append(record)
            case "end":
                self.trials[record["trial"]].end = record
            case kind:
                raise JournalError(f"record {record['n']} is of unknown kind {kind!r}")

    @property
    def finished(self) -> bool:
        """Whether the last driver went through to the end."""
        return bool(self.sessions) and self.sessions[-1]["state"] == "finished"

    def best(self) -> Trial | None:
        """The trial with the best last value among those trained in full (else among all)."""
        assert self.spec is not None
        objective = self.spec.objective
        sign = 1 if objective.mode == "max" else -1
        full = [t for t in self.trials.values() if t.status == "finished"]
        pool = full or [t for t in self.trials.values() if t.status in ("pruned", "running")]
        pool = [t for t in pool if t.values(objective.metric)]
        return max(
            pool, key=lambda t: sign * list(t.values(objective.metric).values())[-1], default=None
        )


def _spec(tree: Any) -> SweepSpec:
    try:
        return SweepSpec.model_validate(tree)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, found["loc"]))
        message = f"its spec was written by another version: {place}: {found['msg']}"
        raise JournalError(message) from None


class Journal:
    """The writing end. One driver at a time opens it (the caller holds the sweep's lock)."""

    def __init__(self, folder: Path):
        """Open or create the journal in `folder`, cutting off a torn last line.

        Raises:
            JournalError: a record before the last line cannot be read.
        """
        self.state = State()
        self.path = folder / FILE
        whole = 0
        if self.path.exists():
            for record, end in _parse(self.path.read_bytes()):
                self.state.apply(record)
                whole = end
        self._file = self.path.open("ab")
        self._file.truncate(whole)

    def write(self, kind: str, **content: Any) -> Record:
        """Append one record, sync it to the disk, apply it to `state`, and return it."""
        record = {"n": self.state.records, "time": time.time(), "kind": kind, **content}
        line = json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        os.fdatasync(self._file.fileno())
        record = json.loads(line)
        self.state.apply(record)
        return record

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _parse(content: bytes) -> Iterator[tuple[Record, int]]:
    """Each whole record with the offset of its end; a torn last line is left out."""
    start = 0
    while (end := content.find(b"\n", start)) >= 0:
        try:
            record = json.loads(content[start:end])
        except ValueError as error:
            raise JournalError(f"the journal is damaged at byte {start}: {error}") from error
        start = end + 1
        yield record, start


def read(folder: Path) -> State:
    """The state of the sweep in `folder`; safe at any time, also while a driver writes.

    Raises:
        SweepNotFound: there is no journal.
        JournalError: it is damaged before its last line.
    """
    state = State()
    try:
        content = (folder / FILE).read_bytes()
    except FileNotFoundError:
        raise SweepNotFound(f"no sweep at {folder}: it holds no {FILE}") from None
    except IsADirectoryError:
        raise JournalError(f"{folder / FILE} is a folder, not a journal") from None
    try:
        for record, _ in _parse(content):
            state.apply(record)
    except JournalError as error:
        raise JournalError(f"{folder / FILE}: {error}") from None
    if state.spec is None:
        raise SweepNotFound(f"no sweep at {folder}: its {FILE} has no whole first record")
    return state


def tail(path: Path, offset: int = 0) -> tuple[list[Record], int]:
    """The whole records from byte `offset` on, and the offset to go on from."""
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    records, end = [], 0
    for record, end in _parse(content):  # noqa: B007 - `end` is used after the loop
        records.append(record)
    return records, offset + end
