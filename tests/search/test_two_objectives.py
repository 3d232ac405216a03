"""Searching for a front: what the samplers are shown, and that they learn both objectives."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from sweeps.objectives import Reached, course
from sweeps.search.lending import lendable, told
from sweeps.search.search import Search
from sweeps.search.space import distributions
from sweeps.search.two import shown
from sweeps.spec import SweepSpec
from sweeps.state import State, Trial

SPACE = {"a": {"uniform": [0, 1]}, "b": {"uniform": [0, 1]}, "c": {"choice": ["x", "y"]}}
SECOND = {"metric": "val_loss"}


def spec(second=SECOND, **search) -> SweepSpec:
    tree = {"name": "s", "space": SPACE, "search": search, "objective": {"second": second}}
    return SweepSpec.model_validate(tree | {"training": {"epochs": 2}})


def path(*rows: tuple[float, float]) -> list[Reached]:
    return [Reached(epoch, *row) for epoch, row in enumerate(rows, 1)]


def ended(search: Search) -> Search:
    """Four trials: in full, stopped early, diverged, failed; a fifth still runs."""
    for number in range(5):
        search.propose(number)
    search.end(0, "finished", path((0.5, 2.0), (0.9, 1.0)))
    search.end(1, "pruned", path((0.4, 3.0)))
    search.end(2, "diverged", path((0.99, 0.1)))
    search.end(3, "failed", [])
    return search


def test_a_stopped_trial_stands_behind_the_best_in_both_and_a_diverged_one_has_the_worst() -> None:
    one = spec()
    full, cut, diverged, failed, running = shown(ended(Search(one))._study, one.objective).trials
    assert full.values == [0.9, 1.0]
    assert cut.values == pytest.approx([0.8, 2.0])
    assert diverged.values == pytest.approx([0.8, 2.0])
    states = [t.state for t in (full, cut, diverged, failed, running)]
    complete = TrialState.COMPLETE
    assert states == [complete, complete, complete, TrialState.FAIL, TrialState.RUNNING]


def test_a_timing_is_not_extrapolated() -> None:
    one = spec(second={"metric": "seconds"})
    _, cut, *_ = shown(ended(Search(one))._study, one.objective).trials
    assert cut.values == pytest.approx([0.8, 3.0])


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_the_sampler_learns_the_front_and_not_one_end_of_it(sampler: str) -> None:
    """On the front b is 0.7 and a anything: the first objective wants a large, the second small."""

    def late(name: str, trials: int, first: int) -> list[dict]:
        search, points = Search(spec(sampler=name, seed=1)), []
        for number in range(trials):
            point, _ = search.propose(number)
            off = 2 * abs(point["b"] - 0.7)
            search.end(number, "finished", path((point["a"] - off, point["a"] + off)))
            points.append(point)
        return points[first:]

    size = {"tpe": (70, 40), "gp": (22, 12)}[sampler]
    points, uniform = late(sampler, *size), late("random", 70, 0)
    off = sum(abs(p["b"] - 0.7) for p in points) / len(points)
    assert off < 0.6 * sum(abs(p["b"] - 0.7) for p in uniform) / len(uniform)
    assert max(p["a"] for p in points) - min(p["a"] for p in points) > 0.6


def test_an_earlier_sweeps_two_values_are_lent() -> None:
    space = {"training.optimizer.lr": {"uniform": [0, 1]}}
    one = spec().model_copy(update={"space": SweepSpec(name="s", space=space).space})
    earlier = Trial(0, {"training.optimizer.lr": 0.2}, 0, proposed=0.0)
    for epoch, (accuracy, loss) in enumerate([(0.5, 2.0), (0.9, 1.0)], 1):
        metrics = {"val_accuracy": accuracy, "val_loss": loss}
        earlier.results.append({"epoch": epoch, "metrics": metrics, "decision": "continue"})
    cut = Trial(1, {"training.optimizer.lr": 0.4}, 0, 0.0, results=earlier.results[:1])
    earlier.end, cut.end = {"status": "finished"}, {"status": "pruned"}
    lent = lendable(one, State(spec=one, trials={0: earlier, 1: cut}))
    assert [each["values"] for each in lent] == [[(1, 0.5, 2.0), (2, 0.9, 1.0)], [(1, 0.5, 2.0)]]
    full, short = told({"trials": lent}, distributions(one.space))
    assert full.values == [0.9, 1.0] and short.state == TrialState.PRUNED
    search = Search(one, [{"trials": lent}])
    assert shown(search._study, one.objective).trials[1].values == [0.9, 1.0]
    assert list(course(one.objective, cut.results)) == path((0.5, 2.0))
    search.propose(0)
