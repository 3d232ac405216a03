"""The points of benchmarks/search_table.npz, the training of each and its data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy

AXES: dict[str, list[float]] = {
    "training.optimizer.lr": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
    "training.optimizer.momentum": [0.0, 0.9, 0.99],
    "training.optimizer.weight_decay": [1e-5, 1e-3, 1e-2, 1e-1],
    "model.noise.ghost_size": [2, 8, 32, 128],
    "model.noise.strength": [0.0, 0.5, 1.0, 3.0],
}
EPOCHS, SEEDS, VALIDATION, DIVERGED = 27, 6, 10_000, 65_535
TRAINED, BATCH, WIDTH = 3_000, 128, 32
TABLE = Path(__file__).with_name("search_table.npz")
SHAPE = tuple(len(values) for values in AXES.values())
PARTS = {
    "whole": (slice(None),) * len(SHAPE),
    "corner": (slice(0, 6), slice(None), slice(None), slice(0, 3), slice(1, 4)),
}
"""Levels of each axis that a search has; the corner's best lies at the end of three of them."""


def trial(place: tuple[int, ...], seed: int, root: str = "data") -> Any:
    """The spec of one training."""
    from sweeps.spec import SweepSpec

    images = TRAINED + VALIDATION
    data = {"name": "fashion_mnist", "root": root, "limit": images}
    tree = {
        "name": "table",
        "data": data | {"validation": VALIDATION / images},
        "model": {"name": "mlp", "options": {"depth": 1, "width": WIDTH}, "noise": {}},
        "training": {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": {"momentum": 0.9}},
    }
    point = {path: values[k] for (path, values), k in zip(AXES.items(), place, strict=True)}
    point["training.optimizer.nesterov"] = point["training.optimizer.momentum"] > 0
    return SweepSpec.model_validate(tree).trial(point, seed=seed)


def pooled(root: str) -> Any:
    """The data set, each pixel the mean of four."""
    from sweeps.trial import datasets

    data = datasets.load(trial((0,) * len(SHAPE), 0, root).data)

    def small(images: numpy.ndarray) -> numpy.ndarray:
        means = images.reshape(-1, 1, 14, 2, 14, 2).mean((3, 5))
        return numpy.rint(means).astype("uint8")

    train, test = small(data.train_images), small(data.test_images)
    return replace(data, train_images=train, test_images=test)
