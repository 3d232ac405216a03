"""The spec's tree: what it accepts, what it is identified by, what a trial of it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from ray.tune.schedulers import ASHAScheduler

import sweeps
from sweeps.reading import load
from sweeps.spec import SweepSpec, rungs, space_size, trial_count

SPACE = {
    "model.noise.ghost_size": {"logint": [4, 64]},
    "model.noise.strength": {"uniform": [0, 2]},
    "training.optimizer.lr": {"loguniform": [0.01, 1]},
}


def spec(**fields) -> SweepSpec:
    return SweepSpec.model_validate({"name": "s", "space": SPACE, **fields})


def test_survives_json() -> None:
    one = spec()
    assert SweepSpec.model_validate_json(one.model_dump_json()) == one


def test_identity_is_of_what_decides_results() -> None:
    same = spec(storage="/elsewhere", resources={"concurrency": 2}, data={"root": "/images"})
    assert same.identity() == spec().identity()
    assert spec(resources={"threads_per_trial": 2}).identity() != spec().identity()
    assert spec(search={"seed": 1}).identity() != spec().identity()


def test_older_sweeps_keep_their_identity() -> None:
    """As written to journals before the fields of `LATER` were there."""
    configs = Path(sweeps.__file__).parent / "configs"
    assert load(configs / "digits.yaml").identity() == "f55cdc3a598206e4"
    assert load(configs / "mnist_strength.yaml").identity() == "410ddaea87b39dc2"


@pytest.mark.parametrize(
    "later",
    [
        {"search": {"points": [{"training.optimizer.lr": 0.1}]}},
        {"search": {"priors": {"training.optimizer.lr": 0.1}}},
        {"search": {"from": ["a"]}},
        {"search": {"ghost_within_batch": True}},
        {"stopping": {"brackets": 2}},
        {"stopping": {"min_samples": 4}},
    ],
)
def test_later_fields_count_once_they_are_set_and_survive_json(later) -> None:
    one = spec(**later)
    assert one.identity() != spec().identity()
    assert SweepSpec.model_validate_json(one.model_dump_json()) == one


def test_a_strength_may_be_stated_as_nu() -> None:
    point = {"model.noise.nu": 0.25, "model.noise.ghost_size": 16}
    assert spec().trial(point, seed=0).model.noise.strength == 2.0
    assert spec().trial({"model.noise.nu": 0.25}, seed=0).model.noise.strength == 2.0  # N is 16
    arms = {"arms": {"some": {"model.noise.nu": 1.0, "model.noise.ghost_size": 9}}, "space": {}}
    assert spec(**arms).trial({"arm": "some"}, seed=0).model.noise.strength == 3.0


def test_an_image_folder_is_identified_by_its_place() -> None:
    here, there = (spec(data={"name": "image_folder", "root": r}) for r in ("/a", "/b"))
    assert here.identity() != there.identity()


def test_a_trial_is_the_fixed_part_with_a_point_put_in() -> None:
    trial = spec().trial({"model.noise.ghost_size": 8, "training.optimizer.lr": 0.5}, seed=3)
    assert trial.model.noise is not None
    assert (trial.model.noise.ghost_size, trial.training.optimizer.lr, trial.seed) == (8, 0.5, 3)
    assert trial.model.noise.strength == 1.0


def test_a_trial_refuses_a_value_that_its_field_refuses() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        spec().trial({"model.noise.strength": -1.0}, seed=0)


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ({"choice": []}, "choice is empty"),
        ({"choice": [4, 4]}, "names a value twice"),
        ({"uniform": [2, 1]}, "empty range: low 2 is not below high 1"),
        ({"loguniform": [0, 1]}, "needs low > 0; found 0"),
        ({"int": [1, 2.5]}, "takes whole numbers"),
        ({"uniform": ["a", 1]}, "two numbers"),
        ({"uniform": [1, 2, 3]}, "two numbers"),
        ({"gauss": [0, 1]}, "unknown kind of dimension 'gauss'. Known: choice"),
        ({"int": [1, 2], "uniform": [0, 1]}, "a dimension is one value or one of"),
        (None, "a dimension is one value or one of"),
    ],
)
def test_bad_dimensions_say_why(dimension, message) -> None:
    with pytest.raises(ValidationError) as caught:
        spec(space={"training.optimizer.lr": dimension})
    assert message in str(caught.value)


@pytest.mark.parametrize(("grace", "reduction", "epochs"), [(1, 3, 27), (2, 4, 100), (5, 2, 5)])
def test_rungs_are_those_of_rays_asha(grace, reduction, epochs) -> None:
    asha = ASHAScheduler(
        metric="v", mode="max", max_t=epochs, grace_period=grace, reduction_factor=reduction
    )
    stock = sorted(milestone for milestone, _ in asha._brackets[0]._rungs if milestone < epochs)
    stopping = {"grace": grace, "reduction": reduction}
    assert rungs(spec(stopping=stopping, training={"epochs": epochs})) == stock


def test_a_loss_is_to_go_down_unless_said_otherwise() -> None:
    assert spec(objective={"metric": "val_loss"}).objective.mode == "min"
    assert spec(objective={"metric": "val_loss", "mode": "max"}).objective.mode == "max"
    assert spec().objective.mode == "max"


def test_sizes() -> None:
    assert space_size(spec()) is None
    grid = spec(space={"a": {"choice": [1, 2]}, "b": {"int": [1, 3]}}, search={"sampler": "grid"})
    assert (space_size(grid), trial_count(grid), trial_count(spec())) == (6, 6, 32)


def test_a_spec_is_read_only() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec().name = "other"
