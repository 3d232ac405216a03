"""Trials wait at rungs and are promoted from there: the published form of ASHA."""

from __future__ import annotations

import re

import optuna
import pytest
from test_conductor import drive, read, spec, story, train

from sweeps.confirmed.found import confirmation_of
from sweeps.driver import changes
from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.driver.promotion import Promotion
from sweeps.errors import SpecError
from sweeps.objectives import Reached
from sweeps.preview import preview
from sweeps.progress import headline, seconds_left
from sweeps.reading import parse
from sweeps.report.results import Sweep
from sweeps.report.status import status
from sweeps.report.tables import as_text

PROMOTE = {"name": "asha", "promote": True}


def test_the_best_third_of_a_rung_goes_on_whenever_it_came() -> None:
    rule = Promotion(spec(stopping=PROMOTE))
    assert [rule.stops(n, Reached(1, value)) for n, value in enumerate((0.5, 0.7))] == [True] * 2
    assert rule.promote() is None  # a third of two is none
    assert rule.stops(2, Reached(1, 0.6))
    assert rule.promote() == 1 and rule.promote() is None
    assert not rule.stops(1, Reached(2, 0.1)) and rule.stops(1, Reached(3, 0.8))
    for trial in (3, 4):
        assert rule.stops(trial, Reached(1, 0.1))
    assert not rule.stops(5, Reached(1, 0.9))  # at once among the best two of six
    assert rule.promote() is None


def test_a_sweep_runs_through_and_nobody_is_left_waiting(tmp_path) -> None:
    with opened(spec(stopping=PROMOTE), tmp_path / "s") as journal:
        drive(Conductor(journal))
    trials = read(tmp_path / "s").trials
    last = {n: t.epoch for n, t in trials.items()}
    first = {n: t.results[0]["metrics"]["val_accuracy"] for n, t in trials.items()}
    best = sorted(first, key=first.__getitem__)[-4:]
    assert all(last[n] > 1 for n in best), "one of the best third was not promoted"
    assert {t.status for t in trials.values()} == {"finished", "pruned"}
    for trial in trials.values():
        assert [r["epoch"] for r in trial.results] == list(range(1, trial.epoch + 1))
        if trial.status == "pruned":
            reason = f"not promoted from the rung of epoch {trial.epoch}"
            assert trial.end["reason"] == reason and trial.epoch in (1, 3)
    promoted = [t for t in trials.values() if len(t.attempts) > 1]
    assert promoted and all(t.attempts[1]["epoch"] in (1, 3) for t in promoted)


