"""Finished trials that go on with a cosine begun anew: by the journal alone, and on a real Ray."""

from __future__ import annotations

import pytest
from test_changes import CONSTANT, run
from test_conductor import drive, spec, story, train

import sweeps
from sweeps.driver import changes
from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.errors import SpecError
from sweeps.journal import read
from sweeps.report.children import gone_on, said
from sweeps.report.results import Sweep
from sweeps.selection import expected
from sweeps.trial import checkpoint


def begin(folder, **fields):
    """A finished sweep with the checkpoint files that its trials would have."""
    made = spec(**fields)
    run(made, folder)
    for trial in read(folder).trials.values():
        if trial.status == "finished":
            checkpoint.save(folder / "trials" / f"{trial.number:05d}", trial.epoch, {})
    return made


def more(folder, epochs=20, **options) -> list[str]:
    return changes.extend(folder, epochs=epochs, restart_schedule=True, **options)


def test_each_trial_trained_in_full_gets_a_child(tmp_path) -> None:
    made = begin(tmp_path / "s", search={"trials": 12, "sampler": "random"})
    before, old = story(tmp_path / "s"), read(tmp_path / "s")
    full = [t.number for t in old.trials.values() if t.status == "finished"]
    assert more(tmp_path / "s") == [f"{len(full)} trials go on to epoch 20"]
    assert not read(tmp_path / "s").finished
    run(made, tmp_path / "s")
    state = read(tmp_path / "s")
    assert state.finished and state.identity == made.identity()
    assert story(tmp_path / "s")[:12] == before
    children = [state.trials[n] for n in range(12, len(state.trials))]
    assert [child.parent for child in children] == full
    for child in children:
        parent = state.trials[child.parent]
        assert (child.params, child.seed) == (parent.params, parent.seed)
        assert child.status == "finished"
        assert [r["epoch"] for r in child.results] == list(range(10, 21))
        assert {r["rung"] for r in child.results} == {None}
    assert state.best().number == old.best().number
    assert expected(state) == len(state.trials)
    found = Sweep(tmp_path / "s")
    assert gone_on(found)[0].trial == max(children, key=found.value).number
    assert said(found).startswith(f"{len(full)} trials with their schedule begun anew, {len(full)}")
    assert list(found.frame()["parent"].dropna()) == full


def test_once_more_it_is_the_children_that_go_on(tmp_path) -> None:
    made = begin(tmp_path / "s", search={"trials": 2}, stopping={"name": "none"})
    more(tmp_path / "s")
    run(made, tmp_path / "s")
    for number in (2, 3):
        checkpoint.save(tmp_path / "s" / "trials" / f"{number:05d}", 20, {})
    more(tmp_path / "s", epochs=30)
    run(made, tmp_path / "s")
    with pytest.raises(SpecError, match=r"found 30; trial 4 has 30"):
        more(tmp_path / "s", epochs=30)
    trials = read(tmp_path / "s").trials
    assert [(t.parent, t.after, t.epoch) for t in trials.values()] == [
        (None, 0, 9), (None, 0, 9), (0, 9, 20), (1, 9, 20), (2, 20, 30), (3, 20, 30)
    ]  # fmt: skip


def test_more_trials_besides_are_those_of_a_larger_sweep(tmp_path) -> None:
    small = {"stopping": {"name": "none"}}
    begin(tmp_path / "s", search={"trials": 3, "sampler": "random"}, **small)
    more(tmp_path / "s", trials=2)
    run(read(tmp_path / "s").spec, tmp_path / "s")
    state = read(tmp_path / "s")
    assert [t.number for t in state.trials.values() if t.searches] == [0, 1, 2, 6, 7]
    assert all(t.status == "finished" for t in state.trials.values())


