"""Rungs in seconds, and rungs of two objectives: decided by the journal alone."""

from __future__ import annotations

import random

import pytest

from sweeps.brackets import rungs_of
from sweeps.driver.conductor import Assignment, Conductor
from sweeps.driver.folder import opened
from sweeps.driver.stopping import Stopping
from sweeps.journal import read
from sweeps.objectives import Reached
from sweeps.progress import past_rungs
from sweeps.spec import SweepSpec

SPACE = {
    "model.noise.strength": {"uniform": [0, 2]},
    "training.batch_size": {"logint": [16, 256]},
}
SECONDS = {"stopping": {"seconds": [1.0, 4.0]}}
TWO = {"objective": {"second": {"metric": "seconds"}}}


def spec(**fields) -> SweepSpec:
    base = {"name": "s", "space": SPACE, "training": {"epochs": 9}, "search": {"trials": 16}}
    return SweepSpec.model_validate(base | fields)


def metrics(params, epoch: int) -> dict[str, float]:
    """A made trial: a pure function of its point, its seconds too."""
    accuracy = 1 - abs(params["model.noise.strength"] - 0.7) / 2 - 0.5 / epoch
    return {
        "val_accuracy": accuracy - params["training.batch_size"] / 1000,
        "seconds": 32 / params["training.batch_size"] * (1 + 0.1 * (epoch % 2)),
    }


def drive(conductor: Conductor) -> None:
    while one := conductor.next():
        train(conductor, one)


def train(conductor: Conductor, one: Assignment) -> None:
    for epoch in range(one.known_epoch + 1, 10):
        if conductor.result(one.trial, epoch, metrics(one.params, epoch)):
            return


def story(folder) -> list:
    """What was proposed and decided, without times and attempts."""
    keys = ("epoch", "metrics", "decision", "rung")
    return [
        (t.params, t.status, [[r[key] for key in keys] for r in t.results])
        for t in read(folder).trials.values()
    ]


@pytest.mark.parametrize(
    "fields",
    [
        SECONDS,
        {"stopping": {"name": "hyperband", "seconds": [1.0, 4.0]}},
        TWO,
        TWO | {"stopping": {"name": "hyperband"}},
        TWO | SECONDS,
    ],
)
def test_stopped_after_any_record_it_goes_on_the_same(tmp_path, fields) -> None:
    class Killed(BaseException):
        pass

    with opened(spec(**fields), tmp_path / "through") as journal:
        drive(Conductor(journal))
    through = story(tmp_path / "through")
    assert {status for _, status, _ in through} == {"finished", "pruned"}
    for stop_at in (12, 40, 75):

        def kill(record, state, at=stop_at) -> None:
            if record["n"] == at:
                raise Killed

        place = tmp_path / f"broken-{stop_at}"
        with pytest.raises(Killed), opened(spec(**fields), place) as journal:
            drive(Conductor(journal, kill))
        with opened(spec(**fields), place) as journal:
            drive(Conductor(journal))
        assert story(place) == through


def test_a_trial_is_compared_at_the_first_epoch_past_each_rung(tmp_path) -> None:
    with opened(spec(**SECONDS), tmp_path / "s") as journal:
        drive(Conductor(journal))
    state = read(tmp_path / "s")
    stopped = [t for t in state.trials.values() if t.status == "pruned"]
    assert len(stopped) >= 4
    for trial in state.trials.values():
        spent = 0.0
        for result in trial.results:
            before, spent = spent, spent + result["metrics"]["seconds"]
            reached = [rung for rung in (1.0, 4.0) if before < rung <= spent]
            assert result["rung"] == (reached[-1] if reached else None)
            assert reached or result["decision"] != "prune"
    last = stopped[0].results[-1]
    reason = f"stopped by ASHA at the rung of {last['rung']:g} seconds, after epoch {last['epoch']}"
    assert stopped[0].end["reason"] == reason
    assert past_rungs(state).startswith("1: ") and "  4: " in past_rungs(state)


def test_epochs_of_one_second_stop_as_rungs_in_epochs_do() -> None:
    by_time, by_epoch = Stopping(spec(stopping={"seconds": [1.0, 3.0]})), Stopping(spec())
    chance, told = random.Random(0), []
    for trial in range(40):
        for epoch in range(1, 9):
            value = chance.random()
            at = Reached(epoch, value, before=epoch - 1, seconds=epoch)
            told.append(by_epoch.stops(trial, at))
            assert by_time.stops(trial, at) == told[-1]
            if told[-1]:
                break
    assert 20 < sum(told) < 40


