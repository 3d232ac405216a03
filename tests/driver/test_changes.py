"""More of a sweep, failed trials again; no Ray, made curves."""

from __future__ import annotations

import pytest
from test_conductor import drive, spec, story, train

from sweeps.driver import changes
from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.errors import SpecError, SweepBusy, SweepNotFound
from sweeps.journal import Journal, held, read
from sweeps.trial import stop

CONSTANT = {"epochs": 9, "schedule": {"name": "constant"}}


def run(spec, folder) -> None:
    with opened(spec, folder) as journal:
        conductor = Conductor(journal)
        conductor.session("started")
        drive(conductor)
        conductor.session("finished" if conductor.complete else "budget")


def test_more_trials_are_those_of_a_larger_sweep(tmp_path) -> None:
    run(spec(search={"trials": 12, "sampler": "random"}), tmp_path / "small")
    before = story(tmp_path / "small")
    assert changes.extend(tmp_path / "small", trials=8) == ["search.trials: 12 -> 20"]
    assert not read(tmp_path / "small").finished
    run(read(tmp_path / "small").spec, tmp_path / "small")
    run(spec(search={"trials": 20, "sampler": "random"}), tmp_path / "large")
    assert story(tmp_path / "small")[:12] == before
    assert story(tmp_path / "small") == story(tmp_path / "large")


def test_more_of_a_grid_is_the_next_seeds(tmp_path) -> None:
    grid = spec(
        space={"model.noise.ghost_size": {"choice": [4, 8]}},
        search={"sampler": "grid"},
        stopping={"name": "none"},
    )
    with opened(grid, tmp_path / "s") as journal:
        for trial in iter(Conductor(journal).next, None):
            assert trial.seed == 0
    changes.extend(tmp_path / "s", trials=4)
    with opened(grid, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        handed = [conductor.next() for _ in range(6)]
        assert conductor.next() is None
    assert [(a.params["model.noise.ghost_size"], a.seed) for a in handed] == [
        (4, 0),
        (8, 0),
        (4, 1),
        (8, 1),
        (4, 2),
        (8, 2),
    ]


def test_more_epochs_go_on_with_those_trained_in_full(tmp_path) -> None:
    short = spec(training=CONSTANT)
    run(short, tmp_path / "s")
    before = {n: t.status for n, t in read(tmp_path / "s").trials.items()}
    assert changes.extend(tmp_path / "s", epochs=20) == ["training.epochs: 9 -> 20"]
    run(short, tmp_path / "s")
    after = read(tmp_path / "s")
    assert after.finished and after.spec.training.epochs == 20
    assert after.identity == short.identity()
    for number, status in before.items():
        trial = after.trials[number]
        assert trial.status in (("finished", "pruned") if status == "finished" else (status,))
        assert [r["epoch"] for r in trial.results] == list(range(1, trial.epoch + 1))
        assert trial.epoch > 9 if status == "finished" else trial.epoch <= 9
    assert any(t.epoch == 20 for t in after.trials.values())


def test_an_extension_cut_short_can_be_said_again(tmp_path, monkeypatch) -> None:
    short = spec(training=CONSTANT)
    for name in ("whole", "cut"):
        run(short, tmp_path / name)
    before = read(tmp_path / "cut").records
    write = Journal.write
    monkeypatch.setattr(
        Journal,
        "write",
        lambda self, kind, **content: (
            write(self, kind, **content)
            if self.state.records < before + 2
            else pytest.fail("the power went")
        ),
    )
    with pytest.raises(pytest.fail.Exception):
        changes.extend(tmp_path / "cut", epochs=20)
    monkeypatch.undo()
    assert read(tmp_path / "cut").records == before + 2
    run(short, tmp_path / "cut")  # somebody resumes: it is as long as it was
    assert read(tmp_path / "cut").finished
    for name in ("whole", "cut"):
        assert changes.extend(tmp_path / name, epochs=20) == ["training.epochs: 9 -> 20"]
        run(short, tmp_path / name)
    assert story(tmp_path / "whole") == story(tmp_path / "cut")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 20}, "a cosine schedule has come to its end with its last epoch"),
        ({"epochs": 9}, r"must be above the sweep's epochs \(found 9; the sweep has 9\)"),
        ({"trials": -1}, r"adds to what there is \(found -1\)"),
        ({}, "nothing to add"),
        ({"max_hours": -1}, "budget.max_hours"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(tmp_path, options, message) -> None:
    run(spec(search={"trials": 2}), tmp_path / "s")
    before = (tmp_path / "s" / "journal.jsonl").read_bytes()
    with pytest.raises(SpecError, match=message):
        changes.extend(tmp_path / "s", **options)
    assert (tmp_path / "s" / "journal.jsonl").read_bytes() == before
    with pytest.raises(SweepNotFound):
        changes.extend(tmp_path / "none", trials=1)


def test_failed_trials_go_on_from_where_they_were(tmp_path) -> None:
    three = spec(search={"trials": 3}, stopping={"name": "none"})
    with opened(three, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        first, second = conductor.next(), conductor.next()
        train(conductor, first, upto=2)
        conductor.failed(first.trial, {"type": "OSError", "message": "disk"})
        conductor.failed(second.trial, {"type": "TrialDiverged", "message": "nan"}, "diverged")
        drive(conductor)
    assert changes.retry(tmp_path / "s") == [0]
    with pytest.raises(SpecError, match=r"--failed: nothing to try again.* resume"):
        changes.retry(tmp_path / "s")
    with opened(three, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        again = conductor.next()
        assert (again.trial, again.attempt, again.known_epoch) == (0, 2, 2)
        assert conductor.next() is None
        train(conductor, again)
    assert [t.status for t in read(tmp_path / "s").trials.values()][:2] == ["finished", "diverged"]


def test_what_ran_out_of_memory_is_tried_once_more_alone_and_last(tmp_path) -> None:
    with opened(spec(search={"trials": 3}), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        first, second = conductor.next(), conductor.next()
        error = {"type": "OutOfMemoryError", "message": "CUDA out of memory"}
        conductor.out_of_memory(first.trial, error)
        third = conductor.next()
        assert third.trial == 2
        assert conductor.next() is None  # not beside the two that run
        train(conductor, second)
        train(conductor, third)
        again = conductor.next()
        assert (again.trial, again.attempt, again.alone) == (0, 2, True)
        conductor.out_of_memory(again.trial, error)
        assert journal.state.trials[0].status == "failed"
        assert conductor.next() is None


def test_a_stopped_trial_stays_open_and_a_preempted_one_is_handed_out_again(tmp_path) -> None:
    with opened(spec(resources={"max_attempts": 1}), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        one = conductor.next()
        conductor.stopped(one.trial, again=True)
        again = conductor.next()
        assert (again.trial, again.attempt) == (one.trial, 2)
        conductor.stopped(again.trial)
        assert journal.state.trials[one.trial].end is None


def test_stop_asks_the_driver_and_waits_for_it(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "s"
    one = spec(search={"trials": 1})
    run(one, folder)
    assert not changes.stop(folder)
    with opened(one, folder):
        assert held(folder)
        with pytest.raises(SweepBusy, match="has not stopped after 0 s"):
            changes.stop(folder, patience=0)
        asked = stop.Stop(folder)
        assert asked()
    with opened(one, folder):  # the next driver forgets the request
        assert not stop.Stop(folder)()
