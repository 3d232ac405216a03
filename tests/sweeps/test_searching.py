"""What a spec says of search and stopping: refused where it cannot be, and shown by `check`."""

from __future__ import annotations

import pytest

from sweeps.brackets import bracket, rungs_of, shares
from sweeps.checks import check
from sweeps.constraints import broken
from sweeps.errors import SpecError
from sweeps.preview import preview
from sweeps.reading import checked_spec, parse
from sweeps.spec import SweepSpec

SPACE = {
    "model.noise.ghost_size": {"logint": [4, 64]},
    "training.optimizer.lr": {"loguniform": [0.01, 1]},
    "model.norm.kind": {"choice": ["batch", "layer"]},
}


def spec(**fields) -> SweepSpec:
    return SweepSpec.model_validate({"name": "s", "space": SPACE, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"search": {"priors": {"training.optimizer.lr": 3}}},
            "search.priors.training.optimizer.lr: is outside its axis, loguniform [0.01, 1] "
            "(found 3). Give a value inside, or widen space.training.optimizer.lr",
        ),
        ({"search": {"priors": {"model.norm.kind": "group"}}}, "is outside its axis, choice"),
        ({"search": {"priors": {"lr": 0.1}}}, "search.priors.lr: is no axis of the space"),
        (
            {"search": {"sampler": "qmc", "priors": {"training.optimizer.lr": 0.1}}},
            "shape the startup trials of tpe or gp; qmc has none",
        ),
        (
            {"search": {"points": [{}, {"model.noise.ghost_size": 4.5}]}},
            "search.points.1.model.noise.ghost_size: is outside its axis",
        ),
        (
            {
                "model": {"norm": {"kind": "ghost_batch"}},
                "space": {"model.norm.ghost_size": {"int": [2, 64]}, "training.optimizer.lr": 0.1},
                "search": {"points": [{"model.norm.ghost_size": 48}]},
            },
            "search.points.0.model.norm.ghost_size: must divide the batch",
        ),
        ({"search": {"points": [{}, {}], "trials": 1}}, "found 2 points, 1 trials"),
        ({"search": {"from": ["s"]}}, "search.from: names this sweep itself"),
        ({"search": {"from": ["a"], "sampler": "random"}}, "random does not (found a). Use tpe"),
        (
            {"search": {"sampler": "cmaes"}, "space": {"model.norm.kind": {"choice": ["batch"]}}},
            "moves along ranges, and the space has none",
        ),
        (
            {
                "search": {"sampler": "grid", "points": [{}]},
                "space": {"model.norm.kind": {"choice": ["batch"]}},
            },
            "a grid tries its own points alone",
        ),
        ({"stopping": {"brackets": 2}}, "are Hyperband's; asha has none (found 2)"),
        (
            {"stopping": {"name": "median", "compare": "last"}},
            "is for rungs of asha or hyperband; median has none (found last)",
        ),
        ({"stopping": {"name": "hyperband", "brackets": 5}}, "there are 4 at most with these"),
        ({"stopping": {"name": "median", "grace": 99}}, "is above training.epochs"),
        (
            {"stopping": {"name": "median", "seconds": [9.0]}},
            "stopping.seconds: are rungs of asha or hyperband; median has none (found 9)",
        ),
        ({"stopping": {"seconds": [9.0, 3.5]}}, "must ascend (found 9, 3.5). Write the shortest"),
        (
            {"stopping": {"seconds": [9.0], "grace": 2}},
            "stopping.grace: counts epochs, and the rungs are in seconds (found 2)",
        ),
        (
            {"stopping": {"name": "hyperband", "brackets": 4, "seconds": [1.0, 3.0]}},
            "there are 3 at most with these rungs",
        ),
        (
            {"objective": {"second": {"metric": "val_accuracy"}}},
            "objective.second.metric: is the first objective already (found val_accuracy)",
        ),
        (
            {"objective": {"second": {"metric": "second"}}},
            "objective.second.metric: is no metric of the training loop with data.evaluate: "
            "validation (found 'second'). Did you mean seconds?",
        ),
        (
            {"objective": {"second": {"metric": "seconds"}}, "search": {"sampler": "cmaes"}},
            "search.sampler: CMA-ES takes one objective, and there are two (found cmaes)",
        ),
        (
            {"objective": {"second": {"metric": "seconds"}}, "stopping": {"name": "median"}},
            "stopping.name: the median rule compares one objective, and there are two",
        ),
        (
            {"space": {**SPACE, "model.noise.nu": 1, "model.noise.strength": 1}},
            "space.model.noise.nu: the strength follows from it and the ghost size. Leave out one",
        ),
        ({"space": {"model.noise.nu": {"uniform": [-1, 1]}}}, "model.noise.strength: input should"),
        ({"space": {"model.noise.nu": {"choice": ["much"]}}}, "must be a number (found 'much')"),
        (
            {
                "space": {"model.noise.ghost_size": {"choice": [64, 256]}},
                "search": {"ghost_within_batch": True},
            },
            "is above the batch that one forward pass sees (found ghost size 256, batch 128)",
        ),
        (
            {
                "model": {"norm": {"kind": "ghost_batch"}},
                "space": {"model.norm.ghost_size": {"int": [3, 15]}, "training.batch_size": 127},
            },
            "must divide the batch that one forward pass sees",
        ),
    ],
)
def test_what_cannot_be_is_refused(fields, message) -> None:
    mistakes = [str(mistake).replace("Input", "input") for mistake in check(spec(**fields))]
    assert any(message in mistake for mistake in mistakes), mistakes
    assert len(mistakes) == 1


