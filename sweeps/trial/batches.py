"""Augmented batches from images that live on the device as uint8, a batch at a time.

The images of a data set are put on a device once per process (on a CPU they share numpy's memory)
and kept for the trials that follow on the same worker. Order and augmentation of an epoch
are drawn on the CPU in one go, so they are the same on every device.

Shapes: B batch, C channels, H height = width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
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

_PREPARED_AT_ONCE = {"cpu": 2**17, "cuda": 2**22}
"""Pixel values: batches are prepared together up to that many, which saves small kernels."""
_PARTS = 8
"""Splits kept of a data set: by default all trials share one, else each has its own."""
_EVALUATED_AT_ONCE = 2**22
"""Pixel values in one evaluation batch."""


class Batches(Protocol):
    """What the loop needs of a data set. Training drops the last partial batch of an epoch."""

    updates: int
    """Whole training batches in an epoch."""

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The shuffled, augmented training batches of that epoch, counted from 1, after `start`."""
        ...

    def evaluation(self) -> Iterator[Batch]:
        """All images that `data.evaluate` names in a fixed order, the last partial batch too."""
        ...

    def test(self) -> Iterator[Batch]:
        """All test images, in the same way."""
        ...


@dataclass(frozen=True)
class Part:
    """Indices of the images trained (N,) and evaluated on (V,); per channel scale and bias."""

    train: Tensor
    evaluated: Tensor
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


def parts_of(
    trial: TrialSpec, labels: NDArray[np.int64], test_count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the training images to train on, and of the images to evaluate on.

    The latter are test images with `data.evaluate: test`, and then the former are all; otherwise
    both come from `split`, by `data.split_seed` or else the trial's own seed.

    Raises:
        ValueError: as `split`.
    """
    spec = trial.data
    if spec.evaluate == "test":
        return np.arange(len(labels)), np.arange(test_count)
    seed = trial.seed if spec.split_seed is None else spec.split_seed
    return split(labels, spec.validation, seed)


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order (count,) in which an epoch visits the training images."""
    return torch.randperm(count, generator=generator(seed, "order", epoch))


@dataclass(frozen=True)
class Resident:
    """The images of one data set on one device, with the splits made of them."""

    source: Dataset
    images: Tensor
    labels: Tensor
    parts: dict[tuple[object, ...], Part] = field(default_factory=dict)

    @cached_property
    def test(self) -> Batch:
        """The test images (uint8) and labels, put on the device when first asked for."""
        images = torch.from_dlpack(self.source.test_images).to(self.images.device)
        return images, torch.from_dlpack(self.source.test_labels).to(self.images.device)

    def part(self, trial: TrialSpec) -> Part:
        """The split and normalisation that the trial asks for, made once."""
        spec = trial.data
        seed = trial.seed if spec.split_seed is None else spec.split_seed
        key = (seed, spec.validation, spec.evaluate, spec.normalize)
        if key not in self.parts:
            indices = parts_of(trial, self.labels.cpu().numpy(), len(self.source.test_labels))
            train, evaluated = (torch.from_numpy(i).to(self.images.device) for i in indices)
            mean, std = channel_statistics(self.images, train)
            factors = scale_and_bias(mean, std, self.images.shape[2], spec.normalize)
            while len(self.parts) >= _PARTS:
                del self.parts[next(iter(self.parts))]
            self.parts[key] = Part(train, evaluated, *factors)
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
        self._trained = (self._resident.images, self._resident.labels)
        self._size = trial.training.batch_size
        self.updates = len(self._part.train) // self._size

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `Batches.train`."""
        spec, used = self._trial.data, self.updates * self._size
        count = len(self._part.train)
        order = epoch_order(self._trial.seed, epoch, count)[:used]
        indices = self._part.train[order.to(self._device)]
        draws = draw_augmentation(self._trial.seed, epoch, count, spec.crop_padding)[:used]
        draws = draws.to(self._device)
        pixels = self._resident.images[0].numel()
        at_once = _PREPARED_AT_ONCE[torch.device(self._device).type]
        together = max(1, at_once // (self._size * pixels))
        skipped = start % together  # the groups are those of a whole epoch: the same bits
        for position in range((start - skipped) * self._size, used, together * self._size):
            positions = slice(position, position + together * self._size)
            images, labels = _taken(self._trained, indices[positions])
            if spec.crop_padding:
                images = crop(
                    images, draws[positions].top, draws[positions].left, spec.crop_padding
                )
            if spec.flip:
                images = mirror(images, draws[positions].flip)
            images = normalise(images, self._part.scale, self._part.bias)
            batches = zip(images.split(self._size), labels.split(self._size), strict=True)
            yield from islice(batches, skipped, None)
            skipped = 0

    def evaluation(self) -> Iterator[Batch]:
        """See `Batches.evaluation`."""
        if self._trial.data.evaluate == "test":
            return self.test()
        return self._evaluated(self._trained, self._part.evaluated)

    def test(self) -> Iterator[Batch]:
        """See `Batches.test`."""
        source = self._resident.test
        return self._evaluated(source, torch.arange(len(source[1]), device=self._device))

    def _evaluated(self, source: Batch, indices: Tensor) -> Iterator[Batch]:
        for some in indices.split(evaluation_batch(self._resident.images[0].numel())):
            images, labels = _taken(source, some)
            yield normalise(images, self._part.scale, self._part.bias), labels


def _taken(source: Batch, indices: Tensor) -> Batch:
    """Those images, as they are, and labels."""
    images, labels = source
    return images.index_select(0, indices), labels.index_select(0, indices)


def evaluation_batch(pixels: int) -> int:
    """Images of that many values in a batch without gradients."""
    return max(32, _EVALUATED_AT_ONCE // pixels)
