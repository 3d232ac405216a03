from __future__ import annotations

import copy

import journals
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeps.report.page import search
from sweeps.report.page.clock import Clock, stretches
from sweeps.report.results import Sweep
from sweeps.report.study import comparable, write_study
from sweeps.state import State


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Sweep:
    folder = tmp_path_factory.mktemp("storage") / "digits"
    journals.write_sweep(folder)
    return Sweep(folder)


def test_the_study_file_holds_what_the_search_was_told(sweep):
    path = write_study(sweep)
    write_study(sweep)  # anew, not twice
    storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="digits", storage=storage)
    assert study.direction.name == "MAXIMIZE"
    expected = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    told = [(t.number, t.state.name, t.params) for t in study.trials]
    assert told == [(t.number, expected[t.status], t.params) for t in sweep.state.trials.values()]
    assert study.best_trial.number == sweep.best.trial


def test_the_study_file_begins_with_what_earlier_sweeps_lent(sweep, tmp_path):
    state = told(sweep, [(1, "lent", {"sweep": "x", "trials": [
        {"params": sweep.state.trials[0].params, "status": "finished", "values": [[27, 0.5]]},
    ]})])  # fmt: skip
    (tmp_path / "digits").mkdir()
    other = copy.copy(sweep)
    other.folder, other.state = tmp_path / "digits", state
    storage = JournalStorage(JournalFileBackend(str(write_study(other))))
    (lent,) = optuna.load_study(study_name="digits", storage=storage).trials
    assert (lent.params, lent.value) == (sweep.state.trials[0].params, 0.5)


@pytest.mark.parametrize(("least", "epoch"), [(2, 27), (5, 27), (6, 3), (7, 1), (12, 1)])
def test_trials_are_compared_at_the_latest_epoch_that_enough_of_them_reached(sweep, least, epoch):
    at = {
        e: [v for t in sweep.state.trials.values() if (v := t.values("val_accuracy").get(e))]
        for e in (1, 3, 9, 27)
    }
    assert [len(at[e]) for e in (1, 3, 9, 27)] == [12, 6, 5, 5]
    found = comparable(sweep, least)
    assert found is not None and (found.epoch, found.trials) == (epoch, len(at[epoch]))
    assert [t.value for t in found.study.trials] == at[epoch]


def test_too_few_trials_are_not_compared(sweep):
    assert comparable(sweep, 13) is None


def told(sweep, say) -> State:
    """The state after the sweep's own first record and these: time, kind and content each."""
    spec, state = sweep.spec.model_dump(mode="json"), State()
    first = (0, "sweep", {"spec": spec, "identity": "x", "versions": {}})
    for n, (time, kind, content) in enumerate([first, *say]):
        state.apply({"n": n, "time": float(time), "kind": kind, **content})
    return state


def test_the_clock_stands_still_between_two_sessions_and_lanes_do_not_overlap(sweep):
    say = [
        (10, "session", {"state": "started"}),
        (10, "trial", {"trial": 0, "params": {}, "seed": 0}),
        (12, "attempt", {"trial": 0, "attempt": 1, "epoch": 0}),
        (20, "result", {"trial": 0, "attempt": 1, "epoch": 1, "metrics": {}, "node": "n1",
                        "decision": "continue", "rung": None}),
        (1000, "session", {"state": "started"}),
        (1001, "attempt", {"trial": 0, "attempt": 2, "epoch": 1}),
        (1005, "end", {"trial": 0, "status": "failed", "epoch": 1, "value": None, "reason": "x",
                       "error": {"node": "n2"}}),
        (1006, "session", {"state": "finished"}),
    ]  # fmt: skip
    state = told(sweep, say)
    clock = Clock(state)
    assert [clock.at(t) for t in (5, 12, 20, 500, 1001, 1006, 2000)] == [0, 2, 10, 10, 11, 16, 16]
    found = [(s.node, s.attempt, s.start, s.end) for s in stretches(state)]
    assert found == [("n1", 1, 12, 20), ("n2", 2, 1001, 1005)]


def test_what_is_written_between_two_drivers_is_no_work(sweep):
    say = [
        (10, "session", {"state": "started"}),
        (10, "trial", {"trial": 0, "params": {}, "seed": 0}),
        (12, "attempt", {"trial": 0, "attempt": 1, "epoch": 0}),
        (20, "result", {"trial": 0, "attempt": 1, "epoch": 1, "metrics": {}, "node": "n1",
                        "decision": "finish", "rung": None}),
        (500, "session", {"state": "refused", "reason": "no data"}),
        (700, "end", {"trial": 0, "status": "finished", "epoch": 1, "value": 1.0, "reason": "x",
                      "error": None}),
        (800, "trial", {"trial": 1, "params": {}, "seed": 0, "parent": 0, "after": 1,
                        "epochs": 2}),
        (900, "device", {"node": "n1", "gpu": "0", "out": False, "reason": "taken back"}),
        (1000, "session", {"state": "started"}),
    ]  # fmt: skip
    state = told(sweep, say)
    assert Clock(state).spans == [(10, 20), (1000, 1000)]
    assert state.seconds == 10


def test_a_trial_that_waited_in_vain_held_no_node_meanwhile(sweep):
    say = [
        (1, "session", {"state": "started"}),
        (1, "trial", {"trial": 0, "params": {}, "seed": 0}),
        (2, "attempt", {"trial": 0, "attempt": 1, "epoch": 0}),
        (4, "result", {"trial": 0, "attempt": 1, "epoch": 1, "metrics": {}, "node": "n1",
                       "decision": "pause", "rung": 1}),
        (90, "end", {"trial": 0, "status": "pruned", "epoch": 1, "value": None, "reason": "x",
                     "error": None}),
    ]  # fmt: skip
    state = told(sweep, say)
    assert [(s.start, s.end) for s in stretches(state)] == [(2, 4)]


def test_what_is_drawn_of_very_many_trials_is_spread_over_their_order(sweep):
    found = comparable(sweep, 12)
    assert found is not None
    values = [t.value for t in found.study.trials]
    thinner = search._thinned(found, 5)
    assert [t.value for t in thinner.study.trials] == values[::3]
    assert (thinner.trials, thinner.step) == (4, 3)
    assert search._thinned(found, 12) is found