def test_rungs_in_seconds_are_some_or_left_out() -> None:
    """A journal of before holds an empty list where they were left out."""
    with pytest.raises(SpecError) as found:
        parse("space: {training.optimizer.lr: 0.1}\nstopping: {seconds: []}")
    assert str(found.value) == (
        "spec: line 2: stopping.seconds: needs a rung at least, found []. "
        "Leave it out for rungs in epochs"
    )
    older = spec(stopping={"seconds": []})
    assert older == spec() and older.identity() == spec().identity()
    assert checked_spec(older.model_dump(mode="json")) == older
    assert spec(stopping={"seconds": [1]}).identity() != older.identity()


def test_a_range_of_sizes_is_fine_where_some_fit() -> None:
    space = {
        "model.norm.ghost_size": {"int": [2, 128]},
        "training.batch_size": {"choice": [96, 128]},
    }
    one = spec(model={"norm": {"kind": "ghost_batch"}}, space=space)
    assert check(one) == []
    assert broken(one, {"model.norm.ghost_size": 48, "training.batch_size": 96}) is None
    mistake = broken(one, {"model.norm.ghost_size": 48, "training.batch_size": 128})
    assert mistake and mistake.value == "ghost size 48, batch 128"


def test_hyperbands_brackets_are_a_function_of_the_number() -> None:
    one = spec(stopping={"name": "hyperband"}, training={"epochs": 27})
    assert [round(49 * share) for share in shares(one)] == [27, 12, 6, 4]  # arXiv 1603.06560
    for trials in (49, 490):
        counts = [0] * 4
        for number in range(trials):
            counts[bracket(one, number)] += 1
        for count, share in zip(counts, shares(one), strict=True):
            assert abs(count - share * trials) < 2.5
    assert {tuple(rungs_of(one, n)) for n in range(49)} == {(1, 3, 9), (3, 9), (9,), ()}
    two = spec(stopping={"name": "hyperband", "brackets": 2}, training={"epochs": 27})
    assert {tuple(rungs_of(two, n)) for n in range(49)} == {(1, 3, 9), (3, 9)}


@pytest.mark.parametrize(
    ("stopping", "shown"),
    [
        ({"name": "none"}, ["stopping   none", "epochs     at most 864, at least 864"]),
        ({"name": "asha"}, ["go on at epochs 1, 3, 9;", "epochs     at most 864, at least 58"]),
        ({"grace": 9}, ["go on at epoch 9;"]),
        ({}, ["each counts by its best epoch so far"]),
        ({"compare": "last"}, ["each counts by its epoch there"]),
        (
            {"name": "hyperband"},
            ["bracket 0, 17 trials: 1, 3, 9", "bracket 3, 3 trials: none: in full", "at least 226"],
        ),
        (
            {"name": "median", "grace": 2, "min_samples": 5},
            ["from epoch 2 on", "once 5 of them", "at least 189"],
        ),
        (
            {"seconds": [2.5, 10.0]},
            ["go on at seconds 2.5, 10; as the epoch ends", "at most 864, at least 58"],
        ),
        (
            {"name": "hyperband", "seconds": [2.5, 10.0]},
            ["bracket 0, 16 trials: 2.5, 10", "bracket 2, 6 trials: none: in full"],
        ),
    ],
)
def test_the_preview_says_when_trials_stop(stopping, shown) -> None:
    text = preview(spec(stopping=stopping, training={"epochs": 27}))
    assert [part for part in shown if part not in text] == []


def test_the_preview_says_what_the_search_begins_with() -> None:
    search = {
        "from": ["old"],
        "points": [{"model.noise.ghost_size": 8}],
        "priors": {"training.optimizer.lr": {"value": 0.1, "confidence": 0.5}},
    }
    text = preview(spec(search=search))
    assert "told beforehand of the trials of old that fit" in text
    assert "the first 1 from search.points" in text
    assert "training.optimizer.lr lies around 0.1 in 50% of the first 10 trials" in text


def test_the_preview_names_both_objectives() -> None:
    text = preview(spec(objective={"second": {"metric": "seconds"}}))
    assert "max val_accuracy and min seconds (the median of its epochs): their Pareto" in text
    assert "the best 1/3 by both objectives go on at epochs" in text
    assert "each counts by its best epoch so far in val_accuracy" in text


def test_the_preview_knows_the_budget_of_epochs() -> None:
    text = preview(spec(training={"epochs": 27}, budget={"max_epochs": 40}))
    assert text.endswith("epochs     at most 40, at least 40")
