"""Named random streams: independent generators derived from (seed, name, position) by a hash.

Each consumer draws from a stream of its own, so that what one draws never moves another: two trials
that differ in noise alone share split, initialisation, order and augmentation. Order, augmentation
and noise are derived afresh for each epoch, so the position (epoch) is their whole state: a
resumed trial needs no generator's history. Torch is imported only by `generator`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

Stream = Literal["split", "init", "order", "augmentation", "noise", "global"]
"""`noise` feeds the ghost draws; `global` is torch's own generator (dropout and the like)."""


def seed_of(seed: int, name: Stream, *position: int) -> int:
    """A 63-bit seed: the first bytes of SHA-256 of `seed/name/position`."""
    text = "/".join(map(str, (seed, name, *position)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(
    seed: int, name: Stream, *position: int, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A torch generator at the start of that stream."""
    import torch

    return torch.Generator(device).manual_seed(seed_of(seed, name, *position))


def numpy_generator(seed: int, name: Stream, *position: int) -> np.random.Generator:
    """A numpy generator at the start of that stream."""
    return np.random.default_rng(seed_of(seed, name, *position))
