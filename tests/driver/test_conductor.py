"""The conductor decides and remembers: a new one on an old journal goes on where it stopped."""

from __future__ import annotations

import math
import random
import shutil

import pytest
from ray.tune.schedulers import MedianStoppingRule

from sweeps.brackets import rungs_of
from sweeps.driver.conductor import Assignment, Conductor
from sweeps.driver.folder import opened
from sweeps.driver.stopping import Stopping
from sweeps.errors import PreflightError, SpecError, SweepBusy, SweepExists
from sweeps.journal import read
from sweeps.objectives import Reached
from sweeps.spec import SweepSpec

SPACE = {
    "model.noise.strength": {"uniform": [0, 2]},
    "training.optimizer.lr": {"loguniform": [0.01, 1]},
}


def spec(**fields) -> SweepSpec:
    base = {"name": "s", "space": SPACE, "training": {"epochs": 9}, "search": {"trials": 12}}
    return SweepSpec.model_validate(base | fields)


def accuracy(assignment: Assignment, epoch: int) -> float:
    """A made learning curve: a pure function of the point, as a real trial's would be."""
    return 1 - abs(assignment.params["model.noise.strength"] - 0.7) / 2 - 0.5 / epoch


def train(conductor: Conductor, assignment: Assignment, upto: int = 99) -> bool:
    """Report epochs from the known one on; True when the trial is over."""
    for epoch in range(assignment.known_epoch + 1, upto + 1):
        if conductor.result(assignment.trial, epoch, {"val_accuracy": accuracy(assignment, epoch)}):
            return True
    return False


def drive(conductor: Conductor) -> None:
    while assignment := conductor.next():
        train(conductor, assignment)


def story(folder) -> list:
    """What was decided, without times and attempts."""
    state = read(folder)
    return [
        (
            t.params,
            t.seed,
            t.end and (t.end["status"], t.end["epoch"], t.end["value"]),
            [(r["epoch"], r["metrics"], r["decision"], r["rung"]) for r in t.results],
        )
        for t in state.trials.values()
    ]


def test_a_sweep_runs_through(tmp_path) -> None:
    with opened(spec(), tmp_path / "s") as journal:
        drive(Conductor(journal))
    state = read(tmp_path / "s")
    statuses = [t.status for t in state.trials.values()]
    assert len(statuses) == 12 and set(statuses) == {"finished", "pruned"}
    for trial in state.trials.values():
        assert trial.epoch == (9 if trial.status == "finished" else trial.results[-1]["rung"])
        assert [r["epoch"] for r in trial.results] == list(range(1, trial.epoch + 1))
    best = state.best()
    assert best and best.end["value"] == max(
        t.end["value"] for t in state.trials.values() if t.status == "finished"
    )


@pytest.mark.parametrize(
    ("name", "sampler", "stop_at"),
    [("asha", "tpe", n) for n in range(1, 60, 4)]
    + [(name, "tpe", n) for name in ("hyperband", "median") for n in (7, 33, 60)]
    + [("asha", sampler, n) for sampler in ("cmaes", "qmc") for n in (7, 33, 44)]
    + [("promote", sampler, n) for sampler in ("tpe", "gp") for n in range(3, 64, 6)],
)
def test_stopped_after_any_record_it_goes_on_the_same(tmp_path, name, sampler, stop_at) -> None:
    stopping = {"name": "asha", "promote": True} if name == "promote" else {"name": name}
    one = spec(stopping=stopping, search={"trials": 12, "sampler": sampler})

    class Killed(BaseException):
        pass

    def kill(record, state) -> None:
        if record["n"] == stop_at:
            raise Killed

    with opened(one, tmp_path / "through") as journal:
        drive(Conductor(journal))
    with pytest.raises(Killed), opened(one, tmp_path / "broken") as journal:
        drive(Conductor(journal, kill))
    with opened(one, tmp_path / "broken") as journal:
        drive(Conductor(journal))
    assert story(tmp_path / "broken") == story(tmp_path / "through")


