"""Moments of instances and of ghosts: where every statistic of this package comes from.

Suffixes: `_bc` one value per sample and channel (B, C); `_c` one per channel (C,).
A sample's instance moments are its mean and biased variance over all dims but batch and channel.
"""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from gni import _kernels as kernels

Ghosts = Int[Tensor, "B N"] | Float[Tensor, "B B"]


class Moments(NamedTuple):
    """Mean and biased variance, per sample and channel or per channel."""

    mean: Tensor
    var: Tensor


def transformed() -> bool:
    """Tell whether the code is being compiled or runs under a torch.func transform."""
    if torch.compiler.is_compiling():
        return True
    functorch = cast(Any, torch._C)._functorch  # pyright: ignore[reportPrivateUsage]
    return functorch.peek_interpreter_stack() is not None


def statistics_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype that statistics of `x` are kept in: float32 or better."""
    return torch.promote_types(x.dtype, torch.float32)


def reduced_dims(x: Tensor, channel_dim: int) -> list[int]:
    """Return the dims of `x` that are neither batch nor channel."""
    return [dim for dim in range(1, x.dim()) if dim != channel_dim % x.dim()]


def spread(value_bc: Float[Tensor, "B C"], x: Tensor, channel_dim: int) -> Tensor:
    """View (B, C) values so that they broadcast against `x`."""
    shape = [1] * x.dim()
    shape[0], shape[channel_dim] = value_bc.shape
    return value_bc.view(shape)


def instance_moments(x: Float[Tensor, "B *rest"], channel_dim: int = 1) -> Moments:
    """Return the (B, C) mean and biased, centred variance of every instance, float32 or better."""
    dims = reduced_dims(x, channel_dim)
    if not dims:
        x = x.to(statistics_dtype(x))
        return Moments(x, torch.zeros_like(x))
    tracked = torch.is_grad_enabled() and x.requires_grad
    if not (tracked or transformed()) and channel_dim == 1 and kernels.foldable(x):
        return Moments(*kernels.measure(x))
    x = x.to(statistics_dtype(x))
    if x.device.type == "cpu" and not transformed():
        # torch.var_mean takes about eight times as long there.
        mean = x.mean(dims, keepdim=True)
        var_bc = (x - mean).square().mean(dims)
        return Moments(mean.view_as(var_bc), var_bc)
    var_bc, mean_bc = torch.var_mean(x, dim=dims, correction=0)
    return Moments(mean_bc, var_bc)


def batch_moments(mean_bc: Float[Tensor, "B C"], var_bc: Float[Tensor, "B C"]) -> Moments:
    """Combine instance moments into the (C,) moments of the whole batch."""
    mean_c = mean_bc.mean(0)
    # The gradient through this mean is zero; eager keeps it for the sake of second derivatives.
    centre_c = mean_c.detach() if torch.compiler.is_compiling() else mean_c
    return Moments(mean_c, (var_bc + (mean_bc - centre_c).square()).mean(0))


def ghost_weights(
    ghosts: Int[Tensor, "B N"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "B B"]:
    """Turn an index table into the averaging matrix W: W[b, i] = (times b drew i) / N.

    A matrix does not know its ghost size: tables of different N become matrices of one shape,
    which can be stacked for `torch.func.vmap` or copied into one buffer.
    """
    batch, size = ghosts.shape
    weights = torch.zeros(batch, batch, dtype=dtype, device=ghosts.device)
    return weights.scatter_add(1, ghosts, torch.full_like(ghosts, 1, dtype=dtype) / size)


class GhostMoments(NamedTuple):
    """Ghost mean less the batch mean (B, C), ghost variance (B, C), moments of the batch (C,)."""

    delta: Tensor
    var: Tensor
    batch: Moments


def ghost_moments(
    mean_bc: Float[Tensor, "B C"], var_bc: Float[Tensor, "B C"], ghosts: Ghosts
) -> GhostMoments:
    """Return the moments of each sample's ghost, and of the batch."""
    mean_c = mean_bc.mean(0)
    centred_bc = mean_bc - mean_c
    square_bc = torch.addcmul(var_bc, centred_bc, centred_bc)
    batch = Moments(mean_c, square_bc.mean(0))
    delta_bc, ghost_square_bc = average(ghosts, centred_bc), average(ghosts, square_bc)
    var_bc = torch.addcmul(ghost_square_bc, delta_bc, delta_bc, value=-1)
    return GhostMoments(delta_bc, var_bc.clamp_min(0), batch)


def average(ghosts: Ghosts, value_bc: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
    """Average the rows that each sample drew, without a (B, N, C) array."""
    size = ghosts.shape[1]
    if not ghosts.is_floating_point() and 4 * size > ghosts.shape[0]:
        ghosts = ghost_weights(ghosts, value_bc.dtype)
    if ghosts.is_floating_point():
        return ghosts.to(value_bc.dtype) @ value_bc
    return F.embedding_bag(ghosts, value_bc, mode="sum").div_(size)
