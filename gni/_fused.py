"""Normalise by instance moments: one pass to measure, one multiply-add per element to apply.

Every layer here is `z = weight·k·(x - t) + bias` with k and t (B, C) that a rule computes from the
instance moments. What stays alive between the passes is x, k, t and per-channel values; the
gradient is `dx = a·dz + slope·x + offset` with (B, C) coefficients.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gni import _kernels as kernels
from gni._moments import Moments, instance_moments, spread, under_func


class Statistics(NamedTuple):
    """k and t, what else a rule's pullback needs, and a shift that is constant to autograd.

    `tracked` are the (G, C) moments of the batch or of its groups, for running statistics.
    """

    k: Tensor
    t: Tensor
    tracked: Moments
    extra: tuple[Tensor, ...] = ()
    constant: Tensor | None = None


class Saved(NamedTuple):
    """What a rule's pullback gets back of its statistics."""

    k: Tensor
    t: Tensor
    extra: tuple[Tensor, ...]


@runtime_checkable
class Rule(Protocol):
    """How a layer turns instance moments into k and t, and gradients back."""

    def statistics(self, mean_bc: Tensor, var_bc: Tensor) -> Statistics:
        """Return the statistics to normalise by: differentiable, and without a constant when no
        gradient is recorded."""
        ...

    def pullback(
        self, known: Saved, total_bc: Tensor, dot_bc: Tensor, space: int
    ) -> tuple[Tensor, Tensor]:
        """Return slope and offset, broadcastable to (B, C): the gradient through k and t.

        `total_bc` and `dot_bc` are the sums over `space` of g and g·(x - t), g = weight·k·dz.
        """
        ...


class _Normalise(torch.autograd.Function):
    """z = weight·k·(x - t) + bias; backward is one sweep for sums and one for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_c: Tensor | None, bias_c: Tensor | None, rule: Rule
    ) -> tuple[Tensor, Tensor, Tensor]:
        known = rule.statistics(*instance_moments(x))
        z = kernels.apply(x, *coefficients(known.k, known.t, weight_c, bias_c)).to(x.dtype)
        ctx.save_for_backward(x, weight_c, known.k, known.t, *known.extra)
        ctx.rule = rule
        ctx.has_bias = bias_c is not None
        ctx.mark_non_differentiable(*known.tracked)
        ctx.set_materialize_grads(False)
        return z, known.tracked.mean, known.tracked.var

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        x, weight_c, k_bc, t_bc, *extra = ctx.saved_tensors
        grad = cast(Tensor | None, grad_outputs[0])
        if grad is None:
            return None, None, None, None
        grad = grad.contiguous() if x.is_contiguous() else grad
        total_bc, dot_bc = kernels.sums(grad, x, t_bc)
        bias_grad = total_bc.sum(0) if ctx.has_bias else None
        weight_grad = None if weight_c is None else (dot_bc * k_bc).sum(0)
        a_bc = k_bc if weight_c is None else k_bc * weight_c
        space = x[0, 0].numel()
        slope, offset = cast(Rule, ctx.rule).pullback(
            Saved(k_bc, t_bc, tuple(extra)), a_bc * total_bc, a_bc * dot_bc, space
        )
        grad_x = kernels.combine(grad, a_bc, x, slope, offset)
        return grad_x, weight_grad, bias_grad, None


def coefficients(
    k_bc: Tensor,
    t_bc: Tensor,
    weight_c: Tensor | None,
    bias_c: Tensor | None,
    constant: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return a and b of `a·x + b = weight·(k·(x - t) - constant) + bias`."""
    a_bc = k_bc if weight_c is None else k_bc * weight_c
    b_bc = -a_bc * t_bc
    if constant is not None:
        b_bc = b_bc - (constant if weight_c is None else constant * weight_c)
    return a_bc, b_bc if bias_c is None else b_bc + bias_c


def multiply_add(x: Tensor, a_bc: Tensor, b_bc: Tensor, channel_dim: int = 1) -> Tensor:
    """Return a·x + b, differentiable, in the dtype of `x`."""
    a, b = spread(a_bc, x, channel_dim), spread(b_bc, x, channel_dim)
    return torch.addcmul(b, x.to(a.dtype), a).to(x.dtype)


def normalise(
    x: Float[Tensor, "B C *space"],
    weight: Float[Tensor, "C"] | None,
    bias: Float[Tensor, "C"] | None,
    rule: Rule,
    *,
    fused: bool = True,
) -> tuple[Float[Tensor, "B C *space"], Moments]:
    """Apply `rule` to `x`; return the result and the detached moments to track.

    `fused=False` composes the same formula from differentiable operations, which allows a second
    derivative. So do torch.func transforms, which batch it. Compiled, the one function keeps less
    for the backward than the composition would.
    """
    if fused and not under_func():
        run = cast(Callable[..., tuple[Tensor, Tensor, Tensor]], _Normalise.apply)
        z, mean_gc, var_gc = run(x, weight, bias, rule)
        return z, Moments(mean_gc, var_gc)
    known = rule.statistics(*instance_moments(x))
    z = multiply_add(x, *coefficients(known.k, known.t, weight, bias, known.constant))
    return z, Moments(*(value.detach() for value in known.tracked))