def test_epochs_that_the_journal_knows_are_not_taken_twice(tmp_path) -> None:
    with opened(spec(), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        one = conductor.next()
        assert one and not train(conductor, one, upto=4)
        records = journal.state.records
        assert not conductor.result(one.trial, 3, {"val_accuracy": 0.0})
        assert journal.state.records == records


def test_a_lost_worker_is_tried_again_from_the_known_epoch_then_given_up(tmp_path) -> None:
    with opened(spec(resources={"max_attempts": 2}), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        one = conductor.next()
        assert one
        train(conductor, one, upto=2)
        conductor.lost(one.trial, {"type": "ActorDied", "message": "killed"})
        again = conductor.next()
        assert again == Assignment(one.trial, 2, one.params, one.seed, 2)
        conductor.lost(one.trial, {"type": "ActorDied", "message": "killed"})
        trial = journal.state.trials[one.trial]
        assert trial.status == "failed"
        assert trial.end["reason"] == "its worker died 2 times; last: killed"
        assert conductor.next().trial == 1


def test_divergence_and_a_missing_objective_are_told_apart(tmp_path) -> None:
    with opened(spec(), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        for metrics in ({"val_accuracy": math.nan}, {"loss": 1.0}):
            assert conductor.result(conductor.next().trial, 1, metrics)
        first, second = journal.state.trials.values()
        assert (first.status, second.status) == ("diverged", "failed")
        assert second.end["reason"] == "the objective val_accuracy is missing at epoch 1"


def test_other_metrics_may_be_infinite(tmp_path) -> None:
    with opened(spec(), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        conductor.result(conductor.next().trial, 1, {"val_accuracy": 0.5, "val_loss": math.inf})
        assert journal.state.trials[0].results[0]["metrics"] == {
            "val_accuracy": 0.5,
            "val_loss": None,
        }


def test_asha_records_an_epoch_told_twice_once() -> None:
    curve = [(n, Reached(1, n / 10)) for n in range(9)]
    once, twice = Stopping(spec()), Stopping(spec())
    told = [once.stops(*point) for point in curve]
    assert told == [twice.stops(*point) for point in curve]
    for point in curve:
        twice.stops(*point)
    assert once.stops(99, Reached(1, 0.55)) == twice.stops(99, Reached(1, 0.55))
    assert once.stops(98, Reached(1, 0.51)) == twice.stops(98, Reached(1, 0.51))


def test_without_asha_nothing_stops(tmp_path) -> None:
    with opened(spec(stopping={"name": "none"}), tmp_path / "s") as journal:
        drive(Conductor(journal))
        assert {t.status for t in journal.state.trials.values()} == {"finished"}


def test_a_start_that_was_refused_does_not_take_the_name(tmp_path) -> None:
    with opened(spec(), tmp_path / "s"):
        pass
    with opened(spec(training={"epochs": 10}), tmp_path / "s") as journal:
        assert journal.state.spec.training.epochs == 10


def test_a_name_taken_by_another_spec_is_refused_and_nothing_changed(tmp_path) -> None:
    with opened(spec(), tmp_path / "s") as journal:
        Conductor(journal).next()
    before = (tmp_path / "s" / "journal.jsonl").read_bytes()
    other = spec(training={"epochs": 10})
    with (
        pytest.raises(SweepExists, match=r"training\.epochs: 9 there, 10 here"),
        opened(other, tmp_path / "s"),
    ):
        pass
    assert (tmp_path / "s" / "journal.jsonl").read_bytes() == before


def test_two_drivers_do_not_share_a_sweep(tmp_path) -> None:
    with (
        opened(spec(), tmp_path / "s"),
        pytest.raises(SweepBusy, match="another driver"),
        opened(spec(), tmp_path / "s"),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(PreflightError, match="cannot be written"),
        opened(spec(), tmp_path / "file" / "s"),
    ):
        pass


@pytest.mark.parametrize("name", ["hyperband", "median"])
def test_other_ways_of_stopping_stop_some_at_their_rungs(tmp_path, name) -> None:
    other = spec(stopping={"name": name, "min_samples": 2}, search={"trials": 16})
    with opened(other, tmp_path / "s") as journal:
        drive(Conductor(journal))
    trials = read(tmp_path / "s").trials.values()
    assert {t.status for t in trials} == {"finished", "pruned"}
    for trial in trials:
        met = [r["rung"] for r in trial.results if r["rung"]]
        assert met == [e for e in rungs_of(other, trial.number) if e <= trial.epoch]
        if trial.status == "pruned" and name == "hyperband":
            assert trial.epoch == met[-1]
    reasons = {t.end["reason"].split(" at ")[0] for t in trials if t.status == "pruned"}
    wanted = {"hyperband": "stopped by Hyperband", "median": "below the median of the others"}
    assert reasons == {wanted[name]}


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_median_rule_is_rays(mode) -> None:
    class Keyed:
        def __init__(self, number):
            self.trial_id = number

    settings = {"name": "median", "grace": 2, "min_samples": 3}
    ours = Stopping(spec(stopping=settings, objective={"metric": "val_loss", "mode": mode}))
    rays = MedianStoppingRule(
        time_attr="epoch", metric="value", mode=mode, grace_period=2, min_samples_required=3,
        min_time_slice=math.inf,
    )  # fmt: skip
    chance, running, stopped = random.Random(0), {}, 0
    for step in range(300):
        number = step % 7 + 7 * (step // 70)  # seven at a time, each once a round
        if running.get(number) == "stopped":
            continue
        trial, epoch = running.setdefault(number, (Keyed(number), 0))
        value = chance.random()
        found = rays.on_trial_result(None, trial, {"epoch": epoch + 1, "value": value})
        assert ours.stops(number, Reached(epoch + 1, value)) == (found == "STOP")
        running[number] = "stopped" if found == "STOP" else (trial, epoch + 1)
        stopped += found == "STOP"
    assert 5 < stopped < 25


def test_earlier_sweeps_are_asked_once_and_before_anything_is_written(tmp_path) -> None:
    with opened(spec(), tmp_path / "s") as journal:
        drive(Conductor(journal))
    second = spec(name="t", search={"trials": 3, "from": ["s"]})
    with opened(second, tmp_path / "t") as journal:
        assert [r["sweep"] for r in journal.state.lent] == ["s"]
        assert len(journal.state.lent[0]["trials"]) == 12
        drive(Conductor(journal))
    before = story(tmp_path / "t")
    assert len(before) == 3
    shutil.rmtree(tmp_path / "s")
    with opened(second, tmp_path / "t") as journal:
        assert len(Conductor(journal)._searches._groups[""].search.told) == 15
        assert [t.params for t in journal.state.trials.values()] == [t[0] for t in before]
    bad = (
        {"objective": {"metric": "val_loss"}},
        {"space": {"model.norm.kind": {"choice": ["group"]}}},
    )
    for fields, message in zip(
        (*bad, {}),
        (
            "that sweep has another objective (found t: max val_accuracy; here min val_loss)",
            "no finished or pruned trial fits this space (found t: 3 trials with a value)",
            "there is no such sweep in",
        ),
        strict=True,
    ):
        name = "u" if not fields else "t"
        refused = spec(name="v", **fields, search={"from": [name]})
        with pytest.raises(SpecError) as caught, opened(refused, tmp_path / "v"):
            pass
        assert message in str(caught.value)
        assert not (tmp_path / "v").exists()
