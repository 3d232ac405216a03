"""Normalise by instance moments: one pass to measure, one multiply-add per element to apply.

Every layer here is `z = a·x + b` with coefficients (B, C) that a small rule computes from the
instance moments. The rule works on arrays that are smaller than the input by the size of a map, so
it is evaluated again in the backward pass instead of being saved: what stays alive between the
passes is `x` and its two moments.
"""

from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gni._moments import Moments, instance_moments, reduced_dims, spread


@runtime_checkable
class Rule(Protocol):
    """Coefficients (a, b), both (B, C), from instance moments and the affine parameters."""

    def __call__(
        self, mean_bc: Tensor, var_bc: Tensor, weight_c: Tensor | None, bias_c: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return (a, b)."""
        ...


def _apply(x: Tensor, a_bc: Tensor, b_bc: Tensor) -> Tensor:
    z = torch.addcmul(spread(b_bc, x, 1), x.to(a_bc.dtype), spread(a_bc, x, 1))
    return z.to(x.dtype)


class _Normalise(torch.autograd.Function):
    """z = a·x + b with a backward pass of one sweep for sums and one for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_c: Tensor | None, bias_c: Tensor | None, rule: Rule
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean_bc, var_bc = instance_moments(x)
        z = _apply(x, *rule(mean_bc, var_bc, weight_c, bias_c))
        ctx.save_for_backward(x, mean_bc, var_bc, weight_c, bias_c)
        ctx.rule = rule
        ctx.mark_non_differentiable(mean_bc, var_bc)
        ctx.set_materialize_grads(False)
        return z, mean_bc, var_bc

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        x, *inputs = ctx.saved_tensors
        grad_z = cast(Tensor, grad_outputs[0])
        mean_bc = inputs[0]
        dims = reduced_dims(x, 1)
        grad = grad_z.to(mean_bc.dtype)
        sum_bc = grad.sum(dims) if dims else grad
        dot_bc = (grad * (x - spread(mean_bc, x, 1))).sum(dims) if dims else torch.zeros_like(grad)
        a_bc, (mean_grad, var_grad, weight_grad, bias_grad) = _rule_gradients(
            ctx.rule, inputs, sum_bc, dot_bc
        )
        count = x[0, 0].numel()
        slope_bc = var_grad * (2 / count)
        offset_bc = mean_grad / count - slope_bc * mean_bc
        grad_x = _apply(x, slope_bc, offset_bc).addcmul_(grad, spread(a_bc, x, 1))
        return grad_x.to(x.dtype), weight_grad, bias_grad, None


def _rule_gradients(
    rule: Rule, inputs: list[Tensor | None], sum_bc: Tensor, dot_bc: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """Differentiate the rule; `dot_bc` is sum(dz·(x - instance mean)), so b enters as a·mean + b.

    Centred sums keep the gradients accurate when the mean is large.
    """
    with torch.enable_grad():
        leaves = [None if v is None else v.detach().requires_grad_() for v in inputs]
        mean_bc, var_bc, weight_leaf, bias_leaf = leaves
        assert mean_bc is not None
        assert var_bc is not None
        a_bc, b_bc = rule(mean_bc, var_bc, weight_leaf, bias_leaf)
        centre_bc = torch.addcmul(b_bc, a_bc, mean_bc.detach())
    wanted = [leaf for leaf in leaves if leaf is not None]
    found = iter(
        torch.autograd.grad(
            (a_bc, centre_bc), wanted, (dot_bc, sum_bc), allow_unused=True, materialize_grads=True
        )
    )
    return a_bc.detach(), [None if leaf is None else next(found) for leaf in leaves]


def _transformed() -> bool:
    """Tell whether the code is being compiled or runs under a torch.func transform."""
    if torch.compiler.is_compiling():
        return True
    functorch = cast(Any, torch._C)._functorch  # pyright: ignore[reportPrivateUsage]
    return functorch.peek_interpreter_stack() is not None


def normalise(
    x: Float[Tensor, "B C *space"],
    weight: Float[Tensor, "C"] | None,
    bias: Float[Tensor, "C"] | None,
    rule: Rule,
    *,
    fused: bool = True,
) -> tuple[Float[Tensor, "B C *space"], Moments]:
    """Apply `rule` to `x`; return the result and the detached instance moments.

    `fused=False` composes the same formula from differentiable operations, which allows a second
    derivative. So do torch.compile and torch.func transforms, which fuse or batch it themselves.
    """
    if fused and not _transformed():
        run = cast(Callable[..., tuple[Tensor, Tensor, Tensor]], _Normalise.apply)
        z, mean_bc, var_bc = run(x, weight, bias, rule)
        return z, Moments(mean_bc, var_bc)
    moments = instance_moments(x)
    z = _apply(x, *rule(*moments, weight, bias))
    return z, Moments(moments.mean.detach(), moments.var.detach())


def affine(
    scale_bc: Tensor, offset_bc: Tensor, weight_c: Tensor | None, bias_c: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Follow `scale·x + offset` by the gain and bias of the layer."""
    if weight_c is not None:
        scale_bc, offset_bc = scale_bc * weight_c, offset_bc * weight_c
    return scale_bc, offset_bc if bias_c is None else offset_bc + bias_c
