"""Moments of instances and of ghosts: where every statistic of this package comes from.

Suffixes: `_bc` one value per sample and channel (B, C); `_c` one per channel (C,).
A sample's instance moments are its mean and biased variance over all dims but batch and channel.
"""

from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gni import _kernels as kernels

Ghosts = Int[Tensor, "B N"] | Float[Tensor, "B B"]
Strength = float | int | Float[Tensor, ""]


class Moments(NamedTuple):
    """Mean and biased variance, per sample and channel or per channel."""

    mean: Tensor
    var: Tensor


def under_func() -> bool:
    """Tell whether the code runs under a torch.func transform; can be compiled."""
    binding = cast(Any, torch._C)  # pyright: ignore[reportPrivateUsage]
    return binding._are_functorch_transforms_active()


def transformed() -> bool:
    """Tell whether the code is being compiled or runs under a torch.func transform."""
    return torch.compiler.is_compiling() or under_func()


def statistics_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype that statistics of `x` are kept in: float32 or better."""
    return torch.promote_types(x.dtype, torch.float32)


def scalar(value: Strength, like: Tensor) -> Float[Tensor, ""]:
    """Return a number as a 0-dim tensor beside `like`, in its dtype.

    It is made there: a copy from the host would make it wait, and cannot be captured.
    """
    if isinstance(value, Tensor):
        return value.to(like.device, like.dtype)
    return torch.full((), value, dtype=like.dtype, device=like.device)


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
    mean_bc: Float[Tensor, "B C"],
    var_bc: Float[Tensor, "B C"],
    ghosts: Ghosts,
    batch: Moments | None = None,
) -> GhostMoments:
    """Return the moments of each sample's ghost, and of the batch unless they are known."""
    mean_c = mean_bc.mean(0) if batch is None else batch.mean
    centred_bc = mean_bc - mean_c
    square_bc = torch.addcmul(var_bc, centred_bc, centred_bc)
    batch = Moments(mean_c, square_bc.mean(0)) if batch is None else batch
    (delta_bc, ghost_square_bc), size = ghost_sums(ghosts, centred_bc, square_bc)
    delta_bc, ghost_square_bc = delta_bc.div_(size), ghost_square_bc.div_(size)
    var_bc = torch.addcmul(ghost_square_bc, delta_bc, delta_bc, value=-1)
    return GhostMoments(delta_bc, var_bc.clamp_min(0), batch)


def ghost_sums(
    ghosts: Ghosts, *values_bc: Float[Tensor, "B C"]
) -> tuple[list[Float[Tensor, "B C"]], int]:
    """Sum the rows that each sample drew, without a (B, N, C) array; return how many those are.

    Weights average already: their sums count as sums of one row.
    """
    batch, size = ghosts.shape
    if torch.compiler.is_compiling() and not ghosts.is_floating_point():
        # One loop for all sums, vectorised over channels since N comes first. as_strided makes the
        # compiler keep the table: it would draw anew for every channel otherwise.
        table = ghosts.t().contiguous().as_strided((size, batch), (batch, 1))
        return [value[table].sum(0) for value in values_bc], size
    if not ghosts.is_floating_point() and 4 * size <= batch:
        flat = ghosts.reshape(-1)
        offsets = torch.arange(0, batch * size, size, device=ghosts.device)
        return [torch.embedding_bag(v, flat, offsets, False, 0)[0] for v in values_bc], size
    weights = ghosts
    if not ghosts.is_floating_point():
        weights = ghost_weights(ghosts, values_bc[0].dtype)
    return [_product(weights.to(value.dtype), value) for value in values_bc], 1


def _product(weights: Float[Tensor, "B B"], value: Float[Tensor, "B C"]) -> Float[Tensor, "B C"]:
    """Multiply matrices in their own precision, which autocast would halve."""
    kind = value.device.type
    if value.is_meta or not torch.is_autocast_enabled(kind):
        return weights @ value
    with torch.autocast(kind, enabled=False):
        return weights @ value
