"""Moments of instances and of ghosts: where every statistic of this package comes from.

Suffixes: `_bc` one value per sample and channel (B, C); `_c` one per channel (C,).
A sample's instance moments are its mean and biased variance over all dims but batch and channel.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Ghosts = Int[Tensor, "B N"] | Float[Tensor, "B B"]


class Moments(NamedTuple):
    """Mean and biased variance, per sample and channel or per channel."""

    mean: Tensor
    var: Tensor


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
    x = x.to(statistics_dtype(x))
    if not dims:
        return Moments(x, torch.zeros_like(x))
    var_bc, mean_bc = torch.var_mean(x, dim=dims, correction=0)
    return Moments(mean_bc, var_bc)


def batch_moments(mean_bc: Float[Tensor, "B C"], var_bc: Float[Tensor, "B C"]) -> Moments:
    """Combine instance moments into the (C,) moments of the whole batch."""
    mean_c = mean_bc.mean(0)
    return Moments(mean_c, (var_bc + (mean_bc - mean_c).square()).mean(0))


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


def ghost_moments(
    mean_bc: Float[Tensor, "B C"], var_bc: Float[Tensor, "B C"], ghosts: Ghosts
) -> Moments:
    """Return each sample's (B, C) ghost mean, less the batch mean, and ghost variance."""
    centred_bc = mean_bc - mean_bc.mean(0)
    first_and_second = torch.cat([centred_bc, var_bc + centred_bc.square()], dim=1)
    if ghosts.is_floating_point():
        averaged = ghosts.to(mean_bc.dtype) @ first_and_second
    elif 4 * ghosts.shape[1] > ghosts.shape[0]:
        averaged = ghost_weights(ghosts, mean_bc.dtype) @ first_and_second
    else:
        averaged = F.embedding_bag(ghosts, first_and_second, mode="mean")
    shift_bc, square_bc = averaged.chunk(2, dim=1)
    return Moments(shift_bc, (square_bc - shift_bc.square()).clamp_min(0))
