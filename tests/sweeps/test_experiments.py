"""The published experiments: what they say, that each point trains, smoke runs, listing, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import sweeps
from sweeps.checks import check
from sweeps.cli import main
from sweeps.errors import SpecError
from sweeps.experiments import experiment, experiments, note, spec_of
from sweeps.reading import load
from sweeps.spec import SweepSpec, TrialSpec, trial_count
from sweeps.trial.arrays import Dataset
from sweeps.trial.loop import fit

NAMES = list(experiments())
SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
NARROW = {
    "preact_resnet18": {"width_multiplier": 1 / 16},
    "resnet20": {"width_multiplier": 1 / 8},
    "nf_resnet26": {"width_multiplier": 1 / 16},
    "convmixer": {"dim": 8, "depth": 1, "kernel": 5, "patch": 2},
    "simple_vit": {"dim": 8, "depth": 1, "heads": 2, "head_dim": 4, "hidden": 8, "patch": 4},
    "mlp": {"depth": 5, "width": 32},
}


@pytest.fixture(scope="module")
def specs() -> dict[str, SweepSpec]:
    return {name: load(found.file, checked=False) for name, found in experiments().items()}


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_whole_grid_and_only_its_data_may_be_missing(specs, name) -> None:
    spec = specs[name]
    assert spec.name == name
    assert {mistake.path for mistake in check(spec)} <= {"data.root"}
    assert (spec.search.sampler, spec.stopping.name) == ("grid", "none")
    assert experiments()[name].cost.startswith(f"{trial_count(spec)} trials of")


@pytest.mark.parametrize(
    ("name", "path", "values", "seeds"),
    [
        *((f"c100_{n}", "model.norm.ghost_size", SIZES, 5) for n in ("gbn", "xbn", "evalnorm")),
        *(
            (f"c100_{n}", "model.noise.ghost_size", SIZES, 5)
            for n in ("gni", "gni_shift", "gni_scale")
        ),
        *(
            (f"c100_analytic{n}", "model.noise.ghost_size", (*SIZES, 512, 1024), 5)
            for n in ("", "_shift", "_scale")
        ),
        ("c100_xbn_gni", "model.noise.ghost_size", SIZES, 3),
        *(
            (f"c100_dropout_{k}_{p}", "model.dropout.p", (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7), n)
            for k, n in (("gaussian", 5), ("bernoulli", 3))
            for p in ("element", "channel")
        ),
    ],
)
def test_searches_on_cifar100_are_those_of_the_table(specs, name, path, values, seeds) -> None:
    spec = specs[name]
    assert (list(spec.space), spec.space[path].values) == ([path], values)
    assert (spec.training.seed, spec.search.replicates) == (20, seeds)
    assert (spec.data.evaluate, spec.data.validation, spec.data.split_seed) == (
        "validation",
        0.1,
        None,
    )


@pytest.mark.parametrize(
    ("prefix", "optimizer", "schedule", "rest"),
    [
        ("c100_", ("sgd", 0.3, 5e-4), (5, 1e-6, 1e-5), (256, 200, "float32", 0)),
        ("c10_resnet20", ("sgd", 0.2, 2e-4), (5, 1e-6, 1e-5), (256, 200, "float32", 0)),
        ("c10_vit", ("adamw", 1e-3, 1e-4), (40, 1e-6, 1e-5), (1024, 200, "float16", 0)),
        ("c10_convmixer", ("adamw", 2e-2, 5e-2), (5, 1e-5, 0), (256, 200, "float32", 0)),
        ("c10_nfresnet", ("sgd", 0.2, 5e-5), (20, 1e-6, 1e-5), (256, 200, "float16", 0)),
        ("i1k_", ("sgd", 0.1, 1e-4), (1, 1e-6, 1e-5), (256, 90, "float16", 0.1)),
    ],
)
def test_training_is_that_of_the_table(specs, prefix, optimizer, schedule, rest) -> None:
    found = [spec.training for name, spec in specs.items() if name.startswith(prefix)]
    assert found
    for t in found:
        assert (t.optimizer.name, t.optimizer.lr, t.optimizer.weight_decay) == optimizer
        assert t.optimizer.nesterov and t.optimizer.momentum == 0.9
        cosine = (t.schedule.warmup_epochs, t.schedule.warmup_lr, t.schedule.min_lr)
        assert (t.schedule.name, cosine) == ("cosine", schedule)
        assert (t.batch_size, t.epochs, t.precision, t.label_smoothing) == rest


def test_every_study_on_test_images_says_so(specs) -> None:
    on_test = {name for name, spec in specs.items() if spec.data.evaluate == "test"}
    wanted = ("c10_", "i1k_", "hoffer_", "c100_test", "c100_ln_test")
    assert on_test == {name for name in NAMES if name.startswith(wanted)}
    augmented = {name for name, spec in specs.items() if spec.data.flip}
    plain = {n for n in NAMES if n.startswith("hoffer") or "_no_aug" in n} - {"hoffer_code"}
    assert set(NAMES) - augmented == plain


def tiny(spec: SweepSpec, batch: int) -> Dataset:
    """One batch to train on, two classes, 16 by 16 (32 for torchvision's); a few to evaluate on."""
    torchvision = spec.model.name.startswith("torchvision:")
    side, channels = (32 if torchvision else 16), (1 if spec.data.name == "mnist" else 3)
    held = 0 if spec.data.evaluate == "test" else math.ceil(batch * 0.12)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch + held, channels, side, side), dtype=np.uint8)
    labels = np.arange(batch + held) % 2
    return Dataset(images, labels, images[:8], labels[:8], classes=2)


