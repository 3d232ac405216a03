"""Arms to compare, studies on test images, and what a model has no place for."""

from __future__ import annotations

import pytest

from sweeps.checks import check
from sweeps.errors import SpecError
from sweeps.preview import preview
from sweeps.reading import parse
from sweeps.spec import SweepSpec, space_size, trial_count
from sweeps.values import values_of

ARMS = """
training: {batch_size: 64}
arms:
  bn: {}
  gbn: {model.norm.kind: ghost_batch, model.norm.ghost_size: 32}
  gni: {model.noise.ghost_size: 8}
search: {sampler: grid, replicates: 3}
stopping: {name: none}
"""


def messages(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text)
    return str(caught.value)


def test_arms_are_an_axis_of_the_space() -> None:
    spec = parse(ARMS)
    assert list(spec.space) == ["arm"]
    assert (space_size(spec), trial_count(spec)) == (3, 9)
    norms = {name: spec.trial({"arm": name}, seed=0).model for name in spec.arms}
    assert (norms["bn"].norm.kind, norms["bn"].noise) == ("batch", None)
    assert (norms["gbn"].norm.kind, norms["gbn"].norm.ghost_size) == ("ghost_batch", 32)
    assert norms["gni"].noise is not None and norms["gni"].noise.ghost_size == 8
    assert values_of(spec, "model.norm.kind") == ("batch", "ghost_batch")


def test_arms_survive_json_and_cross_with_other_axes() -> None:
    spec = parse(ARMS + "space: {training.optimizer.lr: {choice: [0.1, 0.2]}}")
    assert SweepSpec.model_validate_json(spec.model_dump_json()) == spec
    assert list(spec.space) == ["arm", "training.optimizer.lr"]
    trial = spec.trial({"arm": "gni", "training.optimizer.lr": 0.2}, seed=1)
    assert trial.model.noise is not None and trial.training.optimizer.lr == 0.2


def test_the_preview_says_what_each_arm_sets() -> None:
    lines = preview(parse(ARMS)).splitlines()
    assert "  arm  one of bn, gbn, gni" in lines
    assert "    bn: as it stands" in lines
    assert "    gbn: model.norm.kind ghost_batch, model.norm.ghost_size 32" in lines


def test_a_space_may_take_some_of_the_arms() -> None:
    spec = parse(ARMS + "space: {arm: {choice: [bn, gni]}}")
    assert values_of(spec, "model.norm.kind") == ("batch",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "arms: {a: {model.noise.ghostsize: 4}}",
            "arms.a.model.noise.ghostsize: is no field of data, model or training. Did you mean mo",
        ),
        ("arms: {a: {training.epochs: 4}}", "arms.a.training.epochs: is no field"),
        ("arms: {a: {model.noise.ghost_size: 0}}", "arms.a: model.noise.ghost_size: Input should"),
        ("arms: {a: {model.name: resnet19}}", "unknown model (found resnet19)"),
        ("arms: {a: {}}\nspace: {arm: {choice: [b]}}", "is none of the arms (found 'b'). Known: a"),
        (
            "arms: {a: {training.optimizer.lr: 1}}\nspace: {training.optimizer.lr: {choice: [1]}}",
            "arms.a.training.optimizer.lr: is varied by the space too",
        ),
        ("space: {arm: {choice: [a]}}", "space.arm: is no field of data, model or training"),
        (
            "arms: {a: {}, b: {model.norm.kind: ghost_batch, model.norm.ghost_size: 48}}",
            "must divide the batch that one forward pass sees (found ghost size 48, batch 128)",
        ),
    ],
)
def test_bad_arms(text, message) -> None:
    assert message in messages(text)


def test_sizes_of_one_arm_are_not_held_against_another() -> None:
    grid = "search: {sampler: grid}\nstopping: {name: none}\ntraining: {batch_size: 64}\n"
    arms = "arms: {a: {model.norm.ghost_size: 48}, b: {model.norm.kind: ghost_batch}}"
    assert parse(grid + arms).arms.keys() == {"a", "b"}


TEST = "objective: {metric: test_accuracy}\n"
GRID = "search: {sampler: grid}\nstopping: {name: none}\n"


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ("stopping: {name: none}", "found search.sampler is tpe"),
        ("search: {sampler: grid}", "found stopping.name is asha"),
        (
            "search: {sampler: grid, trials: 3, replicates: 2}\nstopping: {name: none}\n"
            "arms: {a: {}, b: {}}",
            "search.trials is 3",
        ),
    ],
)
def test_test_images_are_refused_to_a_search(rest, found) -> None:
    text = messages(f"data: {{evaluate: test}}\n{TEST}{rest}")
    assert "data.evaluate: test is for a study without selection" in text
    assert found in text
    assert "or evaluate: validation" in text


def test_test_images_are_for_a_whole_grid() -> None:
    assert parse(f"data: {{evaluate: test}}\n{TEST}{GRID}").data.evaluate == "test"
    twice = "search: {sampler: grid, trials: 4, replicates: 2}\nstopping: {name: none}\n"
    both = parse(f"data: {{evaluate: test}}\n{TEST}{twice}arms: {{a: {{}}, b: {{}}}}")
    assert trial_count(both) == 4
    text = messages(f"data: {{evaluate: test}}\n{GRID}")
    assert "no metric of the training loop with data.evaluate: test" in text
    assert "Known: train_loss, train_accuracy, test_loss, test_accuracy" in text
    assert "no metric of the training loop" in messages(f"{TEST}")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("name: mlp, dropout: {p: 0.1}", "model.dropout: the model has no place for it (found mlp"),
        ("name: mlp, conv: {kind: standardised}", "convolutions cannot be chosen (found mlp)"),
        ("name: nf_resnet26", "nf_resnet26 has no norms (found batch). Write none"),
    ],
)
def test_what_a_model_has_no_place_for(model, message) -> None:
    assert message in messages(f"model: {{{model}}}")


def test_what_a_model_has_a_place_for() -> None:
    for model in (
        {"name": "preact_resnet18", "dropout": {"p": 0.2}, "conv": {"kind": "standardised"}},
        {"name": "nf_resnet26", "norm": {"kind": "none"}},
    ):
        assert check(SweepSpec.model_validate({"name": "s", "model": model})) == []
