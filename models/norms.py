"""One configuration makes every norm site of a model.

A site is a place where a model normalises. `norm1d`, `norm2d` and `norm_tokens` make one from a
`NormConfig`; `models.kinds` has the kinds.

Where the noise goes, unless asked otherwise: batch norms → noise → gain and bias, as in the
convolutional nets of the ghost noise paper (Kosson, Fan, Jaggi, 2023, arXiv 2305.17205); layer and
group norm with gain and bias → noise, as in its ViT; without a norm the noise stands alone.

Shapes: B batch, C channels or features, T tokens.
"""

import dataclasses
from collections import OrderedDict

from torch import nn

import gni
from models.checks import require_count
from models.config import GROUPED, NoiseConfig, NormConfig
from models.kinds import NOISES, NORMS, Layout, require_company
from models.sites import ChannelAffine, ChannelsFirst


def norm1d(config: NormConfig, features: int) -> nn.Module:
    """Make a norm site for vectors, Float (B, features) → the same.

    Raises:
        ValueError: features < 1; groups that do not divide the features, or leave one alone,
            which a norm of its group would turn into zero; a ghost of one vector.
    """
    _require_pairs(config)
    if config.kind == "group":
        require_company(features, config.groups)
    return _site(config, features, "vectors")


def norm2d(config: NormConfig, channels: int) -> nn.Module:
    """Make a norm site for maps, Float (B, channels, H, W) → the same.

    Raises:
        ValueError: channels < 1; groups that do not divide the channels.
    """
    return _site(config, channels, "maps")


def norm_tokens(config: NormConfig, channels: int) -> nn.Module:
    """Make a norm site for tokens, Float (B, T, channels) → the same.

    Layer norm is over each token alone. All other statistics, the noise's among them, are over
    samples or groups, and tokens.

    Raises:
        ValueError: channels < 1; groups that do not divide the channels.
    """
    if config.kind in ("layer", "none"):
        return _site(config, channels, "tokens")
    return ChannelsFirst(_site(config, channels, "vectors"))


def add_noise(model: nn.Module, noise: NoiseConfig) -> int:
    """Put ghost noise at the norms a model has, in place; return how many there are.

    In a batch norm between normalisation and gain, after a layer or group norm. Parameters keep
    their names. Noise layers that stand alone in the model stay as they are.

    Raises:
        ValueError: another noise or place than these, or as `gni.add_ghost_noise`.
    """
    if noise.kind != "ghost" or noise.before_affine is not None:
        raise ValueError(
            "norms that are built already take noise.kind 'ghost' at its usual place, got "
            f"{noise.kind!r} with noise.before_affine={noise.before_affine}; leave these out"
        )
    alone = {id(module) for module in model.modules() if isinstance(module, gni.GhostNoise)}
    sites = gni.add_ghost_noise(model, noise.ghost_size, noise.strength)
    for module in model.modules():
        if isinstance(module, gni.GhostNoiseBatchNorm):
            module.noise_eps, module.shift, module.scale = noise.eps, noise.shift, noise.scale
        elif isinstance(module, gni.GhostNoise) and id(module) not in alone:
            module.eps, module.shift, module.scale = noise.eps, noise.shift, noise.scale
    return sites


def _site(config: NormConfig, channels: int, layout: Layout) -> nn.Module:
    require_count("the channels of a norm site", channels, 1, "widen the model")
    make, noise = NORMS[config.kind], config.noise
    if noise is None:
        return make(config, channels, layout, True)
    if config.kind == "none":
        return _noise(noise, layout)
    usual = config.kind not in ("layer", "group")
    before = usual if noise.before_affine is None else noise.before_affine
    if noise.kind == "ghost" and before == usual and config.kind not in GROUPED:
        return _with_ghost_noise(config, noise, channels, layout)
    steps: OrderedDict[str, nn.Module] = OrderedDict()
    steps["norm"] = make(config, channels, layout, not before)
    steps["noise"] = _noise(noise, layout)
    if before:
        steps["affine"] = ChannelAffine(channels, channel_dim=_channel_dim(layout))
    return nn.Sequential(steps)


def _with_ghost_noise(
    config: NormConfig, noise: NoiseConfig, channels: int, layout: Layout
) -> nn.Module:
    """Make the sites whose parameters keep the names that they have without noise."""
    if config.kind != "batch":
        norm = NORMS[config.kind](config, channels, layout, True)
        add_noise(norm, dataclasses.replace(noise, before_affine=None))
        return norm
    make = gni.GhostNoiseBatchNorm1d if layout == "vectors" else gni.GhostNoiseBatchNorm2d
    return make(
        channels,
        noise.ghost_size,
        noise.strength,
        eps=config.eps,
        noise_eps=noise.eps,
        momentum=config.momentum,
        shift=noise.shift,
        scale=noise.scale,
    )


def _channel_dim(layout: Layout) -> int:
    return -1 if layout == "tokens" else 1


def _noise(noise: NoiseConfig, layout: Layout) -> nn.Module:
    return NOISES[noise.kind](noise, _channel_dim(layout))


def _require_pairs(config: NormConfig) -> None:
    remedy = "the statistics of one vector have no variance: take 4 or more"
    if config.kind in GROUPED:
        least = 3 if config.kind == "exclusive_batch" else 2
        require_count("norm.ghost_size on vectors", config.ghost_size, least, remedy)
    if config.noise is not None:
        require_count("norm.noise.ghost_size on vectors", config.noise.ghost_size, 2, remedy)