def test_optuna_hears_of_a_promoted_trial_anew(tmp_path) -> None:
    with opened(spec(stopping=PROMOTE), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        for _ in range(3):
            train(conductor, conductor.next())
        study = conductor._searches._groups[""].search._study
        assert [t.state.name for t in study.trials] == ["PRUNED"] * 3
        promoted = conductor.next()
        assert promoted.known_epoch == 1 and promoted.attempt == 2
        train(conductor, promoted, upto=3)
        told = study.trials[promoted.trial]
        assert list(told.intermediate_values) == [1, 2, 3] and told.state.name == "PRUNED"
        assert told.value == told.intermediate_values[3]
        drive(conductor)
        ended = [study.trials[n] for n, t in journal.state.trials.items() if t.epoch == 9]
        assert ended and {t.state for t in ended} == {optuna.trial.TrialState.COMPLETE}


def test_the_views_tell_waiting_from_running(tmp_path) -> None:
    with opened(spec(stopping=PROMOTE), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        conductor.session("started")
        train(conductor, conductor.next())
        conductor.next()
        assert [t.status for t in journal.state.trials.values()] == ["waiting", "running"]
        assert "0 of 12 trials, 1 running, 1 waiting at rungs" in headline(journal.state, None)
        sweep = Sweep(tmp_path / "s")
        assert "trials   2 of 12: 1 running, 1 waiting" in status(sweep)
        assert {"1 running", "1 waiting"} <= set(re.findall(r"1 \w+", as_text(sweep)))


def test_more_trials_are_those_of_a_larger_sweep(tmp_path) -> None:
    """What had waited in vain waits again, and may be promoted among more."""
    stopping, search = PROMOTE, {"sampler": "random"}
    for name, trials in (("large", 18), ("small", 9)):
        one = spec(name=name, stopping=stopping, search={**search, "trials": trials})
        with opened(one, tmp_path / name) as journal:
            drive(Conductor(journal))
    changes.extend(tmp_path / "small", trials=9)
    with opened(read(tmp_path / "small").spec, tmp_path / "small") as journal:
        drive(Conductor(journal))
    values = [[params for params, *_ in story(tmp_path / name)] for name in ("large", "small")]
    assert values[0] == values[1]
    first = {n: t.values("val_accuracy")[1] for n, t in read(tmp_path / "small").trials.items()}
    best = sorted(first, key=first.__getitem__)[-6:]
    assert all(read(tmp_path / "small").trials[n].epoch > 1 for n in best)


def trained(conductor: Conductor) -> bool:
    """The next assignment to its end, test images and all; False when there is none."""
    if not (one := conductor.next()):
        return False
    for epoch in range(one.known_epoch + 1, 10):
        value = 0.9 - one.params["training.optimizer.lr"] / epoch
        metrics = {"val_accuracy": value, "test_accuracy": value}
        if conductor.result(one.trial, epoch, metrics):
            break
    return True


@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize("died_after", [0, 13, 17])
def test_a_small_search_trains_as_many_in_full_as_are_wanted(tmp_path, top, died_after) -> None:
    """Of 8 trials two are promoted at the first rung and nobody at the second."""
    baselines = {"none": {"model.noise.strength": 0.0}}
    confirm = {"top": top, "seeds": 2, "baselines": baselines, "trials": 4}
    one = spec(stopping=PROMOTE, search={"trials": 8, "sampler": "random"}, confirm=confirm)
    with opened(one, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        assert all(trained(conductor) for _ in range(died_after))
    with opened(one, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        while trained(conductor):
            pass
    trials = read(tmp_path / "s").trials.values()
    for baseline, count, wanted in (("", 8, top), ("none", 4, 1)):
        mine = [t for t in trials if t.proposed_by_search and t.baseline == baseline]
        rates = {t.number: t.params["training.optimizer.lr"] for t in mine}
        in_full = {t.number for t in mine if t.status == "finished"}
        assert len(mine) == count and len(in_full) == wanted
        assert min(rates, key=rates.__getitem__) in in_full
        assert {t.status for t in mine} == {"finished", "pruned"}
    assert len([t for t in trials if t.of is not None]) == 2 * (top + 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stopping: {name: median, promote: true}", "is a form of asha (found median)"),
        ("stopping: {promote: true, seconds: [1]}", "needs rungs in epochs"),
        ("stopping: {promote: true}\nobjective: {second: seconds}", "compares one objective"),
        ("stopping: {promote: true}\nsearch: {sampler: cmaes}", "which CMA-ES cannot take"),
        (
            "stopping: {promote: true}\ntraining: {checkpoint_every: 2}",
            "checkpoint_every must divide stopping.grace (found checkpoint_every 2, grace 1)",
        ),
        (
            "stopping: {promote: true}\ntraining: {checkpoint_every: 2 minutes}",
            "needs a checkpoint at each rung",
        ),
    ],
)
def test_where_trials_cannot_wait(text, message) -> None:
    with pytest.raises(SpecError) as error:
        parse(f"name: x\nspace: {{training.optimizer.lr: {{uniform: [0.1, 1]}}}}\n{text}\n")
    assert message in str(error.value)


def test_the_preview_says_so_and_counts_epochs() -> None:
    text = preview(spec(stopping=PROMOTE, training={"epochs": 27}, search={"trials": 27}))
    assert "asha: trials wait at epochs 1, 3, 9, and the best 1/3 there are promoted" in text
    assert "at least 81" in text  # 27 + 9·2 + 3·6 + 18
    none = preview(spec(stopping={**PROMOTE, "grace": 9}))
    assert "asha: no rung below the last epoch, 9: all trials in full" in none
    few = preview(spec(stopping=PROMOTE, training={"epochs": 27}, search={"trials": 4}))
    assert "at least 30" in few  # 4 + 2 + 6 + 18


def test_the_time_left_counts_what_waits_as_unfinished(tmp_path, monkeypatch) -> None:
    """Each trial is worse than the one before: of nine exactly three go on, of three epochs."""
    now = 1000.0
    monkeypatch.setattr("sweeps.journal.time.time", lambda: now)
    one = spec(stopping=PROMOTE, training={"epochs": 3}, search={"trials": 9})
    left = []
    with opened(one, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        conductor.session("started")
        while trial := conductor.next():
            for epoch in range(trial.known_epoch + 1, 4):
                now += 10
                over = conductor.result(trial.trial, epoch, {"val_accuracy": 1 / (1 + trial.trial)})
                left.append(seconds_left(journal.state, now))
                if over:
                    break
    assert left == [140.0 - 10 * n for n in range(15)]  # 9 · 1 + 3 · 2 epochs


def test_the_verdict_says_that_fewer_were_chosen_than_asked_for(tmp_path) -> None:
    confirm = {"top": 3, "seeds": 2, "resamples": 1000}
    with opened(spec(stopping=PROMOTE, search={"trials": 2}, confirm=confirm), tmp_path) as journal:
        conductor = Conductor(journal)
        while trained(conductor):
            pass
        found = confirmation_of(journal.state)
    assert found.complete and len(found.arms) == 2
    said = "Chosen: 2 of the top 3 asked for, since no more were trained in full."
    assert found.verdict.endswith(said)
