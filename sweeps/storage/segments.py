"""A journal in an object store: under `journal/`, one object a record, each created once.

    000000000012.jsonl                 record 12, created on condition that there is none
    000000000000-000000000255.jsonl    records 0 to 255 once more, to be read with one call

The condition is the lock: of two drivers that believe they may write record n, one is refused and
ends. Each record says its `writer`, so a driver whose put was answered by silence can tell its own
record from another's. When a record stands in a merged object its own object is removed, except the
first of each writer: a driver that was away, and has been replaced, tries to write that very one.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from sweeps.errors import JournalError, StorageError, SweepBusy
from sweeps.storage.client import HANDS
from sweeps.storage.objects import ObjectPath, remove

MERGE = 256
"""Records of a driver that are merged into one object."""
_MOST = 64
"""Objects of a journal that a new driver leaves as they are; it merges more into one."""
_LOOKS = 5
_NAME = re.compile(r"(\d{12})(?:-(\d{12}))?\.jsonl")


class Segments:
    """The writing end of a journal in a store; the caller holds the sweep's lease."""

    def __init__(self, sweep: ObjectPath):
        self.place = sweep / "journal"
        self.writer = uuid.uuid4().hex[:12]
        self._fresh: list[bytes] = []
        """Records put since the last merge."""
        self._first = 0
        """Number of the first of them."""
        self._own: int | None = None
        """Number of this writer's first record."""

    def read(self) -> bytes:
        """The whole journal; when it lies in many objects they are merged into one."""
        lines, names = _read(self.place)
        if len(names) > _MOST:
            self._merge(lines, 0, [n for n in names if n not in _firsts(lines)])
        return b"".join(lines)

    def put(self, number: int, line: bytes) -> None:
        """Create the object of one record.

        Raises:
            SweepBusy: there is such a record of another driver.
            StorageError: the store does not take it.
        """
        if len(self._fresh) >= MERGE:
            self.tidy()
        try:
            (self.place / _name(number)).create(line)
        except FileExistsError:
            if self.written(number) != line:
                raise JournalError(f"record {number} was written twice") from None
        if self._own is None:
            self._own = number
        if not self._fresh:
            self._first = number
        self._fresh.append(line)

    def written(self, number: int) -> bytes:
        """The record of that number if this driver wrote it; nothing if nobody did.

        Raises:
            SweepBusy: another driver did.
        """
        try:
            line = (self.place / _name(number)).read_bytes()
        except FileNotFoundError:
            return b""
        if json.loads(line)["writer"] != self.writer:
            where = self.place.parent
            raise SweepBusy(f"another driver has gone on with {where}: this one ends")
        return line

    def tidy(self) -> None:
        """Merge what was put since the last time."""
        if len(self._fresh) > 1:
            numbers = range(self._first, self._first + len(self._fresh))
            single = [_name(n) for n in numbers if n != self._own]
            self._merge(self._fresh, self._first, single)
        self._fresh = []

    def close(self) -> None:
        """Merge the rest if the store answers; nothing is lost if not."""
        try:
            self.tidy()
        except StorageError:
            self._fresh = []

    def _merge(self, lines: list[bytes], first: int, without: list[str]) -> None:
        merged = _name(first, first + len(lines) - 1)
        (self.place / merged).write_bytes(b"".join(lines))
        keys = [(self.place / name).key for name in without if name != merged]
        remove(self.place.bucket, keys)


def read(sweep: ObjectPath) -> bytes:
    """The journal of the sweep at that place, whole as of now; nothing if there is none.

    Raises:
        JournalError: a record is missing before the last.
        StorageError: the store refuses or does not answer.
    """
    return b"".join(_read(sweep / "journal")[0])


def _read(place: ObjectPath) -> tuple[list[bytes], list[str]]:
    """All lines, and the names of all objects; looks again when a driver merges meanwhile."""
    for left in reversed(range(_LOOKS)):
        names = [path.name for path in place.glob("*.jsonl")]
        chain, missing = _chain(names)
        try:
            if missing is None:
                return _lines(place, chain), names
        except FileNotFoundError:
            continue
        if not left:
            raise JournalError(f"{place}: record {missing} is missing, and later ones are there")
    raise JournalError(f"{place} changes faster than it can be read")


def _chain(names: Iterable[str]) -> tuple[list[tuple[int, str]], int | None]:
    """Few objects that hold all records, each with the first record to take from it.

    Also the number of a missing record, if there is one.
    """
    found = sorted((int(m[1]), int(m[2] or m[1]), name) for name in names if (m := _match(name)))
    chain: list[tuple[int, str]] = []
    wanted, index = 0, 0
    reach, best = -1, ""
    while True:
        while index < len(found) and found[index][0] <= wanted:
            if found[index][1] > reach:
                reach, best = found[index][1:]
            index += 1
        if reach < wanted:
            return chain, wanted if index < len(found) else None
        chain.append((wanted, best))
        wanted = reach + 1


def _lines(place: ObjectPath, chain: list[tuple[int, str]]) -> list[bytes]:
    def lines(entry: tuple[int, str]) -> list[bytes]:
        wanted, name = entry
        match = _match(name)
        assert match
        content = (place / name).read_bytes()
        return content.splitlines(keepends=True)[wanted - int(match[1]) :]

    with ThreadPoolExecutor(HANDS) as pool:
        return [line for some in pool.map(lines, chain) for line in some]


def _firsts(lines: list[bytes]) -> set[str]:
    """Names of the objects of each writer's first record."""
    found, before = set(), None
    for number, line in enumerate(lines):
        writer = json.loads(line)["writer"]
        if writer != before:
            found.add(_name(number))
        before = writer
    return found


def _match(name: str) -> re.Match[str] | None:
    return _NAME.fullmatch(name)


def _name(first: int, last: int | None = None) -> str:
    return f"{first:012d}.jsonl" if last is None else f"{first:012d}-{last:012d}.jsonl"
