"""Batch norm with ghost noise on vectors, where the noise is as large as the activation.

Without space every array is (B, C), so what counts is the number of sweeps: torch's own batch norm
makes x̂ and takes the gradient back, and the noise is made in place between.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gni._moments import Ghosts, average
from gni._noise import Strength


class Noise(NamedTuple):
    """The draw and the options of the noise."""

    ghosts: Ghosts
    strength: Strength
    noise_eps: float
    shift: bool
    scale: bool


class Tracked(NamedTuple):
    """What torch's batch norm updates, and how."""

    mean: Tensor | None
    var: Tensor | None
    momentum: float
    eps: float


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
        factor_bc = _add_noise(y, (1 - eps * r_c.square()).clamp_min_(0), noise)
        ctx.save_for_backward(x, weight_c, mean_c, r_c, factor_bc, y)
        ctx.has_bias, ctx.eps = bias_c is not None, eps
        if weight_c is None:
            return y.clone() if bias_c is None else y + bias_c
        return y * weight_c if bias_c is None else torch.addcmul(bias_c, y, weight_c)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        x, weight_c, mean_c, r_c, factor_bc, y = ctx.saved_tensors
        grad = cast(Tensor, grad_outputs[0])
        weight_grad = None if weight_c is None else (grad * y).sum(0)
        bias_grad = grad.sum(0) if ctx.has_bias else None
        grad_x, *_ = torch.ops.aten.native_batch_norm_backward(
            grad * factor_bc,
            x,
            weight_c,
            None,
            None,
            mean_c,
            r_c,
            True,
            ctx.eps,
            [True, False, False],
        )
        return grad_x, weight_grad, bias_grad, None, None


def _add_noise(hat_bc: Tensor, var_c: Tensor, noise: Noise) -> Tensor:
    """Turn x̂ into y in place, `var_c` being the variance of x̂; return rho^-s."""
    strength = torch.as_tensor(noise.strength, dtype=hat_bc.dtype, device=hat_bc.device)
    delta_bc = average(noise.ghosts, hat_bc)
    if noise.scale:
        var_bc = average(noise.ghosts, hat_bc.square())
        var_bc = var_bc.addcmul_(delta_bc, delta_bc, value=-1).clamp_min_(0)
        half = strength / -2
        log_c = (var_c + noise.noise_eps).log_().mul_(-half)
        factor_bc = torch.addcmul(log_c, var_bc.add_(noise.noise_eps).log_(), half).exp_()
    else:
        factor_bc = torch.ones_like(hat_bc)
    if noise.shift:
        hat_bc.addcmul_(delta_bc, strength, value=-1)
    hat_bc.mul_(factor_bc)
    return factor_bc


def takes(x: Tensor, running_mean: Tensor | None) -> bool:
    """Tell whether vectors can go this way: full precision all through."""
    exact = x.dim() == 2 and x.dtype in (torch.float32, torch.float64) and x.is_contiguous()
    return exact and (running_mean is None or running_mean.dtype == x.dtype)


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
