"""Norms by groups of the batch on vectors: without space, each sweep over the activation counts.

Suffixes as elsewhere, and `_gnc` (groups, samples of a group, channels), `_g1c` one per group.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gni._moments import Moments

Parts = tuple[Tensor, Tensor, Tensor]


def _centre(x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the means of consecutive groups and the values about them."""
    x_gnc = x.view(-1, size, x.shape[1])
    mean_g1c = x_gnc.mean(1, keepdim=True)
    return mean_g1c, x_gnc - mean_g1c


def _affine(hat_gnc: Tensor, a: Tensor, bias_c: Tensor | None, x: Tensor) -> Tensor:
    """Return a·hat + bias, shaped as `x`."""
    # Written into z and not returned as a view: a view would forbid z.relu_().
    z = torch.empty_like(x)
    out = z.view_as(hat_gnc)
    if bias_c is None:
        torch.mul(hat_gnc, a, out=out)
    else:
        torch.addcmul(bias_c, hat_gnc, a, out=out)
    return z


class _Ghost(torch.autograd.Function):
    """z = weight·(x - mean_g)/sqrt(var_g + eps) + bias; also the groups' moments."""

    @staticmethod
    def forward(  # noqa: PLR0917 (autograd passes them so)
        ctx: Any,
        x: Tensor,
        weight_c: Tensor | None,
        bias_c: Tensor | None,
        size: int,
        eps: float,
        stop_gradient: bool,
    ) -> Parts:
        mean_g1c, centred_gnc = _centre(x, size)
        var_g1c = centred_gnc.square().mean(1, keepdim=True)
        r_g1c = (var_g1c + eps).rsqrt_()
        ctx.save_for_backward(centred_gnc, weight_c, r_g1c)
        ctx.has_bias, ctx.stop_gradient = bias_c is not None, stop_gradient
        z = _affine(centred_gnc, r_g1c if weight_c is None else r_g1c * weight_c, bias_c, x)
        moments = mean_g1c.squeeze(1), var_g1c.squeeze(1)
        ctx.mark_non_differentiable(*moments)
        ctx.set_materialize_grads(False)
        return z, *moments

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        centred_gnc, weight_c, r_g1c = ctx.saved_tensors
        grad = cast(Tensor | None, grad_outputs[0])
        if grad is None:
            return (None,) * 6
        grad_gnc = grad.reshape(centred_gnc.shape)
        total_g1c = grad_gnc.sum(1, keepdim=True)
        out = grad_gnc * centred_gnc
        dot_g1c = out.sum(1, keepdim=True).mul_(r_g1c)
        weight_grad = None if weight_c is None else dot_g1c.sum((0, 1))
        bias_grad = total_g1c.sum((0, 1)) if ctx.has_bias else None
        a_g1c = r_g1c if weight_c is None else r_g1c * weight_c
        if ctx.stop_gradient:
            torch.mul(grad_gnc, a_g1c, out=out)
        else:
            share_g1c = a_g1c / -centred_gnc.shape[1]
            torch.addcmul(total_g1c.mul_(share_g1c), grad_gnc, a_g1c, out=out)
            out.addcmul_(centred_gnc, dot_g1c.mul_(r_g1c).mul_(share_g1c))
        return out.view_as(grad), weight_grad, bias_grad, None, None, None


class _Exclusive(torch.autograd.Function):
    """z_i = weight·(x_i - mean_i)/sqrt(var_i + eps) + bias; also the groups' moments.

    With y = x - mean_g and n others: x_i - mean_i = y_i·N/n, var_i = Σy²/n - y_i²·N/n².
    """

    @staticmethod
    def forward(  # noqa: PLR0917 (autograd passes them so)
        ctx: Any,
        x: Tensor,
        weight_c: Tensor | None,
        bias_c: Tensor | None,
        size: int,
        eps: float,
    ) -> Parts:
        others = size - 1
        mean_g1c, y_gnc = _centre(x, size)
        k_gnc = y_gnc.square()
        total_g1c = k_gnc.sum(1, keepdim=True)
        torch.sub(total_g1c / others + eps, k_gnc, alpha=size / others**2, out=k_gnc)
        k_gnc.clamp_min_(eps).rsqrt_()
        ratio = size / others
        a = total_g1c.new_full((), ratio) if weight_c is None else weight_c * ratio
        ctx.save_for_backward(y_gnc, weight_c, k_gnc, a)
        ctx.has_bias = bias_c is not None
        z = _affine(y_gnc * k_gnc, a, bias_c, x)
        moments = mean_g1c.squeeze(1), total_g1c.div_(size).squeeze(1)
        ctx.mark_non_differentiable(*moments)
        ctx.set_materialize_grads(False)
        return z, *moments

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        y_gnc, weight_c, k_gnc, a = ctx.saved_tensors
        grad = cast(Tensor | None, grad_outputs[0])
        if grad is None:
            return (None,) * 5
        grad_gnc = grad.reshape(y_gnc.shape)
        size = y_gnc.shape[1]
        others = size - 1
        u_gnc = y_gnc * k_gnc
        h_gnc = grad_gnc * u_gnc
        weight_grad = None if weight_c is None else h_gnc.sum((0, 1)).mul_(size / others)
        bias_grad = grad_gnc.sum((0, 1)) if ctx.has_bias else None
        h_gnc.mul_(k_gnc)
        out = grad_gnc * k_gnc
        out.addcmul_(h_gnc, u_gnc, value=size / others**2)
        through_g1c = h_gnc.mul_(k_gnc).sum(1, keepdim=True)
        out.addcmul_(y_gnc, through_g1c, value=-1 / others)
        mean_g1c = out.mean(1, keepdim=True).mul_(a).neg_()
        torch.addcmul(mean_g1c, out, a, out=out)
        return out.view_as(grad), weight_grad, bias_grad, None, None


def ghost_vectors(  # noqa: PLR0917
    x: Float[Tensor, "B C"],
    weight: Float[Tensor, "C"] | None,
    bias: Float[Tensor, "C"] | None,
    size: int,
    eps: float,
    stop_gradient: bool,
) -> tuple[Float[Tensor, "B C"], Moments]:
    """Normalise vectors by consecutive groups; return also the groups' moments (G, C)."""
    run = cast(Callable[..., Parts], _Ghost.apply)
    z, mean_gc, var_gc = run(x, weight, bias, size, eps, stop_gradient)
    return z, Moments(mean_gc, var_gc)


def exclusive_vectors(
    x: Float[Tensor, "B C"],
    weight: Float[Tensor, "C"] | None,
    bias: Float[Tensor, "C"] | None,
    size: int,
    eps: float,
) -> tuple[Float[Tensor, "B C"], Moments]:
    """Normalise vectors by the others of their group; return also the groups' moments (G, C)."""
    run = cast(Callable[..., Parts], _Exclusive.apply)
    z, mean_gc, var_gc = run(x, weight, bias, size, eps)
    return z, Moments(mean_gc, var_gc)
