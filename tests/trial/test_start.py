"""A trial that starts from an earlier checkpoint's weights."""

from __future__ import annotations

import pytest
import torch

from sweeps.errors import PreflightError
from sweeps.spec import START_FILE, StartSpec
from sweeps.trial import checkpoint
from sweeps.trial.loop import fit
from sweeps.trial.rehearse import rehearse
from sweeps.trial.session import train
from sweeps.trial.start import model_weights, weights


@pytest.fixture
def earlier(trial, digits, tmp_path):
    """A checkpoint of two epochs at a small rate."""
    spec = trial(training={"epochs": 2, "optimizer": {"lr": 0.01}}, seed=5)
    list(train(spec, digits, tmp_path / "earlier", device="cpu"))
    return tmp_path / "earlier" / "epoch-000002.pt"


def test_the_weights_are_the_checkpoints_and_all_else_begins_anew(trial, digits, earlier) -> None:
    start = checkpoint.load(earlier)["state"]["model"]
    slow = trial(training={"epochs": 2, "optimizer": {"lr": 1e-12}, "weight_distance": True})
    first = next(results := fit(slow, digits, start=start))
    assert first.epoch == 1 and first.metrics["weight_distance@1"] < 1e-6
    after = first.state()["model"]
    learnt = {name for name in start if name.endswith(("weight", "bias"))}
    assert learnt and all(torch.allclose(after[name], start[name]) for name in learnt)
    results.close()
    assert next(fit(slow, digits)).metrics["val_accuracy"] < first.metrics["val_accuracy"]


@pytest.mark.parametrize("stopped_after", [1, 2])
def test_stopped_and_resumed_it_is_undisturbed(  # noqa: PLR0917 - fixtures
    trial, digits, earlier, tmp_path, untimed, stopped_after
) -> None:
    start = checkpoint.load(earlier)["state"]["model"]
    spec = trial(training={"epochs": 3, "weight_distance": True})
    whole = untimed(train(spec, digits, tmp_path / "whole", device="cpu", start=start))
    begun = train(spec, digits, tmp_path / "cut", device="cpu", start=start)
    parts = [next(begun) for _ in range(stopped_after)]
    begun.close()
    rest = train(
        spec, digits, tmp_path / "cut", device="cpu", start=start, known_epoch=stopped_after
    )
    assert untimed([*parts, *rest]) == whole


def test_what_does_not_fit_is_refused(trial, digits, earlier, tmp_path) -> None:
    start = checkpoint.load(earlier)["state"]["model"]
    wide = trial(model={"options": {"depth": 2, "width": 24}})
    message = r"does not fit the model: .*weight is \(16, 64\) there, \(24, 64\) here"
    with pytest.raises(PreflightError, match=message):
        next(train(wide, digits, tmp_path / "wide", device="cpu", start=start))
    deep = trial(model={"options": {"depth": 3, "width": 16}})
    with pytest.raises(PreflightError, match=r"is missing there, .* here; .*and \d+ more"):
        next(fit(deep, digits, start=start))


def test_a_space_with_a_network_that_does_not_fit_is_refused(digits, earlier) -> None:
    from sweeps.spec import SweepSpec

    start = checkpoint.load(earlier)["state"]["model"]
    spec = SweepSpec(
        name="s",
        model={"options": {"depth": 2, "width": 16}},
        space={"model.options.width": {"choice": [16, 24]}},
    )
    with pytest.raises(PreflightError, match=r"does not fit: .* \(at model.options.width = 24\)"):
        rehearse(spec, digits, start)
    rehearse(spec.model_copy(update={"space": {}}), digits, start)


def test_the_sweeps_copy_is_known_by_its_checksum(trial, earlier, tmp_path) -> None:
    raw = earlier.read_bytes()
    named = StartSpec(sha256=checkpoint.digest(raw), source="there")
    training = trial().training.model_copy(update={"start": named})
    again = "Give it once more: sweeps run FILE --from there"
    with pytest.raises(PreflightError, match=f"No such file.*{again}"):
        weights(training, tmp_path)
    (tmp_path / START_FILE).write_bytes(raw)
    start = model_weights(checkpoint.load(earlier), earlier)
    assert all(torch.equal(start[name], v) for name, v in weights(training, tmp_path).items())
    (tmp_path / START_FILE).write_bytes(raw[:-1] + b"x")
    with pytest.raises(PreflightError, match="is damaged"):
        weights(training, tmp_path)
    other = earlier.with_name("epoch-000001.pt").read_bytes()
    (tmp_path / START_FILE).write_bytes(other)
    with pytest.raises(PreflightError, match=f"is another checkpoint. {again}"):
        weights(training, tmp_path)
    assert weights(trial().training, tmp_path) is None
