"""Test images instead of held-out ones, splits by the trial's seed, and sites from the spec."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import gni
from sweeps.errors import PreflightError
from sweeps.spec import DataSpec
from sweeps.trial.batches import ResidentBatches
from sweeps.trial.build import build_model
from sweeps.trial.datasets import load, training_images
from sweeps.trial.loop import fit
from sweeps.trial.training import make_batches

TEST = {"evaluate": "test", "normalize": False}
SMALL = {"batch_size": 10, "epochs": 2}


def pixels(batches):
    return torch.cat([images for images, _ in batches]).mul(255).round().to(torch.uint8).numpy()


def test_all_training_images_are_trained_on_and_the_test_images_evaluated(trial, tiny):
    batches = ResidentBatches(trial(data=TEST, training=SMALL), tiny, "cpu")
    assert np.array_equal(pixels(batches.evaluation()), tiny.test_images)
    assert torch.cat([y for _, y in batches.evaluation()]).tolist() == tiny.test_labels.tolist()
    seen = pixels(batches.train(1)).reshape(50, -1)
    assert sorted(map(bytes, seen)) == sorted(map(bytes, tiny.train_images.reshape(50, -1)))


def test_metrics_are_named_for_what_they_are_of(trial, tiny):
    last = [*fit(trial(data={"evaluate": "test"}, training=SMALL), tiny)][-1]
    assert {"test_loss", "test_accuracy"} < set(last.metrics)
    assert not {"val_loss", "val_accuracy"} & set(last.metrics)


def test_arms_on_one_worker_do_not_mix_validation_and_test(trial, tiny):
    held, test = (
        ResidentBatches(trial(data={"evaluate": e}, training=SMALL), tiny, "cpu")
        for e in ("validation", "test")
    )
    assert [sum(len(y) for _, y in b.evaluation()) for b in (held, test)] == [10, 10]
    assert (held.updates, test.updates) == (4, 5)


def test_streamed_test_images_are_the_resident_ones(trial, tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 3)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
                image.save(tmp_path / part / name / f"{i}.png")
    folder = {"name": "image_folder", "root": str(tmp_path), "image_size": 8, "evaluate": "test"}
    spec = trial(data={**folder, "resident_limit": 1}, training={"batch_size": 4})
    files = load(spec.data)
    (images, labels), *rest = make_batches(spec, files, "cpu").evaluation()
    assert (images.shape, labels.tolist(), rest) == ((6, 3, 8, 8), [0, 0, 0, 1, 1, 1], [])
    assert make_batches(spec, files, "cpu").updates == 4
    held = trial(data={**folder, "resident_limit": 1, "evaluate": "validation"})
    train = make_batches(held, files, "cpu").evaluation()
    assert not torch.equal(next(train)[0][:3], images[:3])


def test_no_test_images_to_evaluate_on(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "train" / name / "1.png")
    spec = DataSpec(name="image_folder", root=str(tmp_path), evaluate="test")
    with pytest.raises(PreflightError, match=r"image_folder has no test images.*validation"):
        load(spec)


def test_limit_bounds_the_test_images_that_are_used():
    data = load(DataSpec(limit=100, evaluate="test"))
    assert (len(data.train_labels), len(data.test_labels)) == (100, 100)
    assert np.ptp(np.bincount(data.test_labels)) <= 2
    assert training_images(DataSpec(evaluate="test"), data) == 100
    assert training_images(DataSpec(validation=0.1), data) == 90


def test_a_split_by_seed_follows_the_trials_seed(trial, tiny):
    def held_out(split_seed, seed):
        spec = trial(data={"split_seed": split_seed, "normalize": False}, training=SMALL, seed=seed)
        return pixels(ResidentBatches(spec, tiny, "cpu").evaluation())

    assert np.array_equal(held_out(None, 7), held_out(7, 0))
    assert not np.array_equal(held_out(None, 7), held_out(None, 8))
    assert np.array_equal(held_out(7, 0), held_out(7, 1))


def test_split_by_seed_shares_a_worker(trial, tiny):
    """Trials of two seeds on one worker keep splits of their own."""
    data, other = {"split_seed": None}, replace(tiny)
    runs = []
    for seed in (1, 2, 1):
        batches = ResidentBatches(trial(data=data, training=SMALL, seed=seed), other, "cpu")
        runs.append(next(batches.evaluation())[0])
    assert torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0], runs[1])


def test_dropout_convolutions_and_place_of_the_noise_reach_the_model(trial):
    model = {
        "name": "preact_resnet18",
        "options": {"width_multiplier": 1 / 16},
        "norm": {"kind": "layer"},
        "noise": {"ghost_size": 4, "before_affine": True},
        "dropout": {"kind": "gaussian", "p": 0.2, "literature_std": False},
        "conv": {"kind": "standardised", "gain": False},
    }
    built = build_model(trial(model=model), in_channels=1, image_size=8, classes=2)
    kinds = [type(module).__name__ for module in built.modules()]
    assert kinds.count("WSConv2d") == 20 and kinds.count("Conv2d") == 0
    assert kinds.count("GhostNoise") == kinds.count("ChannelAffine") == 20
    dropout = next(m for m in built.modules() if isinstance(m, gni.NoiseDropout))
    assert (dropout.p, dropout.kind, dropout.literature_std) == (0.2, "gaussian", False)


def test_running_statistics_in_order_reach_the_model(trial):
    norm = {"kind": "ghost_batch", "ghost_size": 4, "running": "sequential"}
    built = build_model(trial(model={"norm": norm}), in_channels=1, image_size=8, classes=2)
    norms = [m for m in built.modules() if isinstance(m, gni.GhostBatchNorm1d)]
    assert {m.running for m in norms} == {"sequential"}
    plain = {**norm, "kind": "batch"}
    build_model(trial(model={"norm": plain}), in_channels=1, image_size=8, classes=2)
