"""From the `model` section to a network, with weights from the trial's own init stream."""

from __future__ import annotations

import torch
from torch import nn

import models
from sweeps.spec import GROUPED, ModelSpec, TrialSpec
from sweeps.trial.imports import importable_here
from sweeps.trial.streams import seed_of


def norm_config(spec: ModelSpec) -> models.NormConfig:
    """The sites as `models` wants them described."""
    noise = models.NoiseConfig(**spec.noise.model_dump()) if spec.noise else None
    dropout = models.DropoutConfig(**spec.dropout.model_dump()) if spec.dropout else None
    conv = models.ConvConfig(**spec.conv.model_dump())
    fields = spec.norm.model_dump()
    if spec.norm.kind not in GROUPED:
        fields["ghost_size"] = None
    if spec.norm.kind != "ghost_batch":
        fields["running"] = "mean"
    return models.NormConfig(**fields, noise=noise, dropout=dropout, conv=conv)


def build_model(trial: TrialSpec, *, in_channels: int, image_size: int, classes: int) -> nn.Module:
    """The trial's network on the CPU; torch's own generator is left as it was.

    Raises:
        ValueError: a model, option or norm that `models.create` refuses.
    """
    with torch.random.fork_rng(devices=[]), importable_here():
        torch.default_generator.manual_seed(seed_of(trial.seed, "init"))
        return models.create(
            trial.model.name,
            in_channels=in_channels,
            image_size=image_size,
            classes=classes,
            norm=norm_config(trial.model),
            **trial.model.options,
        )
