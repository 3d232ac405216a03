"""Synthetic stand-ins in the shape of data sets that are not there, for smoke runs alone.

Each function has the form of a user's own data (`sweeps.trial.standins:cifar100` in a spec): random
uint8 images, two of each class to train on and one to test. What a network learns of them means
nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]

SHAPES = {
    "mnist": (10, 1, 28),
    "fashion_mnist": (10, 1, 28),
    "cifar10": (10, 3, 32),
    "cifar100": (100, 3, 32),
    "image_folder": (1000, 3, 224),
}
"""Classes, channels and side of the data sets that have a stand-in; image_folder is ImageNet's."""
FEWEST = 8192
"""Images to train on, where they are small: twice the largest batch of the ready sweeps."""


def mnist() -> Arrays:
    """10 classes of (1, 28, 28)."""
    return _random("mnist")


def fashion_mnist() -> Arrays:
    """10 classes of (1, 28, 28)."""
    return _random("fashion_mnist")


def cifar10() -> Arrays:
    """10 classes of (3, 32, 32)."""
    return _random("cifar10")


def cifar100() -> Arrays:
    """100 classes of (3, 32, 32)."""
    return _random("cifar100")


def image_folder() -> Arrays:
    """1000 classes of (3, 224, 224), as ImageNet has; one image of each."""
    return _random("image_folder")


def _random(name: str) -> Arrays:
    classes, channels, side = SHAPES[name]
    rng = np.random.default_rng(0)
    count = classes if side > 32 else FEWEST
    images = rng.integers(0, 256, (count, channels, side, side), dtype=np.uint8)
    labels = np.arange(count) % classes
    some = slice(0, max(classes, 512) if side <= 32 else 64)
    return {
        "train_images": images,
        "train_labels": labels,
        "test_images": images[some][:, :, ::-1],
        "test_labels": labels[some],
    }
