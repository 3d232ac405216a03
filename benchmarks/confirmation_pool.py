"""Real trainings for benchmarks/confirmation.py: one configuration on many seeds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sweeps.spec import SweepSpec
from sweeps.trial.datasets import load
from sweeps.trial.loop import fit


@dataclass(frozen=True)
class Pool:
    """By training: its validation accuracy after each epoch, and its test accuracy at the end."""

    curves: tuple[tuple[float, ...], ...]
    tested: tuple[float, ...]


def pool(trainings: int, epochs: int) -> Pool:
    """Train a small network with ghost noise on digits, once on each seed.

    Split and test images are those of all; start, order and noise are the seed's.
    """
    torch.set_num_threads(1)
    spec = SweepSpec(
        name="pool",
        model={"options": {"depth": 2, "width": 32}, "noise": {"ghost_size": 16}},
        training={"epochs": epochs, "batch_size": 64},
    )
    data = load(spec.data)
    curves, tested = [], []
    for seed in range(trainings):
        results = [r.metrics for r in fit(spec.trial({}, seed, confirm=True), data)]
        curves.append(tuple(metrics["val_accuracy"] for metrics in results))
        tested.append(results[-1]["test_accuracy"])
    return Pool(tuple(curves), tuple(tested))
