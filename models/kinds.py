"""The kinds of norm and of noise: NORMS and NOISES map each to its maker; another one goes here.

None draws random numbers, so neither norm nor noise changes a model's initial weights.
"""

from collections.abc import Callable
from math import gcd
from typing import Any, Literal

from torch import nn

import gni
from models.config import NoiseConfig, NoiseKind, NormConfig, NormKind

Layout = Literal["vectors", "maps", "tokens"]
"""(B, C), (B, C, H, W) or (B, T, C)."""

MakeNorm = Callable[[NormConfig, int, Layout, bool], nn.Module]
"""From the configuration, the channels, the layout, and whether to have gain and bias."""

MakeNoise = Callable[[NoiseConfig, int], nn.Module]
"""From the configuration and the dim of the channels."""


def _batch(config: NormConfig, channels: int, layout: Layout, affine: bool) -> nn.Module:
    make = nn.BatchNorm1d if layout == "vectors" else nn.BatchNorm2d
    return make(channels, eps=config.eps, momentum=config.momentum, affine=affine)


def _grouped(config: NormConfig, channels: int, layout: Layout, affine: bool) -> nn.Module:
    assert config.ghost_size is not None, "NormConfig checks it"
    of_vectors, of_maps = _GROUPED[config.kind]
    make = of_vectors if layout == "vectors" else of_maps
    keywords: dict[str, Any] = {"eps": config.eps, "momentum": config.momentum, "affine": affine}
    if config.kind == "ghost_batch":
        keywords["running"] = config.running
    return make(channels, config.ghost_size, **keywords)


def _layer(config: NormConfig, channels: int, layout: Layout, affine: bool) -> nn.Module:
    if layout == "maps":
        return nn.GroupNorm(1, channels, eps=config.eps, affine=affine)
    require_company(channels, 1)
    return nn.LayerNorm(channels, eps=config.eps, elementwise_affine=affine)


def _group(config: NormConfig, channels: int, layout: Layout, affine: bool) -> nn.Module:
    if channels % config.groups:
        raise ValueError(
            f"norm.groups must divide the channels of every site, got {config.groups} groups for "
            f"{channels} channels; {gcd(config.groups, channels)} divides both"
        )
    return nn.GroupNorm(config.groups, channels, eps=config.eps, affine=affine)


def _none(config: NormConfig, channels: int, layout: Layout, affine: bool) -> nn.Module:
    return nn.Identity()


NORMS: dict[NormKind, MakeNorm] = {
    "batch": _batch,
    "ghost_batch": _grouped,
    "exclusive_batch": _grouped,
    "eval_norm": _grouped,
    "layer": _layer,
    "group": _group,
    "none": _none,
}
_GROUPED: dict[NormKind, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "ghost_batch": (gni.GhostBatchNorm1d, gni.GhostBatchNorm2d),
    "exclusive_batch": (gni.ExclusiveBatchNorm1d, gni.ExclusiveBatchNorm2d),
    "eval_norm": (gni.EvalNorm1d, gni.EvalNorm2d),
}


def _ghost(config: NoiseConfig, channel_dim: int) -> nn.Module:
    return gni.GhostNoise(
        config.ghost_size,
        config.strength,
        eps=config.eps,
        shift=config.shift,
        scale=config.scale,
        channel_dim=channel_dim,
    )


def _analytic(config: NoiseConfig, channel_dim: int) -> nn.Module:
    return gni.AnalyticNoise(
        float(config.ghost_size),
        config.strength,
        shift=config.shift,
        scale=config.scale,
        channel_dim=channel_dim,
    )


NOISES: dict[NoiseKind, MakeNoise] = {
    "ghost": _ghost,
    "analytic": _analytic,
}


def require_company(features: int, groups: int) -> None:
    """Raise ValueError if a group is a single feature, which its own mean turns into zero."""
    if features == groups:
        raise ValueError(
            "a norm over single features turns each into zero: norm.groups must leave at least 2 "
            f"features a group, got {groups} groups for {features} features; take fewer groups "
            "or a wider layer"
        )
