"""The three sweeps over an activation: measure, apply, sum. All else is small (B, C) arrays.

On a CPU a contiguous (B, C, *space) is folded to B·C channels of one sample each; torch's own norm
kernels then make one vectorised pass where broadcasting and `var_mean` take several. Other layouts,
types and devices are composed from plain operations. Nothing here is differentiable.
"""

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten
_SUMS = [False, True, True]
FEW = 2**16  # values; below, a call costs more than its sweep (128 x 128 and 256 x 512, one thread)


def foldable(x: Tensor) -> bool:
    """Tell whether `x` (B, C, *space) can be folded for the CPU's norm kernels.

    A compiler fuses plain operations better than it calls those.
    """
    return (
        x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and x.dim() > 2
        and x.dtype in (torch.float32, torch.float64)
        and x.is_contiguous()
        and x.numel() > 0
    )


def measure(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and biased variance (B, C) of a foldable `x` over space."""
    folded = x.view(1, x.shape[0] * x.shape[1], -1)
    # torch.native_group_norm is faster, but uncentred: useless from a mean of 1000 std on.
    mean, var = torch.batch_norm_update_stats(folded, None, None, 0.0)
    return mean.view(x.shape[:2]), var.view(x.shape[:2])


def apply(x: Tensor, a_bc: Tensor, b_bc: Tensor) -> Tensor:
    """Return a·x + b for (B, C) coefficients, in their dtype."""
    if not foldable(x):
        return torch.addcmul(_spread(b_bc, x), x.to(a_bc.dtype), _spread(a_bc, x))
    channels = a_bc.numel()
    zeros, ones = a_bc.new_zeros(channels), a_bc.new_ones(channels)
    # Written into z and not returned as a view of the folded: a view would forbid x.relu_().
    z = torch.empty_like(x)
    _aten.native_batch_norm.out(
        x.view(1, channels, -1),
        a_bc.reshape(channels),
        b_bc.reshape(channels),
        zeros,
        ones,
        False,
        0.0,
        0.0,
        out=z.view(1, channels, -1),
        save_mean=x.new_empty(0),
        save_invstd=x.new_empty(0),
    )
    return z


def combine(grad: Tensor, a_bc: Tensor, x: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Return a·grad + slope·x + offset, in the dtype of `x`.

    `slope` and `offset` broadcast to (B, C).
    """
    out = apply(grad, a_bc, offset.expand_as(a_bc))
    return out.addcmul_(x.to(out.dtype), _spread(slope.expand_as(a_bc), x)).to(x.dtype)


def _spread(value_bc: Tensor, x: Tensor) -> Tensor:
    return value_bc[(..., *[None] * (x.dim() - 2))]


def sums(grad: Tensor, x: Tensor, mean_bc: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum(grad) and sum(grad·(x - mean)) over space, (B, C) each."""
    if x.dim() == 2:
        wide = grad.to(mean_bc.dtype)
        return wide, (x - mean_bc).mul_(wide)
    if not (foldable(x) and foldable(grad)):
        wide = grad.to(mean_bc.dtype)
        dims = list(range(2, x.dim()))
        centred = x - _spread(mean_bc, x)
        return wide.sum(dims), (wide * centred).sum(dims)
    channels = mean_bc.numel()
    ones = mean_bc.new_ones(channels)
    _, dot, total = _aten.native_batch_norm_backward(
        grad.view(1, channels, -1),
        x.view(1, channels, -1),
        ones,
        None,
        None,
        mean_bc.reshape(channels),
        ones,
        True,
        0.0,
        [False, True, True],
    )
    return total.view_as(mean_bc), dot.view_as(mean_bc)


def affine_gradients(grad: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum(grad·y) and sum(grad) over a contiguous batch of vectors, (C,) each."""
    if grad.numel() < FEW:
        return (grad * y).sum(0), grad.sum(0)
    ones = y.new_ones(y.shape[1])
    _, weight_grad, bias_grad = _backward(grad, y, ones, torch.zeros_like(ones), ones, _SUMS)
    return weight_grad, bias_grad


def batch_norm_gradient(
    grad: Tensor, x: Tensor, weight_c: Tensor | None, mean_c: Tensor, r_c: Tensor
) -> Tensor:
    """Return the gradient of a batch norm of contiguous vectors; `grad` may be overwritten."""
    if grad.numel() < FEW:
        return _backward(grad, x, weight_c, mean_c, r_c, [True, False, False])[0]
    # Two sweeps in place: torch's own takes as many into a fresh array, twice the time.
    _, dot_c, total_c = _backward(grad, x, torch.ones_like(r_c), mean_c, r_c, _SUMS)
    a_c = r_c if weight_c is None else r_c * weight_c
    share_c = a_c / -len(x)
    slope_c = dot_c.mul_(r_c).mul_(share_c)
    offset_c = total_c.mul_(share_c).addcmul_(slope_c, mean_c, value=-1)
    return torch.addcmul(offset_c, grad, a_c, out=grad).addcmul_(x, slope_c)


def _backward(  # noqa: PLR0917
    grad: Tensor,
    x: Tensor,
    weight_c: Tensor | None,
    mean_c: Tensor,
    r_c: Tensor,
    mask: list[bool],
) -> tuple[Any, Any, Any]:
    # Sums do not depend on the weight, but CUDA's kernel gives them no length without one.
    return _aten.native_batch_norm_backward(
        grad, x, weight_c, None, None, mean_c, r_c, True, 0.0, mask
    )
