"""Noise that needs no batch: the analytic form of ghost noise, and dropout."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from gni._checks import check_floating, check_input, check_strength
from gni._fused import multiply_add
from gni._moments import Strength, instance_moments, scalar
from gni._noise import identity_at_zero

Dropout = Literal["bernoulli", "gaussian"]
Per = Literal["element", "channel"]


def check_real_size(value: object) -> float | int:
    """Return a real ghost size above 1, or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"ghost_size must be a number > 1, got {value!r}; pass one such as 16.0")
    if not 1 < value < math.inf:
        raise ValueError(
            f"ghost_size must be > 1 and finite, got {value}; its χ² has ghost_size - 1 degrees"
        )
    return value


def draw_analytic(
    shape: tuple[int, int],
    ghost_size: float | int,
    *,
    generator: Generator | None = None,
    device: torch.device | str | None = None,
) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
    """Draw n/√N with n ~ N(0, 1), and c/N with c ~ χ²(N - 1), independent, (B, C) each.

    These are the shift and the squared scale that N values of a standard normal give.

    Raises:
        ValueError: a ghost size that is not above 1.
    """
    check_real_size(ghost_size)
    place = device if generator is None else generator.device
    shift = torch.randn(shape, generator=generator, device=place) / math.sqrt(ghost_size)
    half_degrees = torch.full(shape, (ghost_size - 1) / 2, device=place)
    square = torch._standard_gamma(half_degrees, generator=generator) * (2 / ghost_size)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    if device is None:
        return shift, square
    return shift.to(device, non_blocking=True), square.to(device, non_blocking=True)


def analytic_noise(
    x: Float[Tensor, "B *rest"],
    draw: tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]],
    strength: Strength = 1.0,
    *,
    shift: bool = True,
    scale: bool = True,
    instance_std: bool = False,
    channel_dim: int = 1,
) -> Float[Tensor, "B *rest"]:
    """Add the noise that a ghost batch would make if instances were single normal values.

    `y = (x - s·delta) / rho^s` with delta and rho² from `draw_analytic`, independent for every
    sample and channel. `x` is taken to be normalised. A constant to autograd.

    Args:
        x: (B, C, *space), or with the channels at `channel_dim`.
        draw: (delta, rho²).
        strength: s >= 0; 0 is the identity bit for bit, 1 the paper's noise.
        shift: False leaves delta out.
        scale: False leaves rho out.
        instance_std: multiply delta by the sample's own standard deviation over space.
        channel_dim: the dim of `x` that holds the channels, not 0.

    Raises:
        ValueError: a negative or NaN strength, an input without channels or of whole numbers.

    Reference:
        Kosson et al., arXiv 2305.17205 (analytic ghost noise).
    """
    check_strength(strength)
    check_input(x, channel_dim)
    with torch.no_grad():
        dtype = torch.promote_types(x.dtype, torch.float32)
        delta_bc, square_bc = (value.to(dtype) for value in draw)
        strength = scalar(strength, square_bc)
        if instance_std:
            delta_bc = delta_bc * instance_moments(x, channel_dim).var.sqrt()
        delta_bc = strength * delta_bc if shift else torch.zeros_like(delta_bc)
        factor = (square_bc.log() * (strength / -2)).exp() if scale else torch.ones_like(square_bc)
        scale_bc, offset_bc = identity_at_zero(delta_bc, factor, strength)
    return multiply_add(x, scale_bc, offset_bc, channel_dim)


def check_dropout(p: object, kind: str, per: str) -> None:
    """Raise ValueError unless the options of dropout are known and p lies in [0, 1)."""
    if not isinstance(p, Tensor) and (not isinstance(p, (int, float)) or not 0 <= p < 1):
        raise ValueError(f"p must lie in [0, 1), got {p!r}; 0 drops nothing")
    if kind not in ("bernoulli", "gaussian"):
        raise ValueError(f"kind must be 'bernoulli' or 'gaussian', got {kind!r}")
    if per not in ("element", "channel"):
        raise ValueError(f"per must be 'element' or 'channel', got {per!r}")


def draw_dropout(
    x: Tensor,
    *,
    kind: Dropout = "bernoulli",
    per: Per = "element",
    channel_dim: int = 1,
    generator: Generator | None = None,
) -> Tensor:
    """Draw uniform (Bernoulli) or normal values that broadcast against `x`."""
    check_dropout(0.0, kind, per)
    shape = list(x.shape)
    if per == "channel":
        check_input(x, channel_dim)
        kept = (0, channel_dim % x.dim())
        shape = [size if dim in kept else 1 for dim, size in enumerate(shape)]
    draw = torch.rand if kind == "bernoulli" else torch.randn
    place = x.device if generator is None else generator.device
    dtype = torch.promote_types(x.dtype, torch.float32)
    return draw(shape, generator=generator, device=place, dtype=dtype).to(x.device)


def noise_dropout(
    x: Tensor,
    draw: Tensor,
    p: float | int | Float[Tensor, ""],
    *,
    kind: Dropout = "bernoulli",
    literature_std: bool = True,
) -> Tensor:
    """Multiply by noise of mean one.

    Bernoulli: `y = x·[draw >= p]/(1-p)`. Gaussian: `y = x·(1 + std·draw)` with std = √(p/(1-p)) as
    in the literature, or p/(1-p) as in the paper's code. At p = 0 both are the identity.

    Args:
        x: any shape.
        draw: from `draw_dropout`, of the same kind.
        p: in [0, 1); a 0-dim tensor is not checked.
        kind: "bernoulli" or "gaussian".
        literature_std: False takes the standard deviation of the paper's code.

    Raises:
        ValueError: p outside [0, 1), an unknown kind.

    Reference:
        Kosson et al., arXiv 2305.17205 (the dropout that they compare with).
    """
    check_dropout(p, kind, "element")
    check_floating(x)
    p = scalar(p, draw)
    odds = p / (1 - p)
    if kind == "bernoulli":
        factor = (draw >= p) / (1 - p)
    else:
        factor = 1 + draw * (odds.sqrt() if literature_std else odds)
    return x * factor.to(x.dtype)
