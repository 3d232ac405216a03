"""A data set in memory, and the check of arrays that a user's function returned.

Images are uint8 (N, C, H, W) with H = W, labels int64 (N,) from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIELDS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Dataset:
    """A whole data set in memory; read-only arrays will do, nothing here writes to them.

    Pickles by protocol 5 out of band, so a process that receives it shares the memory.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: int

    @property
    def in_channels(self) -> int:
        """Channels C of an image."""
        return self.train_images.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width of an image, in pixels."""
        return self.train_images.shape[2]

    def keep(self, train: NDArray[np.int64], test: NDArray[np.int64]) -> Dataset:
        """The same with those training and test images alone."""
        return replace(
            self,
            train_images=self.train_images[train],
            train_labels=self.train_labels[train],
            test_images=self.test_images[test],
            test_labels=self.test_labels[test],
        )


def from_arrays(raw: Any, source: str) -> Dataset:
    """A data set from what a user's function returned.

    Args:
        raw: a dict with, or a tuple in the order of: train_images (N, C, H, W) or (N, H, W) uint8,
            train_labels (N,) integers from 0, test_images, test_labels. Torch tensors will do.
        source: whose arrays they are, for messages.

    Raises:
        ValueError: a missing or wrongly shaped array, with the rule and what was found.
    """
    if isinstance(raw, tuple) and len(raw) == len(FIELDS):
        raw = dict(zip(FIELDS, raw, strict=True))
    if not isinstance(raw, dict) or set(raw) != set(FIELDS):
        found = list(raw) if isinstance(raw, dict) else type(raw).__name__
        raise ValueError(
            f"{source} must return a dict or tuple of {', '.join(FIELDS)}; got {found}"
        )
    train = _checked(raw["train_images"], raw["train_labels"], f"{source}: train")
    test = _checked(raw["test_images"], raw["test_labels"], f"{source}: test")
    if len(test[0]) and test[0].shape[1:] != train[0].shape[1:]:
        shapes = f"train {train[0].shape[1:]}, test {test[0].shape[1:]}"
        raise ValueError(f"{source}: train and test images must be of one shape; got {shapes}")
    classes = int(train[1].max()) + 1
    absent = sorted(set(range(classes)) - set(train[1].tolist()))
    if absent or classes < 2:
        raise ValueError(
            f"{source}: training labels must cover the classes 0, 1, … (at least 2); the largest "
            f"is {classes - 1} and there is no image of {absent[:10]}"
        )
    if len(test[1]) and int(test[1].max()) >= classes:
        raise ValueError(f"{source}: test label {test[1].max()} is not among {classes} classes")
    return Dataset(*train, *test, classes=classes)


def _checked(images: Any, labels: Any, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8:
        remedy = "Scale to 0..255 and convert with .astype(np.uint8)"
        raise ValueError(f"{part}_images must be uint8; got {images.dtype}. {remedy}")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        rule = "must be (N, C, H, W) or (N, H, W) with H = W"
        raise ValueError(f"{part}_images {rule}; got shape {images.shape}")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        rule = f"must be {len(images)} integers, one for each image"
        raise ValueError(f"{part}_labels {rule}; got {labels.dtype} of shape {labels.shape}")
    if len(labels) and labels.min() < 0:
        raise ValueError(f"{part}_labels must start from 0; got {labels.min()}")
    if not len(labels) and part.endswith("train"):
        raise ValueError(f"{part}_images must hold at least one image; got none")
    return np.ascontiguousarray(images), np.ascontiguousarray(labels, dtype=np.int64)
