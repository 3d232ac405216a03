"""A lease shows that a driver lives, and runs out when it has died."""

from __future__ import annotations

import pytest

from sweeps.driver.folder import opened
from sweeps.errors import SweepBusy
from sweeps.journal import begun, held, read
from sweeps.report.status import listing
from sweeps.spec import SweepSpec
from sweeps.storage import at, lease, working_folder
from sweeps.storage.lease import Lease

SPEC = SweepSpec(name="s")


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    """A store tells times in whole seconds."""
    monkeypatch.setattr(lease, "BEAT_S", 0.05)
    monkeypatch.setattr(lease, "TERM_S", 2.0)
    monkeypatch.setattr(lease, "_LOOK_S", 0.2)


def elsewhere(monkeypatch, tmp_path) -> None:
    """From now on this is another machine: it has another cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))


def test_a_living_driver_is_left_alone(store, tmp_path, monkeypatch) -> None:
    with opened(SPEC, working_folder(store) / "s") as journal:
        elsewhere(monkeypatch, tmp_path)
        folder = working_folder(store) / "s"
        assert held(folder)
        busy = pytest.raises(SweepBusy, match=f"{store}/s is being run by another driver")
        with busy, opened(SPEC, folder):
            pass
        journal.write("session", state="started")
    assert not held(folder)
    with opened(SPEC, folder) as journal:
        assert journal.state.records == 2


def test_a_dead_drivers_lease_runs_out(store, tmp_path, monkeypatch) -> None:
    folder = working_folder(store) / "s"
    folder.mkdir(parents=True)
    dead = Lease(at(store) / "s", folder)
    dead._write(7)
    assert not held(folder)  # here its lock is known to be free
    elsewhere(monkeypatch, tmp_path)
    assert held(working_folder(store) / "s")
    with opened(SPEC, working_folder(store) / "s") as journal:
        assert journal.state.records == 1
        assert not dead._is_ours()


def test_in_the_same_working_copy_the_last_driver_is_known_to_be_dead(store, monkeypatch) -> None:
    folder = working_folder(store) / "s"
    folder.mkdir(parents=True)
    Lease(at(store) / "s", folder)._write(7)
    monkeypatch.setattr(lease.time, "sleep", None)  # nothing is waited for
    with opened(SPEC, folder):
        pass


def test_a_driver_that_was_replaced_ends_at_its_next_record(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 3600.0)  # neither renews: the first is stalled
    with opened(SPEC, working_folder(store) / "s") as stalled:
        (at(store) / "s" / lease.FILE).unlink()
        elsewhere(monkeypatch, tmp_path)
        with opened(SPEC, working_folder(store) / "s") as journal:
            journal.write("session", state="started")
            with pytest.raises(SweepBusy, match="another driver has gone on with"):
                stalled.write("session", state="started", value="from the past")
            journal.write("session", state="finished")
    assert [r["state"] for r in read(working_folder(store) / "s").sessions] == [
        "started",
        "finished",
    ]


def test_a_store_lists_its_sweeps_to_a_machine_that_never_saw_them(
    store, tmp_path, monkeypatch
) -> None:
    for name in ("one", "two"):
        with opened(SweepSpec(name=name), working_folder(store) / name):
            pass
    (at(store) / "mlflow-artifacts" / "file").write_bytes(b"no sweep")
    elsewhere(monkeypatch, tmp_path)
    assert [folder.name for folder in begun(working_folder(store))] == ["one", "two"]
    text = listing(working_folder(store))
    assert text == "".join(f"{n}: not started, no trials of 32\n" for n in ("two", "one"))
    assert listing(working_folder(f"{store}/none")) == f"no sweeps in {store}/none\n"
