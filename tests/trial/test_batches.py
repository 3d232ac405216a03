import numpy as np
import pytest
import torch

from sweeps.trial import batches as batches_module
from sweeps.trial.augment import (
    channel_statistics,
    crop,
    draw_augmentation,
    mirror,
    normalise,
    scale_and_bias,
)
from sweeps.trial.batches import ResidentBatches, epoch_order, resident, split


def reference(image, top, left, flip, padding):
    """One image (C, H, H) cropped and mirrored pixel by pixel, as one would write it first."""
    channels, size, _ = image.shape
    out = np.zeros_like(image)
    for c in range(channels):
        for y in range(size):
            for x in range(size):
                column = size - 1 - x if flip else x
                from_y, from_x = y + top - padding, column + left - padding
                if 0 <= from_y < size and 0 <= from_x < size:
                    out[c, y, x] = image[c, from_y, from_x]
    return out


@pytest.mark.parametrize(("channels", "size", "padding"), [(1, 5, 1), (3, 8, 4), (2, 4, 6)])
def test_crop_and_mirror_are_the_slow_reference(channels, size, padding):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, channels, size, size), dtype=np.uint8)
    draws = draw_augmentation(seed=1, epoch=1, count=40, padding=padding)
    fast = mirror(crop(torch.from_numpy(images), draws.top, draws.left, padding), draws.flip)
    for i in range(40):
        wanted = reference(images[i], draws.top[i], draws.left[i], draws.flip[i], padding)
        assert np.array_equal(fast[i].numpy(), wanted)


def test_augmentation_draws_are_uniform():
    draws = draw_augmentation(seed=0, epoch=1, count=20_000, padding=2)
    for offsets in (draws.top, draws.left):
        # binomial(20000, 1/5): standard deviation 57
        assert (torch.bincount(offsets, minlength=5) - 4000).abs().max() < 250
    assert abs(draws.flip.float().mean() - 0.5) < 0.02


def test_epochs_draw_anew_and_repeatably():
    first, again, other = (draw_augmentation(0, e, 100, 4) for e in (1, 1, 2))
    assert torch.equal(first.top, again.top)
    assert not torch.equal(first.top, other.top)
    assert torch.equal(epoch_order(0, 1, 100), epoch_order(0, 1, 100))
    assert not torch.equal(epoch_order(0, 1, 100), epoch_order(0, 2, 100))
    assert epoch_order(0, 1, 100).sort().values.tolist() == list(range(100))


def test_statistics_are_those_of_the_chosen_images():
    images = np.random.default_rng(0).integers(0, 256, (2500, 3, 4, 4), dtype=np.uint8)
    chosen = np.arange(0, 2500, 2)
    mean, std = channel_statistics(torch.from_numpy(images), torch.from_numpy(chosen))
    np.testing.assert_allclose(mean, images[chosen].mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, images[chosen].std((0, 2, 3)), rtol=1e-9)


def test_normalise():
    images = torch.randint(0, 256, (7, 2, 3, 3), dtype=torch.uint8)
    mean, std = torch.tensor([100.0, 30.0]).double(), torch.tensor([50.0, 0.0]).double()
    found = normalise(images, *scale_and_bias(mean, std, 3, normalize=True))
    wanted = (images.double() - mean.view(2, 1, 1)) / torch.tensor([50.0, 1.0]).view(2, 1, 1)
    torch.testing.assert_close(found, wanted.float(), atol=2e-5, rtol=1e-5)
    plain = normalise(images, *scale_and_bias(mean, std, 3, normalize=False))
    torch.testing.assert_close(plain, images / 255, atol=1e-6, rtol=1e-6)


def test_split_covers_all_and_keeps_class_shares(digits):
    train, held_out = split(digits.train_labels, 0.2, seed=0)
    assert sorted([*train, *held_out]) == list(range(1500))
    assert len(held_out) == 300
    shares = np.bincount(digits.train_labels[held_out]) / np.bincount(digits.train_labels)
    assert np.abs(shares - 0.2).max() < 0.01


def test_split_is_by_seed(digits):
    a, b, again = (split(digits.train_labels, 0.2, seed)[1] for seed in (0, 1, 0))
    assert np.array_equal(a, again)
    assert len(set(a) & set(b)) < 150


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_split_must_leave_images_on_both_sides(share):
    with pytest.raises(ValueError, match=r"data\.validation must leave"):
        split(np.array([0, 1] * 5), share, 0)


