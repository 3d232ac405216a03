"""A journal in a store: whole whatever is merged, and of two writers one is refused."""

from __future__ import annotations

import json
import random

import pytest

from sweeps.errors import JournalError, StorageError, SweepBusy
from sweeps.journal import FILE, Journal, read, refresh
from sweeps.spec import SweepSpec
from sweeps.storage import at, segments, working_folder
from sweeps.storage.segments import Segments


@pytest.fixture
def place(store):
    return at(store) / "s"


@pytest.fixture
def few(monkeypatch) -> None:
    """Merge early."""
    monkeypatch.setattr(segments, "MERGE", 5)
    monkeypatch.setattr(segments, "_MOST", 4)


def put(writer: Segments, numbers) -> None:
    for n in numbers:
        line = json.dumps({"n": n, "writer": writer.writer}) + "\n"
        writer.put(n, line.encode())


def numbers(content: bytes) -> list[int]:
    return [json.loads(line)["n"] for line in content.splitlines()]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("seed", range(3))
def test_however_it_was_merged_it_is_read_whole(place, seed) -> None:
    """Sessions of any length, ended or killed, each beginning with a read."""
    dice, done = random.Random(seed), 0
    for _ in range(4):
        writer = Segments(place)
        assert numbers(writer.read()) == list(range(done))
        until = done + dice.randint(0, 14)
        put(writer, range(done, until))
        done = until
        assert numbers(segments.read(place)) == list(range(done))
        if dice.random() < 0.5:
            writer.close()
    Segments(place).read()
    names = [path.name for path in (place / "journal").glob("*")]
    assert len(names) <= 4 + segments._MOST + segments.MERGE
    assert numbers(segments.read(place)) == list(range(done))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("ahead", [1, 5, 30])
def test_a_writer_that_was_replaced_is_refused_for_ever(place, ahead) -> None:
    """However far the next ones are, and whatever they have merged and removed."""
    away = Segments(place)
    put(away, range(3))
    second = Segments(place)
    second.read()
    put(second, range(3, 3 + ahead))
    second.close()
    third = Segments(place)
    third.read()
    put(third, range(3 + ahead, 20 + ahead))
    third.close()
    before = segments.read(place)
    with pytest.raises(SweepBusy, match=f"another driver has gone on with {place}: this one ends"):
        put(away, [3])
    with pytest.raises(SweepBusy):
        away.written(3)
    with pytest.raises(SweepBusy):
        put(second, [3 + ahead])
    away.close()
    assert segments.read(place) == before


def test_of_two_that_begin_at_once_one_goes_on(place) -> None:
    first, second = Segments(place), Segments(place)
    assert first.read() == second.read() == b""
    put(second, [0])
    with pytest.raises(SweepBusy):
        put(first, [0])
    put(second, [1])
    assert numbers(segments.read(place)) == [0, 1]


def test_a_missing_record_is_refused(place) -> None:
    put(Segments(place), range(4))
    (place / "journal" / f"{2:012d}.jsonl").unlink()
    with pytest.raises(JournalError, match="record 2 is missing, and later ones are there"):
        segments.read(place)


def begun(journal: Journal) -> None:
    spec = SweepSpec(name="s")
    journal.write("sweep", spec=spec.model_dump(mode="json"), identity=spec.identity(), versions={})


def test_the_working_copy_is_what_the_store_holds(store) -> None:
    folder = working_folder(store) / "s"
    folder.mkdir(parents=True)
    (folder / FILE).write_text("of another sweep, long ago\n")
    with Journal(folder, Segments(at(store) / "s")) as journal:
        begun(journal)
        assert journal.write("session", state="started")["n"] == 1
        assert read(folder) == journal.state
    (folder / FILE).unlink()
    refresh(folder)
    assert len((folder / FILE).read_bytes().splitlines()) == 2


@pytest.mark.parametrize("fault", ["lost answer", "no answer", "killed after", "killed before"])
def test_whatever_a_put_meets_the_record_is_there_once_or_not_at_all(
    store, monkeypatch, fault
) -> None:
    """What the store has taken counts; the writer knows it from there before the next record."""
    from sweeps.storage import client

    s3, real = client.client(), client.client().put_object
    monkeypatch.setattr(client, "PATIENCE_S", 0.3)
    left = [1 if fault == "lost answer" else 99]

    def faulty(**options):
        if left[0] <= 0:
            return real(**options)
        left[0] -= 1
        if fault in ("lost answer", "killed after"):
            real(**options)
        if fault.startswith("killed"):
            raise KeyboardInterrupt
        raise client_error()

    def client_error():
        from botocore.exceptions import ReadTimeoutError

        return ReadTimeoutError(endpoint_url="there")

    folder = working_folder(store) / "s"
    folder.mkdir(parents=True)
    with Journal(folder, Segments(at(store) / "s")) as journal:
        begun(journal)
        monkeypatch.setattr(s3, "put_object", faulty)
        try:
            journal.write("session", state="started", value=1)
        except (StorageError, KeyboardInterrupt):
            assert fault != "lost answer"
        left[0] = 0
        journal.write("session", state="started", value=2)
        values = [record["value"] for record in journal.state.sessions]
        assert values == ([1, 2] if fault in ("lost answer", "killed after") else [2])
        assert read(folder) == journal.state
