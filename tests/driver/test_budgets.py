"""Budgets to their very limit; no Ray, made curves."""

from __future__ import annotations

import pytest
from test_changes import run
from test_conductor import drive, spec

from sweeps.driver import budget, changes
from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.errors import SpecError
from sweeps.journal import read


@pytest.mark.parametrize("limit", [1, 2, 7, 10, 31])
@pytest.mark.parametrize("places", [1, 2, 5])
def test_a_budget_of_epochs_is_used_to_the_last_and_no_further(tmp_path, limit, places) -> None:
    """Many trials at a time, each reporting in turn, as workers beside one another do."""
    with opened(spec(budget={"max_epochs": limit}), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        running = {}
        while True:
            while len(running) < places and (one := conductor.next()):
                running[one.trial] = one.known_epoch
            if not running:
                break
            assert journal.state.epochs + len(running) <= limit
            number = min(running, key=running.get)
            running[number] += 1
            if conductor.result(number, running[number], {"val_accuracy": 0.5}):
                del running[number]
        assert journal.state.epochs == limit
        assert not conductor.complete
    changes.extend(tmp_path / "s", max_epochs=limit + 3)
    with pytest.raises(SpecError, match="nothing to add"):
        changes.extend(tmp_path / "s", max_epochs=limit + 3)
    run(spec(), tmp_path / "s")
    assert read(tmp_path / "s").epochs == limit + 3


def test_a_budget_of_trials_caps_the_search(tmp_path) -> None:
    run(spec(budget={"max_trials": 5}), tmp_path / "s")
    assert len(read(tmp_path / "s").trials) == 5
    assert read(tmp_path / "s").finished
    changes.extend(tmp_path / "s", max_trials=7)
    run(spec(), tmp_path / "s")
    assert len(read(tmp_path / "s").trials) == 7


def test_budgets_of_hours_count_every_session(tmp_path, monkeypatch) -> None:
    now = 1000.0
    monkeypatch.setattr("sweeps.journal.time.time", lambda: now)
    limited = spec(budget={"max_hours": 2, "max_gpu_hours": 1.5}, resources={"gpus_per_trial": 0.5})
    with opened(limited, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        conductor.session("started")
        one = conductor.next()
        now += 3600
        conductor.result(one.trial, 1, {"val_accuracy": 0.5})
        conductor.session("interrupted")
        state = journal.state
        assert (state.seconds, state.trial_seconds) == (3600, 3600)
    now += 7 * 86400
    with opened(limited, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        conductor.session("started")
        assert journal.state.seconds == 3600
        conductor.next()
        state, live = journal.state, conductor.live
        assert budget.used_up(state, live, now + 3599) == ""
        assert budget.used_up(state, live, now + 3600) == "budget.max_hours of 2 is used up"
        conductor.next()  # two at a time now: half a GPU each
        assert budget.used_up(state, conductor.live, now + 3599) == ""
        roomy = spec(budget={"max_gpu_hours": 1.5}, resources={"gpus_per_trial": 0.5})
        state.spec = roomy
        assert budget.used_up(state, conductor.live, now + 3599) == ""
        assert "max_gpu_hours of 1.5" in budget.used_up(state, conductor.live, now + 3600)


def test_gpu_hours_that_are_used_up_are_told_before_a_sweep_is_extended(tmp_path) -> None:
    limited = spec(budget={"max_gpu_hours": 1e-9}, resources={"gpus_per_trial": 0.5})
    run(limited, tmp_path / "s")
    with pytest.raises(SpecError, match=r"budget\.max_gpu_hours: is used up already .*--max-gpu-h"):
        changes.extend(tmp_path / "s", trials=1)
    changes.extend(tmp_path / "s", trials=1, max_gpu_hours=1)


def test_pauses_between_drivers_use_no_budget(tmp_path, monkeypatch) -> None:
    """Also where a driver died after a last result, and the next one writes the end."""
    now = 1000.0
    monkeypatch.setattr("sweeps.journal.time.time", lambda: now)

    class Killed(BaseException):
        pass

    def kill(record, state) -> None:
        if record.get("decision") == "prune":
            raise Killed

    with pytest.raises(Killed), opened(spec(), tmp_path / "s") as journal:
        conductor = Conductor(journal, kill)
        conductor.session("started")
        now += 10
        drive(conductor)
    used = read(tmp_path / "s").seconds
    assert used == 10
    now += 86400
    changes.extend(tmp_path / "s", trials=1)
    now += 86400
    with opened(spec(), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        conductor.session("started")
        assert (journal.state.seconds, journal.state.trial_seconds) == (10, 0)


@pytest.mark.parametrize(
    ("options", "found"),
    [({"max_trials": 4}, "4; 5 used"), ({"max_epochs": 20}, "20; 45 used")],
)
def test_a_budget_that_is_used_up_already_is_refused(tmp_path, options, found) -> None:
    run(spec(search={"trials": 5}, stopping={"name": "none"}), tmp_path / "s")
    with pytest.raises(SpecError, match=f"is used up already \\(found {found}\\)"):
        changes.extend(tmp_path / "s", **options)


def test_more_of_a_sweep_whose_own_budget_is_used_up_is_refused(tmp_path) -> None:
    run(spec(search={"trials": 5}, budget={"max_epochs": 7}), tmp_path / "s")
    remedy = "found 7; 7 used\\). Give more: --max-epochs"
    with pytest.raises(SpecError, match=f"budget.max_epochs: is used up already \\({remedy}"):
        changes.extend(tmp_path / "s", trials=2)
    changes.extend(tmp_path / "s", trials=2, max_epochs=100)
    assert read(tmp_path / "s").spec.search.trials == 7


def test_more_trials_than_a_budget_allows_raise_the_budget_alone(tmp_path) -> None:
    run(spec(search={"trials": 4}, budget={"max_trials": 1}), tmp_path / "s")
    changes.extend(tmp_path / "s", trials=1)
    after = read(tmp_path / "s").spec
    assert (after.search.trials, after.budget.max_trials) == (4, 2)
