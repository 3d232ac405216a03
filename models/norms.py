"""One configuration makes every norm site of a model.

A site is a place where a model normalises. `norm2d` and `norm1d` make one from a `NormConfig`;
`_MAKERS` maps each kind of norm to its maker, and is where another kind is added.

Where the noise goes: batch and ghost batch norm → noise → gain and bias, as in the convolutional
nets of the ghost noise paper (Kosson, Fan, Jaggi, 2023, arXiv 2305.17205); layer and group norm
with their gain and bias → noise, as in its ViT; without a norm the noise stands alone.

No maker draws random numbers, so neither norm nor noise changes a model's initial weights.
Shapes: B batch, C channels or features.
"""

from collections import OrderedDict
from collections.abc import Callable
from math import gcd
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

import gni
from models.checks import require_count
from models.config import NoiseConfig, NormConfig, NormKind

Dims = Literal[1, 2]
"""1 for vectors (B, C), 2 for maps (B, C, H, W)."""

_NOISY_BATCH_NORMS = (
    gni.GhostNoiseBatchNorm1d,
    gni.GhostNoiseBatchNorm2d,
    gni.GhostNoiseBatchNorm3d,
)


def norm1d(config: NormConfig, features: int) -> nn.Module:
    """Make a norm site for vectors, Float (B, features) → the same.

    Raises:
        ValueError: features < 1; groups that do not divide the features, or leave one alone,
            which a norm of its group would turn into zero.
    """
    return _site(config, features, 1)


def norm2d(config: NormConfig, channels: int) -> nn.Module:
    """Make a norm site for maps, Float (B, channels, H, W) → the same.

    Raises:
        ValueError: channels < 1; groups that do not divide the channels.
    """
    return _site(config, channels, 2)


def add_noise(model: nn.Module, noise: NoiseConfig) -> int:
    """Put the noise at the norms a model has, in place; return how many there are.

    In a batch norm between normalisation and gain, after a layer or group norm. Parameters keep
    their names. Noise layers that stand alone in the model stay as they are.

    Raises:
        ValueError: as `gni.add_ghost_noise`.
    """
    alone = {id(module) for module in model.modules() if isinstance(module, gni.GhostNoise)}
    sites = gni.add_ghost_noise(model, noise.ghost_size, noise.strength)
    for module in model.modules():
        if isinstance(module, _NOISY_BATCH_NORMS):
            module.noise_eps, module.shift, module.scale = noise.eps, noise.shift, noise.scale
        elif isinstance(module, gni.GhostNoise) and id(module) not in alone:
            module.eps, module.shift, module.scale = noise.eps, noise.shift, noise.scale
    return sites


def _site(config: NormConfig, channels: int, dims: Dims) -> nn.Module:
    require_count("the channels of a norm site", channels, 1, "widen the model")
    if dims == 1:
        _require_pairs(config)
    return _MAKERS[config.kind](config, channels, dims)


def _batch(config: NormConfig, channels: int, dims: Dims) -> nn.Module:
    make = nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d
    noise = config.noise
    if noise is None:
        return make(channels, eps=config.eps, momentum=config.momentum)
    fused = gni.GhostNoiseBatchNorm1d if dims == 1 else gni.GhostNoiseBatchNorm2d
    return fused(
        channels,
        noise.ghost_size,
        noise.strength,
        eps=config.eps,
        noise_eps=noise.eps,
        momentum=config.momentum,
        shift=noise.shift,
        scale=noise.scale,
    )


def _ghost_batch(config: NormConfig, channels: int, dims: Dims) -> nn.Module:
    assert config.ghost_size is not None, "NormConfig checks it"
    make = gni.GhostBatchNorm1d if dims == 1 else gni.GhostBatchNorm2d
    affine = config.noise is None
    norm = make(
        channels, config.ghost_size, eps=config.eps, momentum=config.momentum, affine=affine
    )
    if config.noise is None:
        return norm
    steps: OrderedDict[str, nn.Module] = OrderedDict()
    steps["norm"] = norm
    steps["noise"] = _noise(config.noise)
    steps["affine"] = ChannelAffine(channels)
    return nn.Sequential(steps)


def _layer(config: NormConfig, channels: int, dims: Dims) -> nn.Module:
    if dims == 1:
        _require_company(channels, 1)
        return _noise_after(nn.LayerNorm(channels, eps=config.eps), config.noise)
    return _noise_after(nn.GroupNorm(1, channels, eps=config.eps), config.noise)


def _group(config: NormConfig, channels: int, dims: Dims) -> nn.Module:
    if channels % config.groups:
        raise ValueError(
            f"norm.groups must divide the channels of every site, got {config.groups} groups for "
            f"{channels} channels; {gcd(config.groups, channels)} divides both"
        )
    if dims == 1:
        _require_company(channels, config.groups)
    return _noise_after(nn.GroupNorm(config.groups, channels, eps=config.eps), config.noise)


def _none(config: NormConfig, channels: int, dims: Dims) -> nn.Module:
    return nn.Identity() if config.noise is None else _noise(config.noise)


_MAKERS: dict[NormKind, Callable[[NormConfig, int, Dims], nn.Module]] = {
    "batch": _batch,
    "ghost_batch": _ghost_batch,
    "layer": _layer,
    "group": _group,
    "none": _none,
}


def _require_pairs(config: NormConfig) -> None:
    remedy = "one vector has no variance: take 4 or more"
    if config.kind == "ghost_batch":
        require_count("norm.ghost_size on vectors", config.ghost_size, 2, remedy)
    if config.noise is not None:
        require_count("norm.noise.ghost_size on vectors", config.noise.ghost_size, 2, remedy)


def _require_company(features: int, groups: int) -> None:
    if features == groups:
        raise ValueError(
            "a norm over single features turns each into zero: norm.groups must leave at least 2 "
            f"features a group, got {groups} groups for {features} features; take fewer groups "
            "or a wider layer"
        )


def _noise(config: NoiseConfig) -> nn.Module:
    return gni.GhostNoise(
        config.ghost_size,
        config.strength,
        eps=config.eps,
        shift=config.shift,
        scale=config.scale,
    )


def _noise_after(norm: nn.Module, noise: NoiseConfig | None) -> nn.Module:
    if noise is not None:
        add_noise(norm, noise)
    return norm


class ChannelAffine(nn.Module):
    """Gain and bias of each channel: `y = weight · x + bias`, both (C,), from one and zero.

    The last step of a norm whose noise stands between normalisation and gain.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "B C *space"]) -> Float[Tensor, "B C *space"]:
        """Scale and shift each channel of `x`."""
        per_channel = (-1, *[1] * (x.dim() - 2))
        return torch.addcmul(self.bias.view(per_channel), x, self.weight.view(per_channel))
