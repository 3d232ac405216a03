"""How far the weights are from where they began, on a logarithmic grid of updates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sweeps.text import at_update

NAME = "weight_distance"
Distances = dict[int, Tensor]
"""Scalars on the device by update, counted from 1 over the whole trial."""


def on_grid(update: int) -> bool:
    """Whether `update` is among 1, 2, 3, 4, 6, 8, 11, 16, …: the rounded powers of sqrt(2)."""
    power = round(2 * (update.bit_length() - 1))
    return any(round(2 ** (k / 2)) == update for k in range(power, power + 3))


class WeightDistance:
    """The L2 norm of all trainable parameters minus their values at the start.

    Weights, gains and biases count alike; running statistics do not (Hoffer et al., 2017).
    The start is a function of the seed: it is made again on a resume, not kept in checkpoints.

    Args:
        parameters: the trainable parameters as they were initialised; they are copied.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        self._parameters = list(parameters)
        self._start = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def note(self, update: int, distances: Distances) -> None:
        """Add the distance after `update`, if that is on the grid; the device is not waited for."""
        if on_grid(update):
            moved = [now - start for now, start in zip(self._parameters, self._start, strict=True)]
            distances[update] = torch.nn.utils.get_total_norm(moved)


def as_metrics(distances: Distances) -> dict[str, float]:
    """`weight_distance@UPDATE` for each; waits for the device."""
    return {at_update(NAME, update): value.item() for update, value in distances.items()}