def test_a_child_cut_short_goes_on_where_it_was(tmp_path) -> None:
    made = begin(tmp_path / "s", search={"trials": 1})
    more(tmp_path / "s")
    with opened(made, tmp_path / "s") as journal:
        conductor = Conductor(journal)
        first = conductor.next()
        assert (first.trial, first.parent, first.known_epoch) == (1, 0, 9)
        assert (first.after, first.epochs) == (9, 20)
        train(conductor, first, upto=12)
    with opened(made, tmp_path / "s") as journal:
        again = Conductor(journal).next()
        assert (again.trial, again.attempt, again.known_epoch, again.parent) == (1, 2, 12, 0)
        drive(Conductor(journal))
    assert read(tmp_path / "s").trials[1].epoch == 20


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({}, {"epochs": None}, r"--restart-schedule: needs the new last epoch. Add --epochs N"),
        ({}, {"epochs": 9}, r"must be above the trials' epochs \(found 9; trial 0 has 9\)"),
        ({"training": CONSTANT}, {}, r"there is none; this schedule goes on .*found constant"),
    ],
)
def test_refused_it_changes_nothing(tmp_path, fields, options, message) -> None:
    begin(tmp_path / "s", search={"trials": 2}, stopping={"name": "none"}, **fields)
    before = (tmp_path / "s" / "journal.jsonl").read_bytes()
    with pytest.raises(SpecError, match=message):
        more(tmp_path / "s", **options)
    assert (tmp_path / "s" / "journal.jsonl").read_bytes() == before


def test_where_the_space_varies_the_schedule_all_go_on(tmp_path) -> None:
    names = {"training.schedule.name": {"choice": ["cosine", "constant"]}}
    space = {**names, "model.noise.strength": 0.5}
    fields = {"space": space, "search": {"sampler": "grid"}, "stopping": {"name": "none"}}
    begin(tmp_path / "s", **fields)
    assert more(tmp_path / "s") == ["2 trials go on to epoch 20"]
    found = said(Sweep(tmp_path / "s"))
    assert "0 finished (1 without a cosine: with the schedule as it was)" in found


@pytest.mark.parametrize(("epochs", "limit"), [(20, 39), (11, 21)])
def test_a_budget_that_the_children_do_not_fit_into_is_refused(tmp_path, epochs, limit) -> None:
    """Two trials of 9 epochs: 18 are used."""
    one = {"search": {"trials": 2}, "stopping": {"name": "none"}, "budget": {"max_epochs": limit}}
    made = begin(tmp_path / "s", **one)
    before = (tmp_path / "s" / "journal.jsonl").read_bytes()
    with pytest.raises(SpecError) as found:
        more(tmp_path / "s", epochs)
    needed = 2 * (epochs - 9)
    assert str(found.value) == (
        "budget.max_epochs: is used up before all that go on are trained "
        f"(found {limit}; 18 used, {needed} to come). Add --max-epochs {limit + 1}"
    )
    assert (tmp_path / "s" / "journal.jsonl").read_bytes() == before
    more(tmp_path / "s", epochs, max_epochs=limit + 1)
    run(made, tmp_path / "s")
    assert read(tmp_path / "s").finished


def test_a_checkpoint_that_is_gone_is_said_before_anything_starts(tmp_path) -> None:
    run(spec(search={"trials": 2}, stopping={"name": "none"}), tmp_path / "s")
    with pytest.raises(SpecError, match=r"the last checkpoint is gone from .*found trials 0, 1"):
        more(tmp_path / "s")


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_trained_for_real(storage) -> None:
    tiny = {
        "name": "anew",
        "storage": str(storage),
        "model": {"options": {"depth": 1, "width": 16}, "noise": {}},
        "training": {"epochs": 2, "batch_size": 64},
        "space": {"training.optimizer.lr": {"loguniform": [0.01, 1]}},
        "search": {"trials": 2, "sampler": "random"},
        "stopping": {"name": "none"},
    }
    before = sweeps.run(tiny)
    after = sweeps.extend("anew", epochs=4, restart_schedule=True, storage=str(storage))
    trials = after.state.trials
    assert [t.results for t in before.state.trials.values()] == [trials[n].results for n in (0, 1)]
    assert [[r["epoch"] for r in trials[n].results] for n in (2, 3)] == [[3, 4], [3, 4]]
    for number, trial in trials.items():
        assert trial.status == "finished"
        rates = [r["metrics"]["lr"] for r in trial.results]
        assert rates == [r["metrics"]["lr"] for r in trials[number % 2].results]  # the same cosine
    page = (after.folder / "report" / "index.html").read_text()
    assert "Gone on with the schedule begun anew" in page
