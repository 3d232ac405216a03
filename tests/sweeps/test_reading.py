"""YAML → spec: every mistake at once, each at its line, with the rule and the known names."""

from __future__ import annotations

import re

import pytest

from sweeps.checks.networks import OWN_MODELS, torchvision_models
from sweeps.errors import SpecError
from sweeps.reading import load, parse

GOOD = """
name: good
model:
  noise: {ghost_size: 8}
training:
  batch_size: 64
  optimizer: {lr: 1e-2}
space:
  model.noise.strength: {uniform: [0, 2]}
  training.optimizer.lr: {loguniform: [1e-3, 1]}
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(text)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_numbers_with_exponents_are_numbers() -> None:
    spec = parse(GOOD)
    assert spec.training.optimizer.lr == 0.01
    assert spec.space["training.optimizer.lr"].values == (0.001, 1)


def test_all_mistakes_at_once_with_their_lines() -> None:
    found = mistakes(
        "name: x\ntraining:\n  epoch: 3\n  batch_size: many\nmodel:\n  nrom: {}\n"
        "space:\n  training.optimizer.lr: {uniform: [3, 1]}\n"
    )
    assert len(found) == 4
    text = "\n".join(found)
    assert "line 3: training.epoch: unknown field. Did you mean epochs? Known: epochs" in text
    assert "line 4: training.batch_size: a number is needed, found 'many'" in text
    assert "line 6: model.nrom: unknown field. Did you mean norm?" in text
    assert "line 8: space.training.optimizer.lr: empty range: low 3 is not below high 1" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "space: {lr: {uniform: [0.1, 1]}}",
            "is no field of data, model or training. Did you mean training.optimizer.lr?",
        ),
        ("", "is empty, and a sweep wants at least a space. Ready ones:"),
        ('training: {epochs: "27"}', "training.epochs: a number is needed, found '27'"),
        ('space: {training.batch_size: "64"}', "number is needed, found '64'"),
        ("storage: s3:/bucket/x", "storage: is a folder, or s3://BUCKET or s3://BUCKET/PREFIX"),
        ("storage: s3:///bucket", "(found 's3:///bucket'). Write one of these"),
        ('storage: ""', "storage: is a folder, or s3://BUCKET or s3://BUCKET/PREFIX (found '')"),
        ('storage: "x\\0y"', "storage: is a folder, or s3://BUCKET"),
        ("training: {schedule: {name: step}}", "step needs milestones, or it never steps"),
        (
            "training: {epochs: 3, schedule: {warmup_epochs: 4}}",
            "must not exceed epochs; found 4 of 3",
        ),
        (
            "space: {model.noise.strength: {choice: [1, 1.0]}}",
            "choice names a value twice: [1, 1.0]",
        ),
        (
            "space:\n  model.name: {choice: [mlp, resnet19]}",
            "line 2: space.model.name: unknown model (found resnet19)",
        ),
        (
            "search: {sampler: grid}\nspace: {model.noise.ghost_size: {int: [1, 1000000]}}",
            "a grid of more than 100,000 points is none that one runs (found 1,000,000)",
        ),
        ("space: {model.noise.ghost_size: {int: [0, 4]}}", "greater than or equal to 1 (found 0)"),
        ("space: {model.noise.ghost_size: {uniform: [1, 4.5]}}", "valid integer"),
        ("model: {name: resnet19}", "unknown model (found resnet19). Did you mean resnet20? Known"),
        ("model: {name: 'torchvision:resnet51'}", "Did you mean resnet"),
        ("model: {options: {dept: 3}}", "mlp has no such option. Did you mean depth?"),
        ("model: {name: 'nowhere.to:be'}", "model.name"),
        ("training: {loop: 'nowhere.to:be'}", "training.loop"),
        ("data: {name: digit}", "unknown data set. Known: digits, mnist"),
        ("data: {name: mnist, root: /nowhere, download: false}", "lacks train-images-idx3-ubyte"),
        ("data: {name: image_folder, root: /nowhere}", "no /nowhere/train"),
        (
            "training: {batch_size: 100}\nmodel: {norm: {kind: ghost_batch, ghost_size: 16}}",
            "must divide the batch that one forward pass sees (found ghost size 16, batch 100). "
            "Divisors: 2, 4, 5, 10",
        ),
        (
            "space: {model.norm.ghost_size: {choice: [16, 48]}}\n"
            "model: {norm: {kind: ghost_batch}}",
            "ghost size 48, batch 128",
        ),
        (
            "space:\n  model.norm.ghost_size: {int: [2, 8]}\nmodel: {norm: {kind: ghost_batch}}\n"
            "search: {sampler: grid}",
            "need a choice of them",
        ),
        ("model: {norm: {kind: exclusive_batch, ghost_size: 1}}", "at least 2 samples in a group"),
        ("model: {noise: {shift: false, scale: false}}", "Turn one on, or noise: null"),
        ("search: {replicates: 3}", "is for a grid"),
        ("space: {model.noise.ghost_size: {uniform: [4, 16]}}", "valid integer"),
        (
            "space: {training.batch_size: {int: [32, 64]}}\n"
            "model: {norm: {kind: ghost_batch, ghost_size: 16}}\nsearch: {sampler: grid}",
            "need a choice of them",
        ),
        (
            "training:\n  batch_size: 1201",
            "line 2: training.batch_size: an epoch needs at least one batch (found batch 1201, "
            "1200 training images). Lower it, or raise data.limit or lower data.validation",
        ),
        (
            "space: {training.batch_size: {int: [64, 1201]}}",
            "space.training.batch_size: an epoch needs at least one batch",
        ),
        (
            "data: {name: 'sweeps.trial.standins:mnist', limit: 100}",
            "found batch 128, 80 training images",
        ),
        ("search: {from: mnist}", "search.from: takes a list (found 'mnist'). Write it in [ ]"),
        ("training: {accumulate: 128}", "leaves one image a forward pass"),
        ("training: {epochs: true}", "a number is needed, found true"),
        ("data: {flip: 'yes'}", "true or false is needed, found 'yes'"),
        ("space: {training.loop: {choice: ['a.b:c', 'd.e:f']}}", "training.loop"),
        ("training: {accumulate: 3}", "must divide batch_size"),
        (
            "search: {sampler: grid}\nspace: {training.optimizer.lr: {uniform: [1, 2]}}",
            "a grid needs listed values",
        ),
        (
            "search: {sampler: grid, trials: 9}\nspace: {model.options.depth: {choice: [1, 2]}}",
            "the grid has only 2 points",
        ),
        ("stopping: {grace: 30}", "is above training.epochs"),
        ("objective: {metric: val_acc}", "Did you mean val_accuracy?"),
        ("training: {optimizer: {momentum: 0}}", "nesterov needs momentum > 0"),
        ("training: {optimizer: {lr: .nan}}", "finite number"),
        ("name: a/b", "name"),
        ("name: x\nname: y", "the key stands twice"),
        ("data: {<<: {flip: true}, <<: {name: digits}}", "data.<<: the key stands twice"),
        ("training: [1, 2", "not readable"),
        ("name: x\x07y", "not readable: special characters are not allowed"),
        ("name: 2026-13-45", "not readable: month must be in 1..12"),
        (f"training: {{epochs: {'9' * 5000}}}", "not readable: Exceeds the limit (4300 digits)"),
        ("space: &s {training.optimizer.lr: *s}", "line 1: space.training.optimizer.lr: unknown"),
        (
            "space: {training.optimizer.lr: {choice: [1, .inf]}}",
            "lr.values.1: takes a finite number, a text or true/false (found inf)",
        ),
        ("search: {trials: 10000000}", "search.trials: input should be less than or equal to"),
        ("just words", "a spec is a mapping of sections"),
    ],
)
def test_each_mistake_says_rule_value_and_remedy(text, message) -> None:
    assert message in "\n".join(mistakes(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("search: {points: [{a: [1]}]}", "points.0.a: takes a number, a text or true/false"),
        ("confirm: {baselines: {b: {a: [1]}}}", "b.a: takes a number, a text or true/false"),
        ("model: {options: {width: [3]}}", "width: takes a number, a text or true/false"),
        (
            "resources: {gpus_per_trial: [1]}",
            "gpus_per_trial: takes a number or a text (found [1])",
        ),
        ("training: {checkpoint_every: [1]}", "every: takes a whole number or a text (found [1])"),
        (
            "search: {priors: {a: [1]}}",
            "priors.a: takes a mapping of value, confidence (found [1])",
        ),
        ("objective: {second: 3}", "takes a mapping of metric, mode, take (found 3)"),
        ("training: {compile: maybe}", "should be False, True or 'cuda_graphs' (found 'maybe')"),
    ],
)
def test_a_value_of_no_type_that_fits_is_one_mistake(text, message) -> None:
    (found,) = mistakes(text)
    assert message in found


@pytest.mark.parametrize("use", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_of_aliases_that_explode_are_refused(use) -> None:
    lines = ["a: &a0 {trials: 1}" if "<<" in use else "a: &a0 [lol]"]
    for level in range(40):
        once = use.format(", ".join([f"*a{level}"] * 10))
        lines.append(f"b{level}: &a{level + 1} {once}")
    (found,) = mistakes("\n".join(lines))
    rule = r"line [56]: YAML: not readable: aliases may add 100,000 characters \(found \d+,\d+"
    assert re.match(rule, found), found


def test_a_mistake_in_what_is_merged_is_told_where_it_stands() -> None:
    (found,) = mistakes("search:\n  <<:\n    trials: -1\n")
    assert found.startswith("line 3: search.trials: "), found


def test_ordinary_aliases_are_what_they_stand_for() -> None:
    text = """\