def test_batches_are_the_slow_reference(tiny, trial):
    spec = trial(data={"crop_padding": 2, "flip": True}, training={"batch_size": 16}, seed=3)
    train, _ = split(tiny.train_labels, 0.2, 0)
    order = epoch_order(3, 5, 40)
    draws = draw_augmentation(3, 5, 40, 2)
    pixels = tiny.train_images[train].astype(float)
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    found = [*ResidentBatches(spec, tiny, "cpu").train(5)]
    assert [len(labels) for _, labels in found] == [16, 16]
    images, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    for i in range(32):
        index = train[order[i]]
        raw = reference(tiny.train_images[index], draws.top[i], draws.left[i], draws.flip[i], 2)
        wanted = (raw - mean[:, None, None]) / std[:, None, None]
        np.testing.assert_allclose(images[i], wanted, atol=1e-5)
        assert labels[i] == tiny.train_labels[index]


def test_preparing_batches_together_changes_nothing(tiny, trial, monkeypatch):
    spec = trial(data={"crop_padding": 1, "flip": True}, training={"batch_size": 7})
    found = []
    for at_once in (1, 2 * 7 * 108, 10**9):
        monkeypatch.setitem(batches_module._PREPARED_AT_ONCE, "cpu", at_once)
        found.append([*ResidentBatches(spec, tiny, "cpu").train(1)])
    for other in found[1:]:
        for (x, y), (u, v) in zip(found[0], other, strict=True):
            assert torch.equal(x, u)
            assert torch.equal(y, v)


def test_training_drops_the_last_partial_batch_and_validation_keeps_it(tiny, trial, monkeypatch):
    monkeypatch.setattr(batches_module, "evaluation_batch", lambda pixels: 4)
    batches = ResidentBatches(trial(training={"batch_size": 12}), tiny, "cpu")
    assert batches.updates == 3
    assert [len(labels) for _, labels in batches.train(1)] == [12, 12, 12]
    assert [len(labels) for _, labels in batches.evaluation()] == [4, 4, 2]


def test_an_epoch_visits_training_images_once_and_validation_is_apart(trial):
    images = np.arange(60, dtype=np.uint8).repeat(4).reshape(60, 1, 2, 2)
    data = batches_module.Dataset(images, np.arange(60) % 2, images[:0], np.zeros(0, int), 2)
    spec = trial(data={"normalize": False}, training={"batch_size": 8})
    batches = ResidentBatches(spec, data, "cpu")
    seen = torch.cat([x[:, 0, 0, 0] for x, _ in batches.train(1)]).mul(255).round().tolist()
    held = torch.cat([x[:, 0, 0, 0] for x, _ in batches.evaluation()]).mul(255).round().tolist()
    assert len(seen) == len(set(seen)) == 48
    assert len(held) == len(set(held)) == 12
    assert not set(seen) & set(held)


def test_one_copy_per_process_and_device(tiny):
    first = resident(tiny, "cpu")
    assert first.images.data_ptr() == tiny.train_images.ctypes.data
    views = batches_module.Dataset(
        tiny.train_images[:], tiny.train_labels[:], tiny.test_images, tiny.test_labels, 2
    )
    assert resident(views, "cpu") is first
    other = batches_module.Dataset(
        tiny.train_images, 1 - tiny.train_labels, tiny.test_images, tiny.test_labels, 2
    )
    assert resident(other, "cpu").labels[0] == 1
    assert resident(tiny, "cpu") is not first


def test_read_only_arrays_train_without_a_copy(tiny, trial):
    images, labels = tiny.train_images.copy(), tiny.train_labels.copy()
    images.flags.writeable = labels.flags.writeable = False
    data = batches_module.Dataset(images, labels, images[:0], labels[:0], 2)
    before = images.copy()
    spec = trial(data={"crop_padding": 1, "flip": True}, training={"batch_size": 8})
    batches = ResidentBatches(spec, data, "cpu")
    assert sum(len(y) for _, y in batches.train(1)) == 40
    assert resident(data, "cpu").images.data_ptr() == images.ctypes.data
    assert np.array_equal(images, before)


@pytest.mark.parametrize("together", [1, 2 * 8 * 108, 2**17])
def test_an_epoch_can_be_entered_at_any_batch(trial, tiny, same, monkeypatch, together):
    monkeypatch.setitem(batches_module._PREPARED_AT_ONCE, "cpu", together)
    spec = trial(data={"crop_padding": 2, "flip": True}, training={"batch_size": 8})
    batches = ResidentBatches(spec, tiny, "cpu")
    whole = list(batches.train(3))
    for start in range(len(whole) + 1):
        assert same(list(batches.train(3, start)), whole[start:])
