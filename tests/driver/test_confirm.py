"""Confirmation as the conductor runs it: who searches, who is tested, kills, budgets; no Ray."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sweeps.baselines import fresh_seeds
from sweeps.confirmed.found import confirmation_of
from sweeps.driver import changes
from sweeps.driver.conductor import Assignment, Conductor
from sweeps.driver.folder import opened
from sweeps.driver.views import summary_lines, trial_line
from sweeps.journal import read
from sweeps.selection import chosen, due, expected, on_fresh_seeds, searched
from sweeps.spec import SweepSpec
from sweeps.state import State

STRENGTH, LR = "model.noise.strength", "training.optimizer.lr"
BASE = {
    "name": "s",
    "space": {STRENGTH: {"uniform": [0, 2]}, LR: {"loguniform": [0.01, 1]}},
    "training": {"epochs": 9, "schedule": {"name": "constant"}},
    "search": {"trials": 10},
}
CONFIRM = {
    "top": 2,
    "seeds": 3,
    "baselines": {"none": {"model.noise": None}, "weak": {STRENGTH: 0.1}},
    "resamples": 1000,
}


def spec(**fields) -> SweepSpec:
    return SweepSpec.model_validate(BASE | {"confirm": CONFIRM} | fields)


def validation(a: Assignment, epoch: int) -> float:
    """A pure function of the point, as a real trial's metric would be."""
    strength = a.params.get(STRENGTH, 0.0)
    return 0.9 - abs(strength - 0.7) / 9 - abs(a.params[LR] - 0.2) / 9 - 0.3 / epoch


def on_test(a: Assignment) -> float:
    """The worse on validation, the better; seed and point decide the rest."""
    noise = random.Random(f"{a.seed} {a.params}").gauss(0, 0.001)
    return 1.5 - validation(a, 9) + noise


def drive(conductor: Conductor, length: int = 9) -> None:
    while a := conductor.next():
        for epoch in range(a.known_epoch + 1, length + 1):
            metrics = {"val_accuracy": validation(a, epoch)}
            if a.confirm and epoch == length:
                metrics["test_accuracy"] = on_test(a)
            if conductor.result(a.trial, epoch, metrics):
                break


def run(wanted: SweepSpec, folder, observe=lambda record, state: None, length: int = 9) -> State:
    with opened(wanted, folder) as journal:
        conductor = Conductor(journal, observe)
        conductor.session("started")
        drive(conductor, length)
        conductor.session("finished" if conductor.complete else "budget")
    return read(folder)


def story(state: State) -> list:
    """What was decided, without times and attempts."""
    return [
        (t.number, t.params, t.seed, t.baseline, t.of, t.status, list(map(_told, t.results)))
        for t in state.trials.values()
    ]


def _told(result: dict) -> tuple:
    return result["epoch"], result["metrics"], result["decision"]


@pytest.fixture(scope="module")
def through(tmp_path_factory) -> State:
    return run(spec(), tmp_path_factory.mktemp("through") / "s")


def test_searches_come_first_then_every_arm_on_the_same_fresh_seeds(through) -> None:
    trials = list(through.trials.values())
    roles = ["confirm" if t.of is not None else t.baseline for t in trials]
    assert roles == [""] * 10 + ["none"] * 5 + ["weak"] * 5 + ["confirm"] * 12
    arms = {t.of for t in trials if t.of is not None}
    assert len(arms) == 4
    fresh = fresh_seeds(through.spec)
    for number in arms:
        assert [t.seed for t in trials if t.of == number] == fresh
        assert all(t.params == trials[number].params for t in trials if t.of == number)
    assert not set(fresh) & {t.seed for t in trials if t.of is None}
    assert through.finished and expected(through) == len(trials)


def test_baselines_have_their_settings_and_tune_the_learning_rate(through) -> None:
    tuned = [t for t in through.trials.values() if t.baseline and t.of is None]
    assert {frozenset(t.params) for t in tuned if t.baseline == "weak"} == {
        frozenset({STRENGTH, LR})
    }
    assert {through.spec.trial(t.params, 0).model.noise is None for t in tuned[:5]} == {True}
    assert {t.params[STRENGTH] for t in tuned[5:]} == {0.1}
    assert len({t.params[LR] for t in tuned}) == 10  # each draws for itself


def test_only_the_last_epoch_of_confirmations_is_tested_and_none_is_stopped(through) -> None:
    for trial in through.trials.values():
        with_test = [r["epoch"] for r in trial.results if "test_accuracy" in r["metrics"]]
        assert with_test == ([9] if trial.of is not None else [])
        if trial.of is not None:
            assert trial.status == "finished"
            assert {r["rung"] for r in trial.results} == {None}
    assert Counter(t.status for t in through.trials.values())["pruned"] > 0


def test_the_choice_is_by_validation_though_test_data_says_the_opposite(through) -> None:
    full = [t for t in through.trials.values() if t.searches and t.status == "finished"]
    ranked = sorted(full, key=lambda t: -t.last("val_accuracy"))
    assert [c.trial.number for c in chosen(through)][:2] == [t.number for t in ranked[:2]]
    best = through.best()
    assert best is ranked[0]


def test_neither_optuna_nor_asha_hears_of_confirmations_or_baselines(through, tmp_path) -> None:
    """A longer search proposes and stops the same with and without a confirmation in between."""
    plain = run(spec(confirm=None, search={"trials": 20}), tmp_path / "plain")
    run(spec(), tmp_path / "s")
    changes.extend(tmp_path / "s", trials=10)
    longer = run(read(tmp_path / "s").spec, tmp_path / "s")
    searches = [s[1:] for s in story(longer) if s[3:5] == ("", None)]
    assert searches == [s[1:] for s in story(plain)]


