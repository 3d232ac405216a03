"""What the residual networks share: convolutions, their start, dropout, and widths."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

import gni
from models.checks import require_number
from models.config import NormConfig


def conv(
    channels_in: int, channels: int, size: int, norm: NormConfig, *, stride: int = 1
) -> nn.Conv2d:
    """Make a convolution that keeps the map's size at stride 1 and halves it at stride 2.

    Plain or standardised, as `norm.conv` says. It has a bias, zero at the start, only in a network
    without norms.

    Shape:
        (B, channels_in, H, W) → (B, channels, ⌈H / stride⌉, ⌈W / stride⌉), `size` odd.
    """
    padding = size // 2
    if norm.conv.kind == "standardised":
        gain = norm.conv.gain
        layer = gni.WSConv2d(channels_in, channels, size, stride, padding, bias=False, gain=gain)
    else:
        layer = nn.Conv2d(channels_in, channels, size, stride, padding, bias=False)
    if norm.kind == "none":
        layer.bias = nn.Parameter(torch.zeros(channels))
    return layer


def dropout(norm: NormConfig) -> nn.Module:
    """Make the dropout that `norm` asks for, or nothing: (B, C, H, W) → the same."""
    asked = norm.dropout
    if asked is None:
        return nn.Identity()
    return gni.NoiseDropout(
        asked.p, kind=asked.kind, per=asked.per, literature_std=asked.literature_std
    )


def start_convs(model: nn.Module) -> None:
    """Draw every convolution's weight from N(0, 2 / (channels · size²)), channels those going out.

    He et al. (2015, arXiv 1502.01852), the backward form, as the ghost noise paper's code does.
    Draws from torch's default generator, in the order of `model.modules()`.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def scaled(channels: int, width_multiplier: float) -> int:
    """Give the nearest whole number of channels to `channels · width_multiplier`.

    Raises:
        ValueError: a multiplier that is not positive, or leaves no channel.
    """
    remedy = f"1.0 gives the published network of {channels} channels in its first stage"
    require_number("width_multiplier", width_multiplier, remedy, above=0.0)
    width = round(channels * width_multiplier)
    if width < 1:
        raise ValueError(
            f"width_multiplier must leave at least one of {channels} channels, got "
            f"{width_multiplier}; take {1 / channels:g} or more"
        )
    return width


def pooled(maps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C"]:
    """Average each channel over its map."""
    return maps.mean(dim=(2, 3))
