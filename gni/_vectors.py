"""Ghost noise on vectors, where the noise is as large as the activation.

Without space every array is (B, C), so what counts is the number of sweeps and of fresh arrays:
torch's own batch norm makes x̂, and the noise is made in place.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gni import _kernels as kernels
from gni._moments import Ghosts, Strength, ghost_sums, scalar, transformed


class Noise(NamedTuple):
    """The draw and the options of the noise."""

    ghosts: Ghosts
    strength: Strength
    eps: float
    shift: bool
    scale: bool


class Tracked(NamedTuple):
    """What torch's batch norm updates, and how."""

    mean: Tensor | None
    var: Tensor | None
    momentum: float
    eps: float


def takes(x: Tensor) -> bool:
    """Tell whether `x` is a batch of vectors that can go this way: eager, full precision."""
    exact = x.dim() == 2 and x.dtype in (torch.float32, torch.float64) and x.is_contiguous()
    return exact and x.numel() > 0 and x.device.type in ("cpu", "cuda") and not transformed()


def noise_of(
    centred_bc: Float[Tensor, "B C"], var_c: Float[Tensor, "C"], noise: Noise, strength: Tensor
) -> tuple[Float[Tensor, "B C"], int, Float[Tensor, "B C"]]:
    """Return sum and n, delta being sum/n, and rho^-s, for centred vectors of that variance."""
    # With eps in every square, that of a ghost's variance needs no sweep of its own.
    eps_c = torch.full_like(var_c, noise.eps)
    square_bc = torch.addcmul(eps_c, centred_bc, centred_bc)
    (sum_bc, factor_bc), size = ghost_sums(noise.ghosts, centred_bc, square_bc)
    if not noise.scale:
        return sum_bc, size, factor_bc.fill_(1)
    half = strength / 2
    log_c = eps_c.add_(var_c).mul_(size).log_().mul_(half)
    factor_bc.addcmul_(sum_bc, sum_bc, value=-1 / size).clamp_min_(size * noise.eps).log_()
    torch.addcmul(log_c, factor_bc, half, value=-1, out=factor_bc).exp_()
    return sum_bc, size, factor_bc


def noise_coefficients(
    x: Float[Tensor, "B C"], noise: Noise
) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
    """Return a and b of the noise a·x + b; at strength 0 that is x bit for bit.

    x + (-0.0) is x for every x; and an infinite x, whose statistics are not numbers, is to stay.
    """
    strength = scalar(noise.strength, x)
    mean_c, var_c = torch.batch_norm_update_stats(x, None, None, 0.0)
    sum_bc, size, factor_bc = noise_of(x - mean_c, var_c, noise, strength)
    none = strength == 0
    factor_bc.masked_fill_(none, 1.0)
    shift = strength / (-size) if noise.shift else torch.zeros_like(strength)
    return factor_bc, sum_bc.mul_(factor_bc).mul_(shift).masked_fill_(none, -0.0)


class _NormaliseVectors(torch.autograd.Function):
    """z = weight·y + bias, y = (x̂ - s·delta)/rho^s with a constant delta and rho."""

    @staticmethod
    def forward(  # noqa: PLR0917 (autograd passes them so)
        ctx: Any,
        x: Tensor,
        weight_c: Tensor | None,
        bias_c: Tensor | None,
        noise: Noise,
        tracked: Tracked,
    ) -> Tensor:
        mean, var, momentum, eps = tracked
        y, mean_c, r_c = torch.native_batch_norm(x, None, None, mean, var, True, momentum, eps)
        var_c = torch.rsub(r_c.square(), 1, alpha=eps).clamp_min_(0)
        strength = scalar(noise.strength, x)
        sum_bc, size, factor_bc = noise_of(y, var_c, noise, strength)
        if noise.shift:
            y.addcmul_(sum_bc, strength, value=-1 / size)
        y.mul_(factor_bc)
        ctx.save_for_backward(x, weight_c, mean_c, r_c, factor_bc, y)
        ctx.has_bias = bias_c is not None
        if weight_c is None:
            return y.clone() if bias_c is None else y + bias_c
        return y * weight_c if bias_c is None else torch.addcmul(bias_c, y, weight_c)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        x, weight_c, mean_c, r_c, factor_bc, y = ctx.saved_tensors
        grad = cast(Tensor, grad_outputs[0]).contiguous()
        weight_grad, bias_grad = kernels.affine_gradients(grad, y)
        inner = grad * factor_bc
        return (
            kernels.batch_norm_gradient(inner, x, weight_c, mean_c, r_c),
            None if weight_c is None else weight_grad,
            bias_grad if ctx.has_bias else None,
            None,
            None,
        )


def normalise_vectors(
    x: Float[Tensor, "B C"],
    weight: Float[Tensor, "C"] | None,
    bias: Float[Tensor, "C"] | None,
    noise: Noise,
    tracked: Tracked,
) -> Float[Tensor, "B C"]:
    """Normalise, add the noise, scale and shift; update what is tracked."""
    run = cast(Callable[..., Tensor], _NormaliseVectors.apply)
    return run(x, weight, bias, noise, tracked)
