"""Augmented batches from images that live on the device as uint8, a batch at a time.

The training images of a data set are put on a device once per process (on a CPU they share numpy's
memory) and kept for the trials that follow on the same worker. Order and augmentation of an epoch
are drawn on the CPU in one go, so they are the same on every device.

Shapes: B batch, C channels, H height = width.
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
from sweeps.trial.augment import (
    channel_statistics,
    crop,
    draw_augmentation,
    mirror,
    normalise,
    scale_and_bias,
)
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
