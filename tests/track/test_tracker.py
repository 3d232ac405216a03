from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import journals
import pytest
import store_reader

from sweeps.errors import SweepNotFound
from sweeps.track import launcher, tracker
from sweeps.track.projection import Projection
from sweeps.track.store import artifact_location, locked, store_uri

# MLflow and SQLAlchemy warn about each other; our own modules raise no such warning.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def until(condition, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(met)


def test_the_light_modules_import_nothing_heavy():
    code = """
        import sys, sweeps.track.launcher, sweeps.track.store, sweeps.track.ui
        print({"mlflow", "torch", "ray", "pandas"} & set(sys.modules))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, capture_output=True, check=True).stdout.strip() == b"set()"


def test_the_store_is_beside_the_folder_unless_the_spec_names_one(tmp_path):
    spec = journals.made_up_spec()
    assert store_uri(spec, tmp_path / "digits") == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert artifact_location(spec, tmp_path / "digits") == str(tmp_path / "mlflow-artifacts")
    named = journals.made_up_spec(tracking={"uri": "http://127.0.0.1:5000"})
    assert store_uri(named, tmp_path / "digits") == "http://127.0.0.1:5000"
    assert artifact_location(named, tmp_path / "digits") is None


def test_a_folder_without_a_journal_is_no_sweep(tmp_path):
    with pytest.raises(SweepNotFound, match="no sweep at"):
        tracker.sync(tmp_path / "nothing")


def test_a_store_out_of_reach_is_said_once_and_ends_in_time(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracker, "POLL", 0.05)
    spec = journals.made_up_spec(tracking={"uri": "http://127.0.0.1:9"})
    journals.write_sweep(tmp_path / "digits", spec, trials=1)
    with caplog.at_level(logging.WARNING):
        assert tracker.sync(tmp_path / "digits", patience=1.0) is False
    assert [r.levelname for r in caplog.records if r.name == tracker.__name__] == ["WARNING"]


def test_what_a_store_refused_for_a_while_arrives_when_it_is_back(storage, monkeypatch):
    deliver, refusals = Projection.deliver, iter(range(3))

    def refuse_first(self, uri, closing):
        if next(refusals, None) is not None:
            raise ConnectionError("refused")
        deliver(self, uri, closing)

    monkeypatch.setattr(Projection, "deliver", refuse_first)
    monkeypatch.setattr(tracker, "POLL", 0.01)
    state = journals.write_sweep(storage / "digits", trials=2)
    assert tracker.sync(storage / "digits")
    assert len(store_reader.statuses(storage / "mlflow.db")) == 1 + len(state.trials)


def test_a_second_tracker_waits_for_the_first(storage):
    folder = storage / "digits"
    journals.write_sweep(folder, trials=1)
    done = threading.Event()
    with locked(folder / "tracker.lock"):
        second = threading.Thread(target=lambda: tracker.sync(folder) and done.set())
        second.start()
        assert not done.wait(1.0)
        assert store_reader.statuses(storage / "mlflow.db") == {}
    assert done.wait(20)
    second.join()


def test_a_tracker_started_before_the_journal_delivers_all_of_it(storage):
    folder = storage / "digits"
    running = launcher.start(folder, f"sqlite:///{storage / 'mlflow.db'}")
    state = journals.write_sweep(folder, trials=3)
    assert running.finish(timeout=60), (folder / "logs" / "tracker.log").read_text()
    found = store_reader.statuses(storage / "mlflow.db")
    assert len(found) == 1 + len(state.trials)
    assert set(found.values()) == {"FINISHED"}


def test_when_the_driver_is_killed_its_tracker_closes_every_run_and_ends(storage):
    folder = storage / "digits"
    driver = f"""
        import os, signal, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import journals
        from sweeps.track import launcher
        folder = Path({str(folder)!r})
        print(launcher.start(folder).process.pid, flush=True)
        spec = journals.made_up_spec(stopping={{"name": "none"}})
        journals.write_sweep(folder, spec, trials=2, fails=(), open_trial=1, close=False)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(driver)]
    died = subprocess.run(command, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL
    process = Path("/proc") / died.stdout.strip()
    assert until(lambda: not process.exists() or "zombie" in (process / "status").read_text())
    expected = {"digits": "KILLED", "trial-0000": "FINISHED", "trial-0001": "KILLED"}
    assert store_reader.statuses(storage / "mlflow.db") == expected


def test_a_tracker_that_hangs_is_ended_after_the_timeout():
    sleeper = subprocess.Popen(["/bin/sleep", "60"], stdin=subprocess.PIPE)
    assert launcher.Tracker(sleeper).finish(timeout=0.2) is False
    with pytest.raises(ProcessLookupError):
        os.kill(sleeper.pid, 0)
