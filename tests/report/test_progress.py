"""What is said of a sweep that runs, beyond what tests/driver/test_views.py sees of it."""

from __future__ import annotations

import io

import journals
import pytest
from scipy import stats

from sweeps import journal
from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.progress import best_so_far, seconds_left
from sweeps.report.watch import watch
from sweeps.spec import SweepSpec
from sweeps.storage import at, working_folder
from sweeps.storage.segments import Segments

SPEC = {
    "name": "seen",
    "training": {"epochs": 9},
    "space": {"model.noise.strength": {"uniform": [0, 2]}, "training.optimizer.lr": 0.1},
    "search": {"trials": 4, "sampler": "random"},
}


def test_the_best_of_several_seeds_has_a_mean_and_an_interval(tmp_path) -> None:
    values, spec = [0.9, 0.92, 0.91, 0.93, 0.95], SweepSpec.model_validate(SPEC)
    low, high = stats.t.interval(0.95, 3, loc=0.915, scale=stats.sem(values[:4]))
    expected = f"0.9300 (trial 3), 0.9150 ± {(high - low) / 2:.4f} over 4 seeds"
    (tmp_path / "seen").mkdir()
    with journal.Journal(tmp_path / "seen") as log:
        content = spec.model_dump(mode="json")
        log.write("sweep", spec=content, identity=spec.identity(), versions={})
        for number, value in enumerate(values):
            params = {"training.optimizer.lr": 0.1 if number < 4 else 0.2}
            log.write("trial", trial=number, params=params, seed=number)
            metrics = {"val_accuracy": value}
            log.write(
                "result", trial=number, attempt=1, epoch=9, metrics=metrics, decision="finish",
                rung=None, node="host",
            )  # fmt: skip
            if number == 4:  # the only one at its point
                assert best_so_far(log.state) == expected
            log.write("end", trial=number, status="finished", epoch=9, value=value, reason="")
        assert best_so_far(log.state) == "0.9500 (trial 4)"


def test_the_time_left_is_the_pace_of_this_session(tmp_path) -> None:
    state = journals.write_sweep(tmp_path / "x", trials=6, fails=(), close=False)
    begun = state.sessions[-1]["time"]
    assert seconds_left(state, begun + 60) == pytest.approx(60 / 6 * (12 - 6))
    state.sessions.append({"state": "started", "time": begun + 1000})
    assert seconds_left(state, begun + 1060) is None


def test_watching_shows_each_end_until_nobody_writes(tmp_path) -> None:
    folder, out, rests = tmp_path / "seen", io.StringIO(), []
    spec = SweepSpec.model_validate(SPEC)
    with opened(spec, folder) as writing:
        conductor = Conductor(writing, lambda record, state: None)
        conductor.session("started")
        conductor.next()

        def rest(_: float) -> None:
            rests.append(out.getvalue())
            if len(rests) == 2:
                conductor.failed(0, {"type": "OSError", "message": "no disk"})
            if len(rests) == 4:
                raise KeyboardInterrupt

        watch(folder, out, rest)
    assert rests[0] == rests[1] != rests[2] == rests[3]
    assert "0 of 4 trials, 1 running, starting" in rests[0]
    assert "1 failed; last: trial 0: no disk" in rests[2]
    watch(folder, ended := io.StringIO(), rest)  # nobody runs it: shown once
    assert ended.getvalue().count("of 4 trials") == 1 and len(rests) == 4


def test_a_sweep_in_a_store_is_watched_from_elsewhere(store, tmp_path, monkeypatch) -> None:
    spec, out, there = SweepSpec.model_validate(SPEC), io.StringIO(), tmp_path / "there"
    there.mkdir()
    monkeypatch.setattr(journal, "held", lambda _: log.state.epochs == 0)
    with journal.Journal(there, Segments(at(store) / "seen")) as log:
        content = spec.model_dump(mode="json")
        log.write("sweep", spec=content, identity=spec.identity(), versions={})

        def rest(_: float) -> None:
            log.write("trial", trial=0, params={}, seed=0)
            metrics = {"val_accuracy": 0.9}
            log.write(
                "result", trial=0, attempt=1, epoch=9, metrics=metrics, decision="finish",
                rung=None, node="host",
            )  # fmt: skip
            log.write("end", trial=0, status="finished", epoch=9, value=0.9, reason="")

        watch(working_folder(store) / "seen", out, rest)
    assert "0 of 4 trials" in out.getvalue() and "best 0.9000 (trial 0)" in out.getvalue()
