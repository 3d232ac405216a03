"""Norms by groups of the batch: ghost batch norm and EvalNorm."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gni._checks import check_channels, check_ghost_size, check_group_size
from gni._fused import Saved, Statistics, coefficients, multiply_add, normalise
from gni._group_vectors import ghost_vectors
from gni._moments import Moments, instance_moments
from gni._running import update_running
from gni._vectors import takes

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
        groups = group_moments(mean_bc, var_bc, self.ghost_size)
        k_gc = (groups.var + self.eps).rsqrt()
        k_bc, t_bc = (v.repeat_interleave(self.ghost_size, 0) for v in (k_gc, groups.mean))
        return Statistics(k_bc, t_bc, groups)

    def pullback(
        self, known: Saved, total_bc: Tensor, dot_bc: Tensor, space: int
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
    check_channels(x, running_mean, running_var, weight, bias)
    if x.numel() == 0:
        return F.batch_norm(x, running_mean, running_var, weight, bias, True, momentum, eps)
    count = ghost_size * x[0, 0].numel()
    if count < 2:
        raise ValueError(
            f"a ghost batch needs at least 2 values per channel, got {count} (ghost size "
            f"{ghost_size} on vectors); use a ghost size of 2 or more"
        )
    if fused and takes(x):
        z, groups = ghost_vectors(x, weight, bias, ghost_size, eps, stop_gradient)
    else:
        rule = GroupRule(ghost_size, eps, stop_gradient)
        z, groups = normalise(x, weight, bias, rule, fused=fused)
    if running == "mean":
        groups = Moments(groups.mean.mean(0, keepdim=True), groups.var.mean(0, keepdim=True))
    update_running(running_mean, running_var, groups, count, momentum)
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
    k_bc, t_bc = (mixed_bc + eps).rsqrt(), running_mean + own * gap_bc
    return multiply_add(x, *coefficients(k_bc, t_bc, weight, bias))
