"""Batches of an image folder that does not fit into memory, decoded as they are needed.

Training takes a random part of each image (RandomResizedCrop: 8 to 100 % of its area, 3:4 to 4:3)
and mirrors half of them if `data.flip` says so; evaluation takes the middle square of 7/8 of the
shorter side. What is cut is a function of (seed, epoch, position), so it depends neither on threads
nor on where one resumed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeps.spec import TrialSpec
from sweeps.trial.augment import channel_statistics, normalise, scale_and_bias
from sweeps.trial.batches import Batch, epoch_order, evaluation_batch, parts_of
from sweeps.trial.folder import ImageFiles, Pixels, centre_square, open_image, resized
from sweeps.trial.streams import numpy_generator

EVALUATED_SHARE = 7 / 8
"""Side of the evaluated square over the image's shorter side: 224 of 256."""
STATISTICS_IMAGES = 1024
"""Training images, evenly spread, whose mean and deviation stand for all."""
_BATCHES_AHEAD = 2

Decode = Callable[[int, int], Pixels]
"""Index of an image and its position in the epoch -> pixels (C, S, S)."""
Box = tuple[float, float, float, float]


def random_box(size: tuple[int, int], rng: np.random.Generator) -> Box:
    """A random part (left, top, right, bottom) of a (width, height) image.

    Area uniform in 8 to 100 %, the logarithm of the aspect ratio uniform between 3:4 and 4:3; after
    ten draws that do not fit, the middle square.
    """
    width, height = size
    for _ in range(10):
        area = width * height * rng.uniform(0.08, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.integers(width - w + 1), rng.integers(height - h + 1)
            return float(left), float(top), float(left + w), float(top + h)
    return centre_square(size)


class StreamedBatches:
    """Batches decoded by `trial.threads` threads, two batches ahead of the training."""

    def __init__(self, trial: TrialSpec, files: ImageFiles, device: str) -> None:
        self._trial, self._files, self._device = trial, files, device
        spec = trial.data
        self._labels = np.concatenate([files.train_labels, files.test_labels])
        self._indices, self._evaluated = parts_of(trial, files.train_labels, len(files.test_labels))
        self._size = trial.training.batch_size
        self.updates = len(self._indices) // self._size
        step = max(1, len(self._indices) // STATISTICS_IMAGES)
        mean, std = _statistics(files, self._indices[::step])
        factors = scale_and_bias(mean, std, files.image_size, spec.normalize)
        self._scale, self._bias = (factor.to(device) for factor in factors)

    def train(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `Batches.train`."""
        order = epoch_order(self._trial.seed, epoch, len(self._indices)).numpy()
        order = self._indices[order[: self.updates * self._size]]
        decode = partial(self._decode_for_training, epoch)
        return self._batches(order, self._size, decode, start * self._size)

    def evaluation(self) -> Iterator[Batch]:
        """See `Batches.evaluation`."""
        if self._trial.data.evaluate == "test":
            return self.test()
        return self._batches(self._evaluated, self._evaluated_at_once, self._decode_to_evaluate)

    def test(self) -> Iterator[Batch]:
        """See `Batches.test`."""
        count = len(self._files.train_labels)  # test images are numbered after the training images
        order = np.arange(count, count + len(self._files.test_labels))
        return self._batches(order, self._evaluated_at_once, self._decode_to_evaluate)

    @property
    def _evaluated_at_once(self) -> int:
        return evaluation_batch(self._files.in_channels * self._files.image_size**2)

    def _batches(
        self, order: NDArray[np.int64], size: int, decode: Decode, first: int = 0
    ) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self._trial.threads)
        ahead: deque[tuple[list[Future[Pixels]], NDArray[np.int64]]] = deque()
        try:
            for start in range(first, len(order), size):
                indices = order[start : start + size]
                jobs = [pool.submit(decode, int(i), start + k) for k, i in enumerate(indices)]
                ahead.append((jobs, self._labels[indices]))
                if len(ahead) > _BATCHES_AHEAD:
                    yield self._finished(*ahead.popleft())
            while ahead:
                yield self._finished(*ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _finished(self, jobs: list[Future[Pixels]], labels: NDArray[np.int64]) -> Batch:
        images = self._moved(np.stack([job.result() for job in jobs]))
        return normalise(images, self._scale, self._bias), self._moved(labels)

    def _moved(self, array: NDArray[Any]) -> Tensor:
        """The same on the device. A GPU takes it out of pinned memory, and nothing waits for it."""
        tensor = torch.from_numpy(array)
        if torch.device(self._device).type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)

    def _decode_for_training(self, epoch: int, index: int, position: int) -> Pixels:
        rng = numpy_generator(self._trial.seed, "augmentation", epoch, position)
        image = open_image(self._files, str(self._files.train_paths[index]))
        pixels = resized(image, random_box(image.size, rng), self._files.image_size)
        mirrored = self._trial.data.flip and rng.random() < 0.5
        return pixels[..., ::-1] if mirrored else pixels

    def _decode_to_evaluate(self, index: int, position: int) -> Pixels:
        files, count = self._files, len(self._files.train_labels)
        in_train = index < count
        path = files.train_paths[index] if in_train else files.test_paths[index - count]
        return _middle(files, str(path))


_known_statistics: dict[tuple[str, int, bytes], tuple[Tensor, Tensor]] = {}


def _statistics(files: ImageFiles, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (C,) of those training images, decoded once per process."""
    key = (files.root, files.image_size, indices.tobytes())
    if key not in _known_statistics:
        paths = [str(path) for path in files.train_paths[indices]]
        images = torch.from_numpy(np.stack([_middle(files, path) for path in paths]))
        _known_statistics[key] = channel_statistics(images, torch.arange(len(images)))
    return _known_statistics[key]


def _middle(files: ImageFiles, path: str) -> Pixels:
    image = open_image(files, path)
    return resized(image, centre_square(image.size, EVALUATED_SHARE), files.image_size)
