"""What holds for models built elsewhere, torchvision's and the user's.

They keep the norms they are built with. Ghost noise is added at these norms by
`gni.add_ghost_noise`: in a batch norm between normalisation and gain, after a layer or group norm.
"""

import dataclasses

from torch import nn

from models.config import NoiseConfig, NormConfig, changes
from models.norms import add_noise


def require_as_built(label: str, norm: NormConfig) -> None:
    """Raise ValueError unless `norm` is PLAIN but for its noise."""
    fields = [field.name for field in dataclasses.fields(norm) if field.name != "noise"]
    if changed := changes(norm, *fields):
        raise ValueError(
            f"{label} keeps the norms it is built with and takes norm.noise alone, got "
            f"{', '.join(changed)}; leave that out, or choose one of our own models"
        )


def add_noise_as_built(label: str, model: nn.Module, noise: NoiseConfig | None) -> None:
    """Put the noise, if any, at the norms of `model`, in place; ValueError without such norms."""
    if noise is None:
        return
    if add_noise(model, noise) == 0:
        raise ValueError(
            f"{label} must have batch, layer or group norms to take ghost noise, got none; leave "
            "norm.noise out, or place gni.GhostNoise in a model of your own"
        )
