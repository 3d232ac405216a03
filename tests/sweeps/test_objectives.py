"""Two objectives: the front is what no other trial beats, and what Optuna says it is."""

from __future__ import annotations

import math
import random

import pytest
from pydantic import ValidationError

from sweeps.objectives import course, crowding, front, layers, pair_of
from sweeps.search.search import Search
from sweeps.selection import chosen
from sweeps.spec import ObjectiveSpec, SweepSpec
from sweeps.state import State, Trial

TWO = ObjectiveSpec.model_validate({"second": {"metric": "seconds"}})


def spec(**search) -> SweepSpec:
    space = {"a": {"uniform": [0, 1]}, "b": {"uniform": [0, 1]}}
    tree = {"name": "s", "space": space, "search": search, "objective": TWO.model_dump()}
    return SweepSpec.model_validate(tree)


def trial(number: int, rows: list[tuple[float, float]], status: str = "finished") -> Trial:
    one = Trial(number, {"a": 0.1, "b": 0.2}, 0, proposed=0.0, record=2 * number)
    for epoch, (accuracy, seconds) in enumerate(rows, 1):
        told = {"val_accuracy": accuracy, "seconds": seconds}
        one.results.append({"epoch": epoch, "metrics": told, "decision": "continue"})
    one.end = {"status": status, "n": 2 * number + 1}
    return one


def beats(one: tuple, other: tuple) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def test_layers_are_those_of_peeling_off_what_none_beats() -> None:
    chance = random.Random(0)
    pairs = [(chance.randrange(8), chance.randrange(8)) for _ in range(60)]
    left, expected = set(pairs), {}
    while left:
        free = {p for p in left if not any(beats(o, p) for o in left)}
        expected |= dict.fromkeys(free, max(expected.values(), default=-1) + 1)
        left -= free
    assert layers(pairs) == [expected[pair] for pair in pairs]
    assert max(expected.values()) >= 3


def test_crowding_is_the_room_between_neighbours() -> None:
    assert crowding([(0, 4), (1, 1), (4, 0)]) == [math.inf, 1 + 1, math.inf]
    assert crowding([(3, 3)]) == [math.inf]
    assert crowding([(0, 4), (1, 3), (1, 3), (2, 2), (4, 0)])[1:4] == [1.0, 1.0, 1.5]


def test_the_front_is_optunas() -> None:
    chance, one = random.Random(3), spec(sampler="random")
    trials = {n: trial(n, [(chance.random(), chance.random())]) for n in range(40)}
    state, search = State(spec=one, trials=trials), Search(one)
    search.restore(trials)
    study = search._study
    best = {t.number for t in study.best_trials}
    found = front(state)
    assert {t.number for t in found} == best and 2 <= len(best) <= 12
    accuracies = [t.last("val_accuracy") for t in found]
    assert accuracies == sorted(accuracies, reverse=True)


def test_only_trials_trained_in_full_stand_on_the_front() -> None:
    trials = {
        0: trial(0, [(0.5, 1.0)]),
        1: trial(1, [(0.9, 0.1)], "pruned"),
        2: trial(2, [(0.4, 2.0)]),
        3: trial(3, [(0.5, 1.0)]),
    }
    assert [t.number for t in front(State(spec=spec(), trials=trials))] == [0, 3]
    alone = spec().model_copy(update={"objective": ObjectiveSpec()})
    assert front(State(spec=alone, trials=trials)) == []


def test_timings_count_by_their_median_and_others_by_the_last() -> None:
    rows = [(0.1, 9.0), (0.2, 1.0), (0.3, 2.0)]
    assert pair_of(TWO, trial(0, rows)) == (0.3, 2.0)
    found = list(course(TWO, trial(0, rows).results))
    assert [at.second for at in found] == [9.0, 5.0, 2.0] and found[-1].value == 0.3
    last = ObjectiveSpec.model_validate({"second": {"metric": "seconds", "take": "last"}})
    assert [at.second for at in course(last, trial(0, rows).results)] == [9.0, 1.0, 2.0]
    assert pair_of(TWO, trial(0, [])) is None


def test_a_second_objective_has_its_usual_way() -> None:
    def usual(metric: str) -> tuple[str, str]:
        second = ObjectiveSpec.model_validate({"second": {"metric": metric}}).second
        assert second
        return second.mode, second.take

    assert usual("seconds") == ("min", "median")
    assert ObjectiveSpec.model_validate({"second": "seconds"}) == TWO
    assert usual("images_per_second") == ("max", "median")
    assert usual("val_loss") == ("min", "last")
    assert usual("train_accuracy") == ("max", "last")
    with pytest.raises(ValidationError, match="metric"):
        ObjectiveSpec.model_validate({"second": {"mode": "max"}})


def test_a_second_objective_and_rungs_in_seconds_are_part_of_the_identity() -> None:
    one = SweepSpec(name="s")
    others = [{"objective": {"second": {"metric": "seconds"}}}, {"stopping": {"seconds": [1.0]}}]
    found = {SweepSpec.model_validate({"name": "s"} | other).identity() for other in others}
    assert len({one.identity(), *found}) == 3
    assert "second" not in one.model_dump()["objective"]


def test_what_is_confirmed_stands_on_the_front() -> None:
    confirm = {"top": 3, "seeds": 2}
    one = SweepSpec.model_validate(spec().model_dump() | {"confirm": confirm})
    rows = [(0.9, 3.0), (0.8, 3.5), (0.7, 1.0), (0.6, 2.0)]
    trials = {n: trial(n, [row]) for n, row in enumerate(rows)}
    for number, each in trials.items():
        each.params = {"a": number / 10, "b": 0.5}
    assert [each.trial.number for each in chosen(State(spec=one, trials=trials))] == [0, 2]
    alone = one.model_copy(update={"objective": ObjectiveSpec()})
    assert [each.trial.number for each in chosen(State(spec=alone, trials=trials))] == [0, 1, 2]
