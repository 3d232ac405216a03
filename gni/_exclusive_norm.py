"""Exclusive batch norm: a sample is normalised by the others of its group."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gni._checks import check_channels, check_ghost_size, check_group_size
from gni._fused import Saved, Statistics, normalise
from gni._group_vectors import exclusive_vectors
from gni._moments import Moments, batch_moments
from gni._running import update_running
from gni._vectors import takes


@dataclass(frozen=True)
class ExclusiveRule:
    """Normalise each sample by the statistics of the others of its group."""

    ghost_size: int
    eps: float

    def statistics(self, mean_bc: Tensor, var_bc: Tensor) -> Statistics:
        """Return k = 1/std and t = mean of the others."""
        mean_bc, var_bc = mean_bc.contiguous(), var_bc.contiguous()  # of transposed vectors
        groups = (-1, self.ghost_size, mean_bc.shape[1])
        mean_gnc, var_gnc = mean_bc.view(groups), var_bc.view(groups)
        centre_g1c = mean_gnc.mean(1, keepdim=True)
        centred_gnc = mean_gnc - centre_g1c
        square_gnc = torch.addcmul(var_gnc, centred_gnc, centred_gnc)
        others = self.ghost_size - 1
        # Means centred in the group sum to zero, so those of the others sum to minus one's own.
        shift_gnc = centred_gnc / -others
        total_g1c = square_gnc.sum(1, keepdim=True)
        mean_square_gnc = (total_g1c - square_gnc) / others
        other_var_gnc = torch.addcmul(mean_square_gnc, shift_gnc, shift_gnc, value=-1)
        k_gnc = (other_var_gnc.clamp_min(0) + self.eps).rsqrt()
        t_bc = (centre_g1c + shift_gnc).view_as(mean_bc)
        tracked = Moments(centre_g1c.squeeze(1), total_g1c.squeeze(1) / self.ghost_size)
        return Statistics(k_gnc.view_as(mean_bc), t_bc, tracked, (centre_g1c,))

    def pullback(
        self, known: Saved, total_bc: Tensor, dot_bc: Tensor, space: int
    ) -> tuple[Tensor, Tensor]:
        """Return slope and offset, by way of the others' mean and mean square about the centre."""
        k_bc, t_bc = known.k, known.t
        (centre_g1c,) = known.extra
        others = self.ghost_size - 1
        k_gnc, t_gnc, total_gnc, dot_gnc = (
            v.view(-1, self.ghost_size, v.shape[1]) for v in (k_bc, t_bc, total_bc, dot_bc)
        )
        var_grad = k_gnc.square().mul_(dot_gnc).mul_(-0.5)
        mean_grad = torch.addcmul(total_gnc, t_gnc - centre_g1c, var_grad, value=2).neg_()
        mean_grad, square_grad = (
            (v.sum(1, keepdim=True) - v).div_(others * space) for v in (mean_grad, var_grad)
        )
        slope_gnc = square_grad.mul_(2)
        offset_gnc = mean_grad.addcmul_(slope_gnc, centre_g1c, value=-1)
        return slope_gnc.view_as(k_bc), offset_gnc.view_as(k_bc)


def exclusive_batch_norm(  # noqa: PLR0917 (torch's order)
    x: Float[Tensor, "B C *space"],
    ghost_size: int,
    running_mean: Float[Tensor, "C"] | None,
    running_var: Float[Tensor, "C"] | None,
    weight: Float[Tensor, "C"] | None = None,
    bias: Float[Tensor, "C"] | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    fused: bool = True,
) -> Float[Tensor, "B C *space"]:
    """Normalise each sample by the other `ghost_size - 1` samples of its consecutive group.

    `z_i = weight·(x_i - mean_i)/sqrt(var_i + eps) + bias`, mean_i and var_i (biased) over all
    samples of i's group but i and over all of space, in float32 or better. Gradients flow through
    them. The running statistics are those of the whole batch; with `training=False` it is
    `F.batch_norm` on them and takes any batch.

    Args:
        x: (B, C, *space).
        ghost_size: N, samples in a group, one's own counted; must divide B in training.
        running_mean: (C,), updated in place in training.
        running_var: (C,), updated in place in training, from the unbiased variance.
        weight: gain (C,).
        bias: (C,).
        training: normalise by the others.
        momentum: share of the new statistics in the running ones.
        eps: added to the variance, in training and in eval.
        fused: False allows a second derivative, at about three times the cost.

    Raises:
        ValueError: a ghost size that does not divide the batch, or below 2 (3 on vectors).

    Reference:
        Kosson et al., arXiv 2305.17205 (Exclusive Batch Normalization).
    """
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, 0.0, eps)
    check_group_size(x.shape[0], check_ghost_size(ghost_size, 2))
    check_channels(x, running_mean, running_var, weight, bias)
    if x.numel() == 0:
        return F.batch_norm(x, running_mean, running_var, weight, bias, True, momentum, eps)
    space = x[0, 0].numel()
    if (ghost_size - 1) * space < 2:
        raise ValueError(
            f"the others of a group need at least 2 values per channel, got {space} (ghost size "
            f"{ghost_size} on vectors); use a ghost size of 3 or more"
        )
    if fused and takes(x):
        z, groups = exclusive_vectors(x, weight, bias, ghost_size, eps)
    else:
        z, groups = normalise(x, weight, bias, ExclusiveRule(ghost_size, eps), fused=fused)
    batch = Moments(*(value.unsqueeze(0) for value in batch_moments(*groups)))
    update_running(running_mean, running_var, batch, x.shape[0] * space, momentum)
    return z