def test_an_epoch_past_two_rungs_is_compared_at_both() -> None:
    one = spec(**SECONDS)
    stopping = Stopping(one)
    for trial in range(3):
        assert not stopping.stops(trial, Reached(1, 0.1 * trial, before=0.0, seconds=2.0))
        assert not stopping.stops(trial, Reached(2, 0.8 + 0.1 * trial, before=2.0, seconds=4.0))
    slow = Reached(1, 0.5, before=0.0, seconds=9.0)
    assert stopping.rung(3, slow) == 4.0
    assert stopping.stops(3, slow)  # better than all at one second, worse than all at four


@pytest.mark.parametrize(
    "rule",
    [{}, {"name": "hyperband", "brackets": 1}, {"seconds": [1.0, 3.0]}, {"promote": True}],
)
@pytest.mark.parametrize(
    ("metric", "compare", "goes_on"),
    [
        ("val_accuracy", None, True),
        ("val_accuracy", "last", False),
        ("val_loss", None, False),
        ("val_loss", "best", True),
    ],
)
def test_a_rung_compares_the_best_epoch_so_far(rule, metric, compare, goes_on) -> None:
    one = spec(stopping=rule | {"compare": compare}, objective={"metric": metric})
    sign = -1 if metric == "val_loss" else 1
    lives, resumed = Stopping(one), Stopping(one)

    def tell(stopping: Stopping, trial: int, values: list[float]) -> bool:
        for epoch, value in enumerate(values, start=1):
            at = Reached(epoch, sign * value, before=epoch - 1, seconds=epoch)
            stops = stopping.stops(trial, at)
        return stops

    for trial in range(6):
        tell(lives, trial, [0.5, 0.5, 0.5])
        for epoch in (1, 2, 3):
            at = Reached(epoch, sign * 0.5, before=epoch - 1, seconds=epoch)
            resumed.know(trial, at, waits=False)
    assert tell(lives, 6, [0.9, 0.8, 0.1]) == tell(resumed, 6, [0.9, 0.8, 0.1]) == (not goes_on)


def test_a_loop_that_tells_no_seconds_fails_with_the_reason(tmp_path) -> None:
    with opened(spec(**SECONDS), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        one = conductor.next()
        assert one and conductor.result(one.trial, 1, {"val_accuracy": 0.5})
    end = read(tmp_path / "s").trials[0].end
    assert (end["status"], end["error"]["type"]) == ("failed", "ObjectiveMissing")
    assert end["reason"] == "stopping.seconds counts a metric: seconds is missing at epoch 1"


def test_a_second_objective_that_is_no_number_diverges(tmp_path) -> None:
    two = spec(objective={"second": {"metric": "val_loss"}})
    with opened(two, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        one = conductor.next()
        told = {"val_accuracy": 0.5, "val_loss": float("nan")}
        assert one and conductor.result(one.trial, 1, told)
    end = read(tmp_path / "s").trials[0].end
    assert end["status"] == "diverged"
    assert end["reason"] == "the objective val_loss is nan at epoch 1"


def test_hyperbands_brackets_leave_out_the_first_seconds() -> None:
    one = spec(stopping={"name": "hyperband", "seconds": [1.0, 4.0]}, search={"trials": 60})
    assert {tuple(rungs_of(one, n)) for n in range(60)} == {(1.0, 4.0), (4.0,), ()}


def test_of_two_objectives_the_best_in_either_goes_on_and_the_dominated_stops() -> None:
    stopping = Stopping(spec(**TWO))

    def stops(trial: int, accuracy: float, seconds: float) -> bool:
        return stopping.stops(trial, Reached(1, accuracy, seconds))

    for trial in range(9):  # along a front
        stops(trial, 0.5 + 0.04 * trial, 1 + trial)
    assert not stops(9, 0.95, 20)  # the most accurate so far
    assert not stops(10, 0.1, 0.5)  # the fastest so far
    assert stops(11, 0.5, 9.5)
    assert stops(11, 0.5, 9.5) and not stops(9, 0.95, 20)  # told again, as after a resume