arms:
  one: &one {training.optimizer.lr: 0.1, training.optimizer.momentum: 0.5}
  two: {<<: *one, training.optimizer.lr: 0.2}
space: {arm: {choice: [one, two]}}
"""
    two = parse(text).arms["two"]
    assert two == {"training.optimizer.lr": 0.2, "training.optimizer.momentum": 0.5}


def test_a_missing_file_names_the_ready_ones() -> None:
    with pytest.raises(SpecError, match=r"cannot be read: No such file.*configs/digits\.yaml"):
        load("/nowhere.yaml")


def test_the_name_defaults_to_the_file(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("training: {epochs: 2}")
    assert load(file).name == "mine"


def test_models_known_to_the_checks_are_those_there_are() -> None:
    import models

    assert sorted(OWN_MODELS) == sorted(models.available())
    for name, options in OWN_MODELS.items():
        with pytest.raises(ValueError, match=r"option|argument") as refusal:
            models.create(name, in_channels=1, image_size=8, classes=2, **{"no_such": 1})
        assert all(option in str(refusal.value) for option in options), refusal.value


def test_torchvision_names_are_torchvisions() -> None:
    from torchvision.models import list_models

    named = {name for name in list_models() if name in set(torchvision_models())}
    classification = set(
        list_models(
            exclude=[
                "*quantized*",
                "*rcnn*",
                "*ssd*",
                "raft*",
                "*retina*",
                "fcos*",
                "deeplab*",
                "fcn*",
                "lraspp*",
                "r3d*",
                "mc3*",
                "r2plus1d*",
                "mvit*",
                "s3d",
                "swin3d*",
            ]
        )
    )
    assert named == classification
    assert set(torchvision_models()) == classification


def test_sizes_of_more_combinations_than_are_looked_through_are_no_mistake() -> None:
    space = "space: {training.batch_size: {logint: [32, 1024]}, %s}"
    norm = "\nmodel: {norm: {kind: ghost_batch, ghost_size: 256}}"
    assert parse(space % "model.noise.ghost_size: {logint: [2, 1024]}" + norm)
    assert parse(space % "training.accumulate: {int: [1, 999]}" + norm)
