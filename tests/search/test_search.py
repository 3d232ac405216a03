"""The search is told the truth, and its proposals depend on the seed, the number and the study."""

from __future__ import annotations

from optuna.trial import TrialState

from sweeps.objectives import Reached
from sweeps.search.search import Search
from sweeps.spec import SweepSpec
from sweeps.state import Trial

SPACE = {"a": {"uniform": [0, 1]}, "b": {"logint": [4, 64]}, "c": {"choice": ["x", "y"]}, "d": 3}
ENDS = {0: "finished", 1: "pruned", 2: "diverged", 3: "failed"}


def spec(**search) -> SweepSpec:
    return SweepSpec.model_validate({"name": "s", "space": SPACE, "search": search})


def values(params) -> dict[int, float]:
    return {1: params["a"], 2: params["a"] + params["b"] / 64}


def driven(search: Search, upto: int, first: int = 0) -> dict[int, Trial]:
    """Trials `first` to `upto`, ended in turn in each of the four ways."""
    trials = {}
    for number in range(first, upto):
        params, seed = search.propose(number)
        trial = trials[number] = Trial(number, params, seed, proposed=0.0, record=2 * number)
        for epoch, value in values(params).items():
            metrics = {"val_accuracy": value}
            trial.results.append({"epoch": epoch, "metrics": metrics, "decision": "continue"})
        status = ENDS[number % 4]
        trial.end = {"status": status, "n": 2 * number + 1}
        search.end(number, status, [Reached(*each) for each in values(params).items()])
    return trials


def test_optuna_is_told_how_each_trial_ended() -> None:
    search = Search(spec())
    trials = driven(search, 4)
    finished, pruned, diverged, failed = search.told
    assert (finished.state, finished.value) == (TrialState.COMPLETE, values(trials[0].params)[2])
    assert (pruned.state, pruned.last_step) == (TrialState.PRUNED, 2)
    assert pruned.intermediate_values == values(trials[1].params)
    assert (diverged.state, diverged.intermediate_values) == (TrialState.PRUNED, {})
    assert failed.state == TrialState.FAIL


def test_a_restored_running_trial_can_still_end() -> None:
    search = Search(spec())
    params, seed = search.propose(0)
    restored = Search(spec())
    restored.restore({0: Trial(0, params, seed, proposed=0.0)})
    assert restored.told[0].state == TrialState.RUNNING
    restored.end(0, "finished", [Reached(1, 0.5)])
    assert restored.told[0].value == 0.5


def test_tpe_learns_and_random_does_not() -> None:
    def late_mean(sampler: str) -> float:
        search = Search(spec(sampler=sampler, seed=1))
        found = []
        for number in range(60):
            params, _ = search.propose(number)
            search.end(number, "finished", [Reached(1, -abs(params["a"] - 0.7))])
            found.append(abs(params["a"] - 0.7))
        return sum(found[40:]) / 20

    assert late_mean("tpe") < late_mean("random") / 2


def test_another_seed_proposes_otherwise() -> None:
    assert Search(spec(seed=0)).propose(0) != Search(spec(seed=1)).propose(0)


def test_a_repeated_point_gets_the_next_seed_also_after_a_restore() -> None:
    one = SweepSpec.model_validate({"name": "s", "space": {"a": 1}, "training": {"seed": 10}})
    search = Search(one)
    assert [search.propose(n) for n in range(3)] == [({"a": 1}, 10), ({"a": 1}, 11), ({"a": 1}, 12)]
    restored = Search(one)
    restored.restore({n: Trial(n, {"a": 1}, 10 + n, proposed=0.0) for n in range(3)})
    assert restored.propose(3) == ({"a": 1}, 13)


def test_a_grid_is_every_point_once() -> None:
    space = {"a": {"choice": [1, 2]}, "b": {"int": [3, 5]}}
    grid = SweepSpec.model_validate({"name": "g", "space": space, "search": {"sampler": "grid"}})
    search = Search(grid)
    points = [search.propose(n)[0] for n in range(search.total)]
    assert points == [{"a": a, "b": b} for a in (1, 2) for b in (3, 4, 5)]


def test_a_grid_runs_whole_on_one_seed_before_the_next() -> None:
    tree = {"name": "g", "space": {"a": {"choice": [1, 2]}}, "training": {"seed": 7}}
    grid = SweepSpec.model_validate(tree | {"search": {"sampler": "grid", "replicates": 2}})
    search = Search(grid)
    proposed = [search.propose(n) for n in range(search.total)]
    assert proposed == [({"a": 1}, 7), ({"a": 2}, 7), ({"a": 1}, 8), ({"a": 2}, 8)]


def test_proposals_stay_inside_the_space() -> None:
    for trial in driven(Search(spec()), 40).values():
        params = trial.params
        assert 0 <= params["a"] <= 1
        assert 4 <= params["b"] <= 64 and isinstance(params["b"], int)
        assert params["c"] in ("x", "y") and params["d"] == 3
