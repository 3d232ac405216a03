"""Augmented batches from images that live on the device as uint8, a batch at a time.

The training images of a data set are put on a device once per process (on a CPU they share numpy's
memory) and kept for the trials that follow on the same worker. Order and augmentation of an epoch
are drawn on the CPU in one go, so they are the same on every device.

Shapes: B batch, C channels, H height = width, P padding, M images of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeps.spec import TrialSpec
from sweeps.trial.arrays import Dataset
from sweeps.trial.datasets import stratified_order
from sweeps.trial.streams import generator, numpy_generator

Batch = tuple[Tensor, Tensor]
"""Normalised float32 images (B, C, H, H) and int64 labels (B,)."""

_PREPARED_AT_ONCE = 2**17
"""Pixel values: batches are prepared together up to that many, which saves small kernels."""
_EVALUATED_AT_ONCE = 2**22
"""Pixel values in one evaluation batch."""


class Batches(Protocol):
    """What the loop needs of a data set. Training drops the last partial batch of an epoch."""

    updates: int
    """Whole training batches in an epoch."""

    def train(self, epoch: int) -> Iterator[Batch]:
        """The shuffled, augmented training batches of that epoch, counted from 1."""
        ...

    def validation(self) -> Iterator[Batch]:
        """All validation images in a fixed order, the last partial batch included."""
        ...


@dataclass(frozen=True)
class Part:
    """A split: indices of training (N,) and validation (V,) images; per channel scale and bias."""

    train: Tensor
    validation: Tensor
    scale: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Augmentation:
    """An epoch's draws, by position in its order: crop offsets in 0..2P and flips, each (M,)."""

    top: Tensor
    left: Tensor
    flip: Tensor

    def __getitem__(self, positions: slice) -> Augmentation:
        return Augmentation(self.top[positions], self.left[positions], self.flip[positions])

    def to(self, device: str) -> Augmentation:
        """The same on a device."""
        return Augmentation(self.top.to(device), self.left.to(device), self.flip.to(device))


