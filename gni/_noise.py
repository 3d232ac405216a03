"""Noise that multiplies and shifts an activation, one value per sample and channel.

Legend: B batch, C channels, N ghost size, delta the shift and rho the scale of the noise.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from gni import _vectors as vectors
from gni._checks import (
    check_batch,
    check_ghost_size,
    check_group_size,
    check_input,
    check_strength,
)
from gni._fused import multiply_add
from gni._moments import (
    GhostMoments,
    Ghosts,
    Strength,
    ghost_moments,
    instance_moments,
    reduced_dims,
    scalar,
)

Sampling = Literal["replacement", "groups", "shuffled"]


def draw_ghosts(
    batch: int,
    ghost_size: int,
    *,
    generator: Generator | None = None,
    device: torch.device | str | None = None,
) -> Int[Tensor, "B N"]:
    """Draw for each of `batch` samples `ghost_size` samples of the batch, with replacement.

    The draw is made on `device`, or on the generator's device and then moved there, so that one
    CPU generator gives the same noise on every kind of device. The ghost size need not divide the
    batch and may exceed it.

    Raises:
        ValueError: `batch` below 2, or `ghost_size` below 1 or not a whole number.

    Reference:
        Kosson et al., arXiv 2305.17205 (Ghost Noise Injection).
    """
    check_batch(batch)
    shape = (batch, check_ghost_size(ghost_size))
    if generator is None:
        return torch.randint(batch, shape, device=device)
    ghosts = torch.randint(batch, shape, generator=generator, device=generator.device)
    return ghosts if device is None else ghosts.to(device, non_blocking=True)


def draw_groups(
    batch: int,
    ghost_size: int,
    *,
    shuffle: bool = True,
    generator: Generator | None = None,
    device: torch.device | str | None = None,
) -> Int[Tensor, "B N"]:
    """Cut the batch into groups of `ghost_size`; each sample's ghost is its own group.

    The older form of the noise, without replacement. In the paper's code its shuffle option applies
    the statistics of permuted groups to samples that are not permuted; here a sample is always a
    member of the group whose noise it gets.

    Args:
        batch: B.
        ghost_size: N, a divisor of B.
        shuffle: False takes consecutive groups and draws nothing.
        generator: see `draw_ghosts`.
        device: of the result.

    Raises:
        ValueError: a batch below 2, a ghost size that does not divide it.
    """
    check_batch(batch)
    check_group_size(batch, check_ghost_size(ghost_size))
    place = device if generator is None else generator.device
    order = torch.arange(batch, device=place)
    if shuffle:
        order = torch.randperm(batch, generator=generator, device=place)
    groups = order.view(-1, ghost_size)
    rank = torch.argsort(order) // ghost_size
    ghosts = groups[rank]
    return ghosts if device is None else ghosts.to(device, non_blocking=True)


def draw_by(
    sampling: Sampling,
    batch: int,
    ghost_size: int,
    *,
    generator: Generator | None,
    device: torch.device,
) -> Int[Tensor, "B N"]:
    """Draw with replacement, or take consecutive or shuffled groups."""
    if sampling == "replacement":
        return draw_ghosts(batch, ghost_size, generator=generator, device=device)
    shuffle = sampling == "shuffled"
    return draw_groups(batch, ghost_size, shuffle=shuffle, generator=generator, device=device)


def check_sampling(sampling: str) -> None:
    """Raise ValueError unless the name is known."""
    if sampling not in get_args(Sampling):
        raise ValueError(f"sampling must be one of {get_args(Sampling)}, got {sampling!r}")


def check_ghosts(x: Tensor, ghosts: Tensor, channel_dim: int) -> None:
    """Raise ValueError unless `ghosts` is a draw that has a meaning for `x`."""
    check_input(x, channel_dim)
    batch = x.shape[0]
    check_batch(batch)
    table = not ghosts.is_floating_point()
    if ghosts.dim() != 2 or ghosts.shape[0] != batch or (not table and ghosts.shape[1] != batch):
        raise ValueError(
            f"ghosts must be ({batch}, N) indices or ({batch}, {batch}) weights for a batch of "
            f"{batch}, got shape {tuple(ghosts.shape)}; draw them for this batch"
        )
    if table and ghosts.shape[1] < 2 and not reduced_dims(x, channel_dim):
        raise ValueError(
            "ghost_size must be >= 2 for vectors, got 1: one vector has no variance; use 4 or more"
        )


def noise_coefficients(
    ghost: GhostMoments, strength: Strength, *, eps: float | Tensor, shift: bool, scale: bool
) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
    """Return strength·delta and rho^-strength."""
    strength = scalar(strength, ghost.var)
    delta_bc = ghost.delta * strength if shift else strength.new_zeros(()).expand_as(ghost.delta)
    if not scale:
        return delta_bc, strength.new_ones(()).expand_as(delta_bc)
    # exp and log are vectorised on a CPU, pow is not.
    ratio_bc = (ghost.batch.var + eps) / (ghost.var + eps)
    return delta_bc, (ratio_bc.log() * (strength / 2)).exp()


def identity_at_zero(
    delta_bc: Float[Tensor, "B C"], factor_bc: Float[Tensor, "B C"], strength: Strength
) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
    """Turn `(x - delta)·factor` into a·x + b that at strength 0 is x bit for bit.

    x + (-0.0) is x for every x, while x + 0.0 turns -0.0 into 0.0; and an infinite x, whose
    statistics are not numbers, is to stay what it is.
    """
    none = scalar(strength, delta_bc) == 0
    scale_bc = torch.where(none, 1, factor_bc)
    return scale_bc, torch.where(none | (delta_bc == 0), -0.0, -delta_bc * scale_bc)


def ghost_noise(
    x: Float[Tensor, "B *rest"],
    ghosts: Ghosts,
    strength: Strength = 1.0,
    *,
    eps: float = 1e-3,
    shift: bool = True,
    scale: bool = True,
    channel_dim: int = 1,
) -> Float[Tensor, "B *rest"]:
    """Give each sample the mean and variance error that a ghost batch would have given it.

    `y = (x - s·delta) / rho^s` with `delta = ghost mean - batch mean` and
    `rho = sqrt((ghost var + eps) / (batch var + eps))`, per sample and channel (B, C); variances
    are biased and taken over the drawn samples and all dims but batch and channel, in float32 or
    better. The noise is a constant to autograd: `dx = dy / rho^s`.

    Args:
        x: (B, C, *space), or with the channels at `channel_dim`.
        ghosts: the draw, (B, N) indices of samples or a (B, B) averaging matrix (`ghost_weights`);
            all channels share it.
        strength: s >= 0. 0 is the identity bit for bit, 1 the paper's noise; to first order (s, N)
            acts like ghost size N/s². A 0-dim tensor is not checked.
        eps: added to both variances.
        shift: False leaves delta out.
        scale: False leaves rho out.
        channel_dim: the dim of `x` that holds the channels, not 0.

    Raises:
        ValueError: a batch of one, ghosts of another batch, N = 1 on vectors, a negative or NaN
            strength.

    Reference:
        Kosson et al., arXiv 2305.17205 (Ghost Noise Injection). The strength is ours.
    """
    check_strength(strength)
    check_ghosts(x, ghosts, channel_dim)
    with torch.no_grad():
        if vectors.takes(x):
            noise = vectors.Noise(ghosts, strength, eps, shift, scale)
            scale_bc, offset_bc = vectors.noise_coefficients(x, noise)
        else:
            ghost = ghost_moments(*instance_moments(x, channel_dim), ghosts)
            noise = noise_coefficients(ghost, strength, eps=eps, shift=shift, scale=scale)
            scale_bc, offset_bc = identity_at_zero(*noise, strength)
    return multiply_add(x, scale_bc, offset_bc, channel_dim)
