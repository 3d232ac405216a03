"""Batch norm with ghost noise, and ghost batch norm: rules, running statistics, functions."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gni._checks import check_ghost_size, check_group_size, check_strength
from gni._fused import normalise
from gni._moments import Ghosts, Moments, batch_moments
from gni._noise import Strength, check_ghosts, noise_coefficients

Running = Literal["mean", "sequential"]


def affine(
    scale_bc: Tensor, offset_bc: Tensor, weight_c: Tensor | None, bias_c: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Follow `scale·x + offset` by the gain and bias of the layer."""
    if weight_c is not None:
        scale_bc, offset_bc = scale_bc * weight_c, offset_bc * weight_c
    return scale_bc, offset_bc if bias_c is None else offset_bc + bias_c


@dataclass(frozen=True)
class NoiseRule:
    """Normalise by the batch, then ghost noise on the normalised values, then affine."""

    ghosts: Tensor
    strength: Strength
    eps: float
    noise_eps: float
    shift: bool
    scale: bool

    def __call__(
        self, mean_bc: Tensor, var_bc: Tensor, weight_c: Tensor | None, bias_c: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return (a, b); the noise is a constant to autograd."""
        mean_c, var_c = batch_moments(mean_bc, var_bc)
        inverse_c = (var_c + self.eps).rsqrt()
        with torch.no_grad():
            # The noise on x/σ with eps is the noise on x with eps·σ², its shift divided by σ.
            delta_bc, noise_bc = noise_coefficients(
                mean_bc,
                var_bc,
                self.ghosts,
                self.strength,
                eps=self.noise_eps * (var_c + self.eps),
                shift=self.shift,
                scale=self.scale,
            )
            delta_bc = delta_bc * inverse_c
        offset_bc = -noise_bc * (mean_c * inverse_c + delta_bc)
        return affine(noise_bc * inverse_c, offset_bc, weight_c, bias_c)


@dataclass(frozen=True)
class GroupRule:
    """Normalise consecutive groups of `ghost_size` samples by their own statistics."""

    ghost_size: int
    eps: float
    stop_gradient: bool

    def __call__(
        self, mean_bc: Tensor, var_bc: Tensor, weight_c: Tensor | None, bias_c: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return (a, b), equal within a group."""
        if self.stop_gradient:
            mean_bc, var_bc = mean_bc.detach(), var_bc.detach()
        mean_gc, var_gc = group_moments(mean_bc, var_bc, self.ghost_size)
        inverse_gc = (var_gc + self.eps).rsqrt()
        scale_gc, offset_gc = affine(inverse_gc, -mean_gc * inverse_gc, weight_c, bias_c)
        repeat = self.ghost_size
        return scale_gc.repeat_interleave(repeat, 0), offset_gc.repeat_interleave(repeat, 0)


def group_moments(mean_bc: Tensor, var_bc: Tensor, ghost_size: int) -> Moments:
    """Combine instance moments into the (G, C) moments of consecutive groups."""
    groups = (-1, ghost_size, mean_bc.shape[1])
    mean_gnc, var_gnc = mean_bc.view(groups), var_bc.view(groups)
    mean_gc = mean_gnc.mean(1)
    return Moments(mean_gc, (var_gnc + (mean_gnc - mean_gc.unsqueeze(1)).square()).mean(1))


def update_running(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    moments: Moments,
    count: int,
    momentum: float,
) -> None:
    """Move running statistics towards (G, C) moments of `count` values each, group by group.

    With G groups the old value keeps the weight (1 - momentum)^G. The variance is made unbiased.
    """
    if running_mean is None or running_var is None:
        return
    with torch.no_grad():
        groups = moments.mean.shape[0]
        keep = 1 - momentum
        powers = torch.arange(groups - 1, -1, -1, device=moments.mean.device)
        weights = momentum * keep ** powers.to(moments.mean.dtype)
        unbiased = moments.var * (count / (count - 1))
        for running, new in ((running_mean, moments.mean), (running_var, unbiased)):
            running.mul_(keep**groups).add_((weights @ new).to(running.dtype))


def batch_norm_ghost_noise(  # noqa: PLR0917 (torch's order)
    x: Float[Tensor, "B C *space"],
    ghosts: Ghosts | None,
    running_mean: Float[Tensor, "C"] | None,
    running_var: Float[Tensor, "C"] | None,
    weight: Float[Tensor, "C"] | None = None,
    bias: Float[Tensor, "C"] | None = None,
    strength: Strength = 1.0,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    noise_eps: float = 1e-3,
    shift: bool = True,
    scale: bool = True,
    fused: bool = True,
) -> Float[Tensor, "B C *space"]:
    """Normalise by the batch, add ghost noise, scale and shift: one multiply-add per element.

    `z = weight·(x̂ - s·delta)/rho^s + bias` with `x̂ = (x - mean)/sqrt(var + eps)` and delta and rho
    the ghost noise of x̂ (see `ghost_noise`). In training, statistics are the batch's, in float32
    or better, and the running ones are updated as `F.batch_norm` does it (unbiased variance). With
    `training=False` it is `F.batch_norm` on the running statistics and takes any batch.

    Gradients flow through the batch statistics, not through the noise.

    Args:
        x: (B, C, *space).
        ghosts: the draw, see `ghost_noise`; not used, and may be None, when not training.
        running_mean: (C,), updated in place in training.
        running_var: (C,), updated in place in training.
        weight: gain (C,).
        bias: (C,).
        strength: s >= 0; at 0 this is batch norm.
        training: normalise by the batch, with noise.
        momentum: share of the new statistics in the running ones.
        eps: added to the batch variance.
        noise_eps: added to both variances of the noise, on the normalised scale.
        shift: False leaves delta out.
        scale: False leaves rho out.
        fused: False allows a second derivative, at about three times the cost.

    Raises:
        ValueError: as `ghost_noise`; no running statistics when not training.

    Reference:
        Kosson et al., arXiv 2305.17205 (Ghost Noise Injection after normalisation).
    """
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, 0.0, eps)
    if ghosts is None:
        raise ValueError("training needs ghosts, got None; draw them with draw_ghosts")
    check_strength(strength)
    check_ghosts(x, ghosts, 1)
    rule = NoiseRule(ghosts, strength, eps, noise_eps, shift, scale)
    z, (mean_bc, var_bc) = normalise(x, weight, bias, rule, fused=fused)
    mean_c, var_c = batch_moments(mean_bc, var_bc)
    one_group = Moments(mean_c.unsqueeze(0), var_c.unsqueeze(0))
    update_running(running_mean, running_var, one_group, x.numel() // x.shape[1], momentum)
    return z


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
