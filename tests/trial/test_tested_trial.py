"""A confirmation inside the trial: test images are read once, and change nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sweeps.errors import PreflightError
from sweeps.spec import DataSpec
from sweeps.trial.batches import ResidentBatches
from sweeps.trial.datasets import check_test_images, load
from sweeps.trial.loop import fit
from sweeps.trial.session import train
from sweeps.trial.training import make_batches

SMALL = {"batch_size": 8, "epochs": 3}
LOOP = """
from sweeps.trial.loop import EpochResult

def loop(trial, data, *, device="cpu", resume=None):
    for epoch in range(1, trial.training.epochs + 1):
        yield EpochResult(epoch, {"val_accuracy": 0.5}, lambda: {})
"""


@pytest.fixture
def confirmed(trial):
    """Makes a trial with noise that is tested at its end."""

    def make(**fields):
        spec = trial(training=SMALL | fields, model={"noise": {"ghost_size": 4}})
        return spec.model_copy(update={"confirm": True})

    return make


def test_only_the_last_result_holds_test_metrics_and_all_else_is_as_without(
    confirmed, tiny, untimed, same
) -> None:
    plain = confirmed().model_copy(update={"confirm": False})
    tested, ordinary = fit(confirmed(), tiny), fit(plain, tiny)
    for ours, theirs in zip(tested, ordinary, strict=True):
        assert same(ours.state(), theirs.state())
        (found,), (expected,) = untimed([ours]), untimed([theirs])
        own = {name: found.pop(name) for name in list(found) if name.startswith("test_")}
        assert found == expected
        assert set(own) == ({"test_loss", "test_accuracy"} if ours.epoch == 3 else set())
    assert 0 <= own["test_accuracy"] <= 1 and (10 * own["test_accuracy"]) % 1 == 0  # of 10 images


def test_the_test_images_are_read_in_no_epoch_but_the_last(confirmed, tiny, monkeypatch) -> None:
    read = []
    ours = ResidentBatches.test
    monkeypatch.setattr(ResidentBatches, "test", lambda self: read.append(epoch) or ours(self))
    epoch = 1
    for _ in fit(confirmed(), tiny):
        epoch += 1
    assert read == [3]


def test_resumed_from_its_last_checkpoint_it_tells_the_same(
    confirmed, tiny, tmp_path, untimed
) -> None:
    whole = untimed(train(confirmed(), tiny, tmp_path / "whole", device="cpu"))
    part = train(confirmed(), tiny, tmp_path / "part", device="cpu")
    next(part), next(part)
    part.close()
    rest = untimed(train(confirmed(), tiny, tmp_path / "part", device="cpu", known_epoch=2))
    assert rest == whole[2:]
    again = untimed(train(confirmed(), tiny, tmp_path / "part", device="cpu", known_epoch=2))
    assert again == rest  # from the checkpoint's history: nothing is trained or read again


def test_a_loop_of_ones_own_must_report_the_test_metric(confirmed, tiny, tmp_path, module) -> None:
    module("own_tested.py", LOOP)
    results = train(confirmed(loop="own_tested:loop"), tiny, tmp_path / "t", device="cpu")
    next(results), next(results)
    with pytest.raises(ValueError, match=r"after the last epoch of a confirmation, 'test_acc"):
        next(results)


def test_streamed_images_are_tested_too(confirmed, tmp_path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 3)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
                image.save(tmp_path / part / name / f"{i}.png")
    data = DataSpec(name="image_folder", root=str(tmp_path), image_size=8, resident_limit=1)
    spec = confirmed().model_copy(update={"data": data})
    (images, labels), *rest = make_batches(spec, load(data), "cpu").test()
    assert (images.shape, labels.tolist(), rest) == ((6, 3, 8, 8), [0, 0, 0, 1, 1, 1], [])
    assert torch.isfinite(images).all()


def test_data_without_test_images_cannot_confirm(tiny) -> None:
    none = tiny.keep(np.arange(50), np.arange(0))
    with pytest.raises(PreflightError, match="confirm: digits has no test images"):
        check_test_images(DataSpec(), none)
