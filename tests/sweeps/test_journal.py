"""The journal: numbered, torn only at its end, and the same state however it is read."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweeps.state
from sweeps.errors import UNWRITABLE, JournalError, SweepNotFound, how_to_mend
from sweeps.journal import FILE, Journal, read, tail
from sweeps.spec import SweepSpec


@pytest.fixture
def begun(tmp_path):
    with Journal(tmp_path) as journal:
        _begin(journal)
        yield journal


def _begin(journal: Journal) -> None:
    spec = SweepSpec(name="s")
    journal.write("sweep", spec=spec.model_dump(mode="json"), identity=spec.identity(), versions={})
    journal.write("trial", trial=0, params={"a": 1}, seed=0)
    journal.write(
        "result",
        trial=0,
        attempt=1,
        epoch=1,
        metrics={"val_accuracy": 0.5, "x": None},
        decision="continue",
        rung=None,
    )


def test_reading_gives_the_writers_state(begun, tmp_path) -> None:
    assert read(tmp_path) == begun.state
    assert read(tmp_path).trials[0].values("val_accuracy") == {1: 0.5}
    assert read(tmp_path).trials[0].values("x") == {}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_cut_off_and_written_over(begun, tmp_path, cut) -> None:
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-cut])
    assert read(tmp_path).records == 2
    with Journal(tmp_path) as journal:
        assert journal.state.records == 2
        journal.write("session", state="started")
    assert read(tmp_path).records == 3


def test_damage_before_the_last_line_is_refused(begun, tmp_path) -> None:
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(lines[0] + b"garbage\n" + lines[2])
    with pytest.raises(JournalError, match=r"damaged at byte \d+: Expecting value$"):
        Journal(tmp_path)


def test_a_missing_record_is_refused(begun, tmp_path) -> None:
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(lines[0] + lines[2])
    with pytest.raises(JournalError, match="record 2 stands where 1 should"):
        read(tmp_path)


@pytest.mark.parametrize("first", [b"", b'{"n": 0, "half'])
def test_a_journal_without_its_first_record_is_no_sweep(tmp_path, first) -> None:
    (tmp_path / FILE).write_bytes(first)
    with pytest.raises(SweepNotFound, match="no whole first record"):
        read(tmp_path)


@pytest.mark.parametrize("line", [b"5\n", b"{}\n"])
def test_a_line_that_is_no_record_is_refused(tmp_path, line) -> None:
    (tmp_path / FILE).write_bytes(line)
    with pytest.raises(JournalError, match="of the journal is none"):
        read(tmp_path)


def test_a_spec_of_another_version_is_named(begun, tmp_path) -> None:
    text = (tmp_path / FILE).read_text().replace('"name":"s"', '"name":"s","new_field":1')
    (tmp_path / FILE).write_text(text)
    with pytest.raises(JournalError, match="another version: new_field"):
        read(tmp_path)


def test_no_journal_is_no_sweep(tmp_path) -> None:
    with pytest.raises(SweepNotFound, match="no sweep at"):
        read(tmp_path)


def test_a_file_in_place_of_a_folder_is_no_sweep(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SweepNotFound, match="or its storage, is a file"):
        read(tmp_path / "file" / "s")


def test_a_tail_goes_on_where_it_stopped(begun, tmp_path) -> None:
    records, offset = tail(tmp_path / FILE)
    assert [r["n"] for r in records] == [0, 1, 2]
    assert tail(tmp_path / FILE, offset) == ([], offset)
    written = begun.write("session", state="finished")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"n": 4, "half')
    assert tail(tmp_path / FILE, offset)[0] == [written]


def test_not_a_number_never_gets_in(begun, tmp_path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        begun.write("result", metrics={"loss": float("nan")})
    assert read(tmp_path).records == 3


class FaultyFile:
    """A file whose next write is cut short, fails, or is interrupted before or after it."""

    def __init__(self, file):
        self.file, self.fault, self.share = file, "", 0.0

    def write(self, line):
        fault, self.fault = self.fault, ""
        if fault == "interrupted before":
            raise KeyboardInterrupt
        if fault == "short":
            return self.file.write(line[: int(len(line) * self.share)])
        if fault in ("EIO", "ENOSPC"):
            self.file.write(line[: int(len(line) * self.share)])
            raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))
        written = self.file.write(line)
        if fault == "interrupted after":
            raise KeyboardInterrupt
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


faults = st.sampled_from(["", "short", "EIO", "ENOSPC", "interrupted before", "interrupted after"])


@given(st.lists(st.tuples(faults, st.floats(0, 0.99)), max_size=12))
def test_whatever_a_write_meets_the_journal_stays_whole(plan) -> None:
    with tempfile.TemporaryDirectory() as place, Journal(Path(place)) as journal:
        _begin(journal)
        journal._file = FaultyFile(journal._file)
        acknowledged = [0, 1, 2]
        for value, (fault, share) in enumerate(plan):
            journal._file.fault, journal._file.share = fault, share
            try:
                acknowledged.append(journal.write("session", state="started", value=value)["n"])
            except (JournalError, KeyboardInterrupt):
                assert fault
            kept = read(Path(place))
            numbers = list(range(kept.records))
            assert set(acknowledged) <= set(numbers)
        last = journal.write("session", state="finished")
        assert read(Path(place)) == journal.state
        values = [r["value"] for r in journal.state.sessions[:-1]]
        written = [v for v, (fault, _) in enumerate(plan) if fault in ("", "interrupted after")]
        assert values == written
        assert last["n"] == 3 + len(written)


def test_a_full_disk_is_told_and_the_journal_goes_on_when_there_is_room(begun, tmp_path) -> None:
    begun._file = FaultyFile(begun._file)
    begun._file.fault, begun._file.share = "ENOSPC", 0.5
    with pytest.raises(JournalError, match=r"No space left .* Make room there, then resume"):
        begun.write("session", state="started")
    assert read(tmp_path).records == 3
    assert begun.write("session", state="started")["n"] == 3
    assert read(tmp_path) == begun.state


def test_what_helps_is_said_by_why_a_place_takes_nothing() -> None:
    found = [how_to_mend(OSError(kind, "")) for kind in UNWRITABLE]
    assert found.count("Make room there") == found.count("Make it writable again") == 2


def test_every_kind_of_record_is_described() -> None:
    source = Path(sweeps.state.__file__)
    described = (source.parents[1] / "docs" / "folder.md").read_text()
    kinds = re.findall(r'case "(\w+)":', source.read_text())
    assert len(kinds) == 10
    assert [kind for kind in kinds if f"| `{kind}` |" not in described] == []