def ends_of(spec: SweepSpec) -> list[dict[str, object]]:
    """All arms, and of other axes both ends."""
    points: list[dict[str, object]] = [{}]
    for path, axis in spec.space.items():
        values = axis.values if path == "arm" else dict.fromkeys((axis.values[0], axis.values[-1]))
        points = [{**point, path: value} for point in points for value in values]
    return points


def narrow(spec: SweepSpec, params: dict[str, object]) -> TrialSpec:
    """A trial with ghost and batch sizes as published, but for ResNet-50, and a narrow network."""
    trial = spec.trial(params, seed=spec.training.seed)
    if spec.model.name in NARROW:
        options = {"options": NARROW[spec.model.name]}
        return trial.model_copy(update={"model": trial.model.model_copy(update=options)})
    batch = {"batch_size": max(8, 2 * trial.training.accumulate)}
    return trial.model_copy(update={"training": trial.training.model_copy(update=batch)})


@pytest.mark.parametrize("name", NAMES)
def test_every_arm_and_end_trains_a_step_at_its_own_batch(specs, name) -> None:
    torch.set_num_threads(1)
    spec = specs[name]
    for params in ends_of(spec):
        trial = narrow(spec, params)
        metrics = next(fit(trial, tiny(spec, trial.training.batch_size))).metrics
        assert math.isfinite(metrics["train_loss"])
        assert spec.objective.metric in metrics


@pytest.mark.parametrize("name", NAMES)
def test_each_goes_on_from_its_state_bit_for_bit(specs, name) -> None:
    torch.set_num_threads(1)
    spec = specs[name]
    own = spec.model.name in NARROW
    trial = narrow(spec, ends_of(spec)[-1 if own else 0])
    data = tiny(spec, trial.training.batch_size)
    results = fit(trial, data)
    state = next(results).state()
    straight = next(results).metrics
    resumed = next(fit(trial, data, resume=state)).metrics
    timed = ("seconds", "images_per_second")
    wanted = {name: value for name, value in straight.items() if name not in timed}
    # Evaluated after a step on two images a forward pass, a loss may be no number.
    exactly = pytest.approx(wanted, rel=0, abs=0, nan_ok=True)
    assert {name: resumed[name] for name in wanted} == exactly


@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_run_is_small_and_says_what_it_is(specs, name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # no data here
    spec = spec_of(name, smoke=True)
    assert spec.name == f"smoke-{name}-synthetic"
    assert "synthetic images" in note(spec) and note(spec) in spec.description
    assert trial_count(spec) <= 2
    assert spec.training.epochs == (1 if name.startswith("i1k") else 2)
    assert spec.resources.gpus_per_trial == 0
    assert spec.model == specs[name].model or name == "c100_xbn_gni"
    assert (spec.data.limit or 0) * 3 * 32 * 32 < 2e7


def test_a_smoke_run_uses_the_data_that_is_there(tmp_path) -> None:
    files = [f"{p}-{k}-ubyte" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1")]
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for file in files:
        (tmp_path / "MNIST" / "raw" / file).touch()
    spec = spec_of("hoffer_small_batch", smoke=True, data=str(tmp_path))
    assert (spec.name, spec.data.name) == ("smoke-hoffer_small_batch", "mnist")
    assert "synthetic" not in note(spec)
    assert not spec.data.download


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_a_smoke_run_through_ray(storage, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = sweeps.reproduce("c10_resnet20", smoke=True, storage=str(storage))
    assert list(sweep.frame()["arm"]) == ["bn", "gbn16"]
    assert set(sweep.frame()["status"]) == {"finished"}
    assert sweep.folder.name == "smoke-c10_resnet20-synthetic"
    assert "test_accuracy" in sweep.curves().columns


def test_the_listing_names_all_with_their_cost() -> None:
    done = CliRunner().invoke(main, ["reproduce"])
    assert done.exit_code == 0
    for found in experiments().values():
        assert f"{found.name} " in done.output
        assert found.description in done.output
    assert "21 trials of 200 epochs" in done.output


def test_an_unknown_name_and_missing_data_are_mistakes(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["reproduce", "c100_gin"])
    assert done.exit_code == 2
    assert "no such experiment (found c100_gin). Did you mean c100_gni?" in done.stderr
    done = CliRunner().invoke(main, ["reproduce", "C100_GNI"])
    assert "Did you mean c100_gni? Known: " in done.stderr and "hoffer" not in done.stderr
    done = CliRunner().invoke(main, ["reproduce", "i1k_resnet50_gni"])
    assert done.exit_code == 2
    missing = f"no {tmp_path}/data/imagenet/train"
    for part in (missing, "about 145 GB", "image-net.org", "reproduce i1k_resnet50_gni --smoke"):
        assert part in done.stderr
    with pytest.raises(SpecError, match="no such experiment"):
        experiment("nothing")
    assert not list(tmp_path.iterdir())
