"""Norms by groups of the batch: ghost batch norm, exclusive batch norm, EvalNorm."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gni._checks import check_ghost_size, check_group_size
from gni._fused import Statistics, coefficients, multiply_add, normalise
from gni._moments import Moments, batch_moments, instance_moments
from gni._running import update_running

Running = Literal["mean", "sequential"]


@dataclass(frozen=True)
class GroupRule:
    """Normalise consecutive groups of `ghost_size` samples by their own statistics."""

    ghost_size: int
    eps: float
    stop_gradient: bool

    def statistics(self, mean_bc: Tensor, var_bc: Tensor) -> Statistics:
        """Return k = 1/std and t = mean, equal within a group."""
        if self.stop_gradient:
            mean_bc, var_bc = mean_bc.detach(), var_bc.detach()
        mean_gc, var_gc = group_moments(mean_bc, var_bc, self.ghost_size)
        k_gc = (var_gc + self.eps).rsqrt()
        k_bc, t_bc = (v.repeat_interleave(self.ghost_size, 0) for v in (k_gc, mean_gc))
        return Statistics(k_bc, t_bc)

    def pullback(
        self, known: Statistics, total_bc: Tensor, dot_bc: Tensor, space: int
    ) -> tuple[Tensor, Tensor]:
        """Return slope and offset: the gradient of a batch norm, for each group."""
        k_bc, t_bc = known.k, known.t
        if self.stop_gradient:
            return torch.zeros_like(k_bc), torch.zeros_like(k_bc)
        count = self.ghost_size * space
        total_gc, dot_gc = (self._sum(value) / count for value in (total_bc, dot_bc))
        slope_bc = dot_gc.repeat_interleave(self.ghost_size, 0).mul_(k_bc).mul_(k_bc).neg_()
        offset_bc = total_gc.repeat_interleave(self.ghost_size, 0).neg_()
        return slope_bc, offset_bc.addcmul_(t_bc, slope_bc, value=-1)

    def _sum(self, value_bc: Tensor) -> Tensor:
        return value_bc.view(-1, self.ghost_size, value_bc.shape[1]).sum(1)


def group_moments(mean_bc: Tensor, var_bc: Tensor, ghost_size: int) -> Moments:
    """Combine instance moments into the (G, C) moments of consecutive groups."""
    groups = (-1, ghost_size, mean_bc.shape[1])
    mean_gnc, var_gnc = mean_bc.view(groups), var_bc.view(groups)
    mean_gc = mean_gnc.mean(1)
    return Moments(mean_gc, (var_gnc + (mean_gnc - mean_gc.unsqueeze(1)).square()).mean(1))


def ghost_batch_norm(  # noqa: PLR0917 (torch's order)
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
    running: Running = "mean",
    stop_gradient: bool = False,
    fused: bool = True,
) -> Float[Tensor, "B C *space"]:
    """Normalise each consecutive group of `ghost_size` samples by its own statistics.

    `z = weight·(x - mean_g)/sqrt(var_g + eps) + bias`, biased statistics over the group and all of
    space, in float32 or better. With `training=False` it is `F.batch_norm` on the running
    statistics and takes any batch.

    Args:
        x: (B, C, *space).
        ghost_size: samples in a group; must divide B in training.
        running_mean: (C,), updated in place in training.
        running_var: (C,), updated in place in training, from unbiased variances.
        weight: gain (C,).
        bias: (C,).
        training: normalise by the groups.
        momentum: share of the new statistics in the running ones.
        eps: added to the variance.
        running: "mean" takes one step towards the average over groups (the paper's code),
            "sequential" one step per group in order (Hoffer et al., Algorithm 1).
        stop_gradient: True treats the statistics as constants.
        fused: False allows a second derivative, at about three times the cost.

    Raises:
        ValueError: a ghost size that does not divide the batch or is below 1, groups of one value,
            an unknown `running`.

    Reference:
        Hoffer et al., arXiv 1705.08741, Algorithm 1; Kosson et al., arXiv 2305.17205.
    """
    if running not in ("mean", "sequential"):
        raise ValueError(f"running must be 'mean' or 'sequential', got {running!r}")
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, 0.0, eps)
    check_group_size(x.shape[0], check_ghost_size(ghost_size))
    count = ghost_size * (x.numel() // (x.shape[0] * x.shape[1]))
    if count < 2:
        raise ValueError(
            f"a ghost batch needs at least 2 values per channel, got {count} (ghost size "
            f"{ghost_size} on vectors); use a ghost size of 2 or more"
        )
    z, moments = normalise(x, weight, bias, GroupRule(ghost_size, eps, stop_gradient), fused=fused)
    groups = group_moments(*moments, ghost_size)
    if running == "mean":
        groups = Moments(groups.mean.mean(0, keepdim=True), groups.var.mean(0, keepdim=True))
    update_running(running_mean, running_var, groups, count, momentum)
    return z


@dataclass(frozen=True)
class ExclusiveRule:
    """Normalise each sample by the statistics of the others of its group."""

    ghost_size: int
    eps: float

    def statistics(self, mean_bc: Tensor, var_bc: Tensor) -> Statistics:
        """Return k = 1/std and t = mean of the others."""
        groups = (-1, self.ghost_size, mean_bc.shape[1])
        mean_gnc, var_gnc = mean_bc.view(groups), var_bc.view(groups)
        centre_g1c = mean_gnc.mean(1, keepdim=True)
        centred_gnc = mean_gnc - centre_g1c
        square_gnc = torch.addcmul(var_gnc, centred_gnc, centred_gnc)
        others = self.ghost_size - 1
        # Means centred in the group sum to zero, so those of the others sum to minus one's own.
        shift_gnc = centred_gnc / -others
        mean_square_gnc = (square_gnc.sum(1, keepdim=True) - square_gnc) / others
        other_var_gnc = torch.addcmul(mean_square_gnc, shift_gnc, shift_gnc, value=-1)
        k_gnc = (other_var_gnc.clamp_min(0) + self.eps).rsqrt()
        t_bc = (centre_g1c + shift_gnc).view_as(mean_bc)
        return Statistics(k_gnc.view_as(mean_bc), t_bc, (centre_g1c,))

    def pullback(
        self, known: Statistics, total_bc: Tensor, dot_bc: Tensor, space: int
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
    space = x.numel() // (x.shape[0] * x.shape[1])
    check_group_size(x.shape[0], check_ghost_size(ghost_size, 2))
    if (ghost_size - 1) * space < 2:
        raise ValueError(
            f"the others of a group need at least 2 values per channel, got {space} (ghost size "
            f"{ghost_size} on vectors); use a ghost size of 3 or more"
        )
    z, moments = normalise(x, weight, bias, ExclusiveRule(ghost_size, eps), fused=fused)
    batch = Moments(*(value.unsqueeze(0) for value in batch_moments(*moments)))
    update_running(running_mean, running_var, batch, x.shape[0] * space, momentum)
    return z


def eval_norm(  # noqa: PLR0917 (torch's order)
    x: Float[Tensor, "B C *space"],
    ghost_size: int,
    running_mean: Float[Tensor, "C"],
    running_var: Float[Tensor, "C"],
    weight: Float[Tensor, "C"] | None = None,
    bias: Float[Tensor, "C"] | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    fused: bool = True,
) -> Float[Tensor, "B C *space"]:
    """Train as ghost batch norm; in eval count the sample itself, as its ghost batch did.

    In eval, with a = 1/N²: mean = (1-a)·running_mean + a·mean_i and
    var = (1-a)·running_var + a·var_i + a·(1-a)·(mean_i - running_mean)², i the sample's own
    statistics over space. A large N is plain eval; N = 1 is instance norm.

    Args:
        x: (B, C, *space).
        ghost_size: N; must divide B in training.
        running_mean: (C,), updated in place in training.
        running_var: (C,), updated in place in training, from unbiased variances.
        weight: gain (C,).
        bias: (C,).
        training: as `ghost_batch_norm`.
        momentum: share of the new statistics in the running ones.
        eps: added to the variance.
        fused: False allows a second derivative, at about three times the cost.

    Raises:
        ValueError: as `ghost_batch_norm`.

    Reference:
        Kosson et al., arXiv 2305.17205 (the EvalNorm they compare with).
    """
    if training:
        return ghost_batch_norm(
            x,
            ghost_size,
            running_mean,
            running_var,
            weight,
            bias,
            training=True,
            momentum=momentum,
            eps=eps,
            fused=fused,
        )
    own = 1 / check_ghost_size(ghost_size) ** 2
    mean_bc, var_bc = instance_moments(x)
    gap_bc = mean_bc - running_mean
    mixed_bc = (1 - own) * running_var + own * var_bc + own * (1 - own) * gap_bc.square()
    known = Statistics((mixed_bc + eps).rsqrt(), running_mean + own * gap_bc)
    return multiply_add(x, *coefficients(known, weight, bias))