def split(
    labels: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the training and the validation images, both sorted, stratified by class.

    Raises:
        ValueError: one of the two would be empty.
    """
    order = stratified_order(labels, numpy_generator(seed, "split"))
    held_out = round(len(labels) * share)
    if not 0 < held_out < len(labels):
        rule = "data.validation must leave images to train and to validate on"
        raise ValueError(f"{rule}; {share} of {len(labels)} images is {held_out}")
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order (count,) in which an epoch visits the training images."""
    return torch.randperm(count, generator=generator(seed, "order", epoch))


def draw_augmentation(seed: int, epoch: int, count: int, padding: int) -> Augmentation:
    """An epoch's crops and flips, for the first `count` positions of its order."""
    rng = generator(seed, "augmentation", epoch)
    top = torch.randint(2 * padding + 1, (count,), generator=rng)
    left = torch.randint(2 * padding + 1, (count,), generator=rng)
    return Augmentation(top, left, torch.randint(2, (count,), generator=rng, dtype=torch.uint8))


def crop(images: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Pad (B, C, H, H) with zeros and cut an H×H window out of each image at its (top, left)."""
    count, channels, size, _ = images.shape
    side = size + 2 * padding
    padded = images.new_zeros(count, channels, side, side)
    padded[:, :, padding : padding + size, padding : padding + size] = images
    # One row per place where a window could start: index_select then copies each in one go,
    # 7 times as fast on a CPU as indexing with the offsets, at (256, 3, 32, 32).
    stride = (1, side * side, side, 1)
    reach = (channels - 1) * side * side + (size - 1) * side + size
    places = padded.numel() - reach + 1
    windows = padded.as_strided((places, channels, size, size), stride)
    first = torch.arange(count, device=images.device) * (channels * side * side)
    return windows.index_select(0, first + top * side + left)


def mirror(images: Tensor, flip: Tensor) -> Tensor:
    """Mirror left to right the uint8 images whose `flip` (B,) is 1."""
    # Bits are mixed under a mask: torch.where with a broadcast condition takes 6 times as long.
    mask = flip.neg().view(-1, 1, 1, 1)
    return images.flip(-1).bitwise_xor_(images).bitwise_and_(mask).bitwise_xor_(images)


def normalise(images: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """`scale · image + bias` as float32; scale and bias (C·H·H,) hold a value for each pixel."""
    flat = images.flatten(1).to(torch.float32)
    return torch.addcmul(bias, flat, scale, out=flat).view(images.shape)


def channel_statistics(images: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of uint8 images, from exact integer sums, in float64."""
    total = torch.zeros(images.shape[1], dtype=torch.int64, device=images.device)
    squares = torch.zeros_like(total)
    for some in indices.split(1024):
        pixels = images.index_select(0, some).to(torch.int32)
        total += pixels.sum((0, 2, 3))
        squares += pixels.square_().sum((0, 2, 3))
    count = len(indices) * images.shape[2] * images.shape[3]
    mean = total.double() / count
    return mean, (squares.double() / count - mean.square()).clamp_min_(0).sqrt_()


def scale_and_bias(mean: Tensor, std: Tensor, size: int, normalize: bool) -> tuple[Tensor, Tensor]:
    """`(x - mean) / std` as factors for `normalise`; `x / 255` if not `normalize`."""
    std = torch.where(std > 0, std, 1.0)
    scale = 1 / std if normalize else torch.full_like(std, 1 / 255)
    bias = -mean / std if normalize else torch.zeros_like(std)
    pixels = size * size
    return scale.float().repeat_interleave(pixels), bias.float().repeat_interleave(pixels)


@dataclass(frozen=True)
class Resident:
    """The training images of one data set on one device, with the splits made of them."""

    source: Dataset
    images: Tensor
    labels: Tensor
    parts: dict[tuple[int, float, bool], Part] = field(default_factory=dict)

    def part(self, trial: TrialSpec) -> Part:
        """The split and normalisation that the trial asks for, made once."""
        spec = trial.data
        key = (spec.split_seed, spec.validation, spec.normalize)
        if key not in self.parts:
            indices = split(self.labels.cpu().numpy(), spec.validation, spec.split_seed)
            train, held_out = (torch.from_numpy(i).to(self.images.device) for i in indices)
            mean, std = channel_statistics(self.images, train)
            factors = scale_and_bias(mean, std, self.images.shape[2], spec.normalize)
            self.parts[key] = Part(train, held_out, *factors)
        return self.parts[key]


_residents: dict[str, Resident] = {}


def resident(data: Dataset, device: str) -> Resident:
    """The data set's training images on that device: the copy made before, or a new one.

    A process keeps one data set per device, that of the last trial.
    """
    kept = _residents.get(device)
    if kept is None or _memory(kept.source) != _memory(data):
        _residents.pop(device, None)
        images, labels = torch.from_dlpack(data.train_images), torch.from_dlpack(data.train_labels)
        kept = Resident(data, images.to(device), labels.to(device))
        _residents[device] = kept
    return kept


def _memory(data: Dataset) -> tuple[object, ...]:
    """Where the training arrays lie: a worker gets one object's arrays as views of one memory."""
    images, labels = data.train_images, data.train_labels
    return images.ctypes.data, images.shape, labels.ctypes.data


class ResidentBatches:
    """Batches of a data set in memory."""

    def __init__(self, trial: TrialSpec, data: Dataset, device: str) -> None:
        self._trial, self._device = trial, device
        self._resident = resident(data, device)
        self._part = self._resident.part(trial)
        self._size = trial.training.batch_size
        self.updates = len(self._part.train) // self._size

    def train(self, epoch: int) -> Iterator[Batch]:
        """See `Batches.train`."""
        spec, used = self._trial.data, self.updates * self._size
        order = epoch_order(self._trial.seed, epoch, len(self._part.train))[:used]
        indices = self._part.train[order.to(self._device)]
        draws = draw_augmentation(self._trial.seed, epoch, used, spec.crop_padding)
        draws = draws.to(self._device)
        pixels = self._resident.images[0].numel()
        together = max(1, _PREPARED_AT_ONCE // (self._size * pixels)) * self._size
        for start in range(0, used, together):
            positions = slice(start, start + together)
            images, labels = self._raw(indices[positions])
            if spec.crop_padding:
                images = crop(
                    images, draws[positions].top, draws[positions].left, spec.crop_padding
                )
            if spec.flip:
                images = mirror(images, draws[positions].flip)
            images = normalise(images, self._part.scale, self._part.bias)
            yield from zip(images.split(self._size), labels.split(self._size), strict=True)

    def validation(self) -> Iterator[Batch]:
        """See `Batches.validation`."""
        size = evaluation_batch(self._resident.images[0].numel())
        for indices in self._part.validation.split(size):
            images, labels = self._raw(indices)
            yield normalise(images, self._part.scale, self._part.bias), labels

    def _raw(self, indices: Tensor) -> Batch:
        images = self._resident.images.index_select(0, indices)
        return images, self._resident.labels.index_select(0, indices)


def evaluation_batch(pixels: int) -> int:
    """Images of that many values in a batch without gradients."""
    return max(32, _EVALUATED_AT_ONCE // pixels)
