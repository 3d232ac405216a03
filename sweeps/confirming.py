"""The section of the spec that says how the chosen configurations are confirmed on test data."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sweeps.fields import Fraction, Frozen, PositiveInt, Scalar

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$")]
Settings = dict[str, Scalar | None]
"""Values at dotted paths of the fixed part; null at an optional section (`model.noise`): none."""


class ConfirmSpec(Frozen):
    """The best configurations and the baselines, trained in full on fresh seeds and tested."""

    top: PositiveInt = 3
    """So many distinct configurations of the search, the best on validation."""
    seeds: int = Field(default=10, ge=2)
    """Fresh seeds for each configuration, the same ones for all: they share initialisation, order
    and augmentation. No trial of the search has one of them."""
    baselines: dict[Name, Settings] = Field(default_factory=dict)
    """What to compare with: named settings over the fixed part. An axis of the space with one
    value is kept; any other that is neither tuned nor set here keeps the fixed part's value."""
    tune: tuple[str, ...] | None = None
    """Axes of the space that each baseline searches for itself, unless it sets them; by default
    `training.optimizer.lr` where the space has it."""
    trials: PositiveInt | None = None
    """Trials of each baseline's search. By default the search's share per axis: its trials ·
    (axes tuned) / (axes varied), rounded up; of a grid all points, `replicates` times."""
    confidence: Fraction = 0.95
    """Of every interval; 1 - confidence is the chance of any false difference over all comparisons
    (Holm)."""
    resamples: int = Field(default=10_000, ge=1000, le=1_000_000)
    """Of the bootstrap, which holds all of them in memory at once."""
