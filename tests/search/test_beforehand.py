"""What a search knows before its first trial: queued points, priors, the trials of other sweeps."""

from __future__ import annotations

import math

import pytest
from optuna.trial import TrialState

from sweeps.errors import SpecError
from sweeps.objectives import Reached
from sweeps.search.lending import lendable
from sweeps.search.search import Search
from sweeps.spec import SweepSpec
from sweeps.state import State, Trial

LR, SIZE = "training.optimizer.lr", "model.noise.ghost_size"
SPACE = {LR: {"loguniform": [1e-4, 1]}, SIZE: {"logint": [2, 64]}}


def spec(space=None, search=None, **fields) -> SweepSpec:
    tree = {"name": "s", "space": space or SPACE, "search": search or {}, **fields}
    return SweepSpec.model_validate(tree)


def test_startup_trials_lie_around_a_prior_as_often_as_it_is_trusted() -> None:
    """200 draws; 80 % within two tenths of four decades of lr, and some of the uniform rest."""
    priors = {LR: {"value": 0.01, "confidence": 0.8}, SIZE: {"value": 8, "confidence": 0.01}}
    search = Search(spec(search={"priors": priors, "startup_trials": 500, "trials": 500}))
    points = [search.propose(n)[0] for n in range(200)]
    near = sum(abs(math.log10(p[LR]) + 2) < 0.8 for p in points) / 200
    assert 0.78 < near < 0.95  # 0.8 · 0.95 + 0.2 · 0.4 = 0.84
    assert sum(p[SIZE] == 8 for p in points) < 40
    assert all(1e-4 <= p[LR] <= 1 and isinstance(p[SIZE], int) for p in points)


def test_a_prior_on_a_choice_is_that_value_and_ends_with_the_startup() -> None:
    kinds = {"model.norm.kind": {"choice": ["batch", "layer", "group"]}, LR: SPACE[LR]}
    priors = {"model.norm.kind": {"value": "layer", "confidence": 0.99}}
    search = Search(spec(kinds, {"priors": priors, "startup_trials": 8, "sampler": "tpe"}))
    found = []
    for number in range(30):
        found.append(kind := search.propose(number)[0]["model.norm.kind"])
        search.end(number, "finished", [Reached(1, 0.9 if kind == "batch" else 0.1)])
    assert found[:8] == ["layer"] * 8 and set(found[8:]) >= {"batch"}


def test_a_space_in_which_nothing_fits_is_an_error_and_not_endless() -> None:
    one = spec({"model.norm.ghost_size": {"int": [3, 5]}}, model={"norm": {"kind": "ghost_batch"}})
    narrow = one.model_copy(
        update={"training": one.training.model_copy(update={"batch_size": 127})}
    )
    with pytest.raises(SpecError, match="no point that keeps all rules was found"):
        Search(narrow).propose(0)


def earlier(space=None, **fields) -> State:
    state = State(spec=spec(space, **fields))
    points = [(0.01, 4), (0.1, 32), (0.5, 16), (0.2, 8)]
    for number, ((lr, size), status) in enumerate(
        zip(points, ["finished", "pruned", "failed", "running"], strict=True)
    ):
        trial = Trial(number, {LR: lr, SIZE: size}, 0, 0.0)
        upto = 3 if status == "finished" else 1
        for epoch in range(1, upto + 1):
            metrics = {"val_accuracy": size / 100 + epoch / 10}
            trial.results.append({"epoch": epoch, "metrics": metrics})
        trial.end = None if status == "running" else {"status": status}
        state.trials[number] = trial
    return state


def test_finished_and_pruned_trials_that_fit_are_lent() -> None:
    three = {"training": {"epochs": 3}}
    lent = lendable(spec(**three), earlier(**three))
    assert [(t["params"][SIZE], t["status"]) for t in lent] == [(4, "finished"), (32, "pruned")]
    assert lent[1]["values"] == [(1, pytest.approx(0.42))]
    small = spec({**SPACE, SIZE: {"logint": [2, 16]}}, **three)
    assert [t["params"][SIZE] for t in lendable(small, earlier(**three))] == [4]


def test_a_shorter_training_counts_as_stopped_early() -> None:
    assert [t["status"] for t in lendable(spec(training={"epochs": 9}), earlier())] == [
        "pruned"
    ] * 2


def test_what_the_other_sweep_fixed_or_stated_otherwise_fits_too() -> None:
    space = {LR: SPACE[LR], "model.noise.nu": {"loguniform": [0.01, 1]}, "training.batch_size": 128}
    lent = lendable(spec(space), earlier())
    assert [t["params"]["model.noise.nu"] for t in lent] == [1 / 4, 1 / 32]
    other = {LR: SPACE[LR], "training.batch_size": 256}
    assert lendable(spec(other), earlier()) == []


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes"])
def test_what_was_lent_is_told_and_moves_the_first_proposals(sampler) -> None:
    one = spec({LR: SPACE[LR], "model.noise.strength": {"uniform": [0, 2]}}, {"sampler": sampler})

    def first(best: float) -> tuple[Search, float]:
        trials = [
            {
                "params": {LR: 10 ** -(k / 8), "model.noise.strength": k % 5 / 4},
                "status": "pruned" if k % 3 else "finished",
                "values": [[1, 0.1], [2, 1 - abs(-k / 8 - best)]],
            }
            for k in range(32)
        ]
        search = Search(one, [{"sweep": "old", "trials": trials}])
        proposals = [search.propose(n)[0][LR] for n in range(3)]
        return search, sum(map(math.log10, proposals)) / 3

    search, low = first(-3.2)
    assert [t.state for t in search.told[:2]] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert len(search.told) == 32 + 3
    assert low < -2 < first(-0.8)[1]