@pytest.mark.parametrize("stop_at", (2, 90, 150, 210, 236, 300))
def test_killed_after_any_record_it_goes_on_the_same(through, tmp_path, stop_at) -> None:
    class Killed(BaseException):
        pass

    def kill(record, state) -> None:
        if record["n"] == stop_at:
            raise Killed

    with pytest.raises(Killed):
        run(spec(), tmp_path / "s", kill)
    assert story(run(spec(), tmp_path / "s")) == story(through)


def test_a_budget_ends_it_inside_the_confirmation_and_a_larger_one_goes_on(
    through, tmp_path
) -> None:
    first = next(r["n"] for t in through.trials.values() if t.of for r in t.results)
    before = sum(r["n"] < first for t in through.trials.values() for r in t.results)
    state = run(spec(budget={"max_epochs": before + 20}), tmp_path / "s")
    found = confirmation_of(state)
    assert state.sessions[-1]["state"] == "budget" and not state.finished
    assert (found.complete, found.comparisons) == (False, [])
    assert found.verdict == "Not confirmed yet: 2 of 12 trainings on fresh seeds have ended."
    changes.extend(tmp_path / "s", max_epochs=10_000)
    assert story(run(spec(), tmp_path / "s")) == story(through)


def test_more_trials_choose_anew_and_the_report_says_so(tmp_path) -> None:
    before = run(spec(search={"trials": 4, "sampler": "random"}), tmp_path / "s")
    changes.extend(tmp_path / "s", trials=16)
    assert not searched(read(tmp_path / "s")) and due(read(tmp_path / "s")) == []
    after = run(before.spec, tmp_path / "s")
    picked = {c.trial.number for c in chosen(after)}
    stale = {c.trial.number for c in chosen(before)} - picked
    assert stale, "the choice of this example is to change"
    found = confirmation_of(after)
    assert found.complete and {arm.configuration for arm in found.arms} == picked
    assert any("no longer chosen" in line for line in found.missing)


def test_more_epochs_test_what_is_chosen_then_at_the_new_length(tmp_path) -> None:
    before = run(spec(), tmp_path / "s")
    old = {n: story for n, *story in story(before) if before.trials[n].of is not None}
    changes.extend(tmp_path / "s", epochs=12)
    extended = read(tmp_path / "s").spec
    after = run(extended, tmp_path / "s", length=12)
    picked = chosen(after)
    assert {n: story for n, *story in story(after) if n in old} == old, "tested once"
    for each in picked:
        trials = on_fresh_seeds(after, each.trial.number)
        assert [t.epoch for t in trials] == [12] * len(fresh_seeds(extended))
        assert not {t.number for t in trials} & set(old)
    found = confirmation_of(after)
    assert found.complete and found.done == found.total == 3 * len(picked)
    assert all(len(arm.values) == 3 for arm in found.arms)
    assert any("Tested at fewer epochs too" in line for line in found.missing)


def test_repeats_of_a_point_count_by_their_mean(tmp_path) -> None:
    grid = spec(
        space={STRENGTH: {"choice": [0.5, 0.7, 1.5]}},
        search={"sampler": "grid", "replicates": 2},
        stopping={"name": "none"},
        confirm={"top": 2, "seeds": 2, "baselines": {"none": {"model.noise": None}}},
    )
    with opened(grid, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        values = {(0.5, 0): 0.9, (0.5, 1): 0.1, (0.7, 0): 0.6, (0.7, 1): 0.6, (1.5, 0): 0.7}
        for _ in range(6):
            a = conductor.next()
            for epoch in range(1, 10):
                value = values.get((a.params[STRENGTH], a.seed), 0.65)
                conductor.result(a.trial, epoch, {"val_accuracy": value})
        drive_baseline = conductor.next()
        assert (drive_baseline.params, drive_baseline.seed) == ({"model.noise": None}, 0)
        ours = [c.trial.params[STRENGTH] for c in chosen(journal.state)]
    assert ours == [1.5, 0.7]


def test_a_baseline_that_always_fails_is_missed_and_the_rest_goes_on(tmp_path) -> None:
    with opened(spec(), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        while a := conductor.next():
            if "model.noise" in a.params or (a.confirm and a.seed % 3 == 1):
                conductor.failed(a.trial, {"type": "ValueError", "message": "boom"})
                continue
            for epoch in range(1, 10):
                metrics = {"val_accuracy": validation(a, epoch), "test_accuracy": on_test(a)}
                if conductor.result(a.trial, epoch, metrics):
                    break
        assert conductor.complete
    found = confirmation_of(read(tmp_path / "s"))
    assert found.complete and [arm.name for arm in found.arms if arm.baseline] == ["weak"]
    assert {c.n for c in found.comparisons} == {2}
    assert found.missing[0] == "The baseline none: none of its trials was trained in full."
    assert "the seeds 1000000 failed" in found.missing[1]


def test_a_budget_of_trials_grows_with_all_that_the_search_brings(tmp_path) -> None:
    run(spec(budget={"max_trials": 32}), tmp_path / "s")  # 10 + 2 · 5 + 4 · 3
    assert changes.extend(tmp_path / "s", trials=4) == [
        "search.trials: 10 -> 14",
        "budget.max_trials: 32 -> 40",  # 14 + 2 · 7 + 4 · 3
    ]


def test_the_views_say_what_a_trial_is_for(through) -> None:
    shown = summary_lines(through, None)
    assert "confirming on fresh seeds: 12 of 12 trainings" in shown
    assert f"{len(through.trials)} of 32 trials" in shown[0]
    last = through.trials[31]
    assert "weak: " in trial_line(last, through)
    assert f"seed={last.seed} confirms {last.of}" in trial_line(last, through)
    assert "none: noise=none lr=" in trial_line(through.trials[10], through)
