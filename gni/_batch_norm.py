"""Batch norm, ghost noise and affine in one."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gni._checks import check_channels, check_strength
from gni._fused import Saved, Statistics, normalise
from gni._moments import Ghosts, Moments, Strength, batch_moments, ghost_moments
from gni._noise import check_ghosts, noise_coefficients
from gni._running import update_running
from gni._vectors import Noise, Tracked, normalise_vectors, takes


@dataclass(frozen=True)
class NoiseRule:
    """Normalise by the batch, then ghost noise on the normalised values, then affine."""

    ghosts: Tensor
    strength: Strength
    eps: float
    noise_eps: float
    shift: bool
    scale: bool

    def statistics(self, mean_bc: Tensor, var_bc: Tensor) -> Statistics:
        """Return k = rho^-s·r and t = mean + s·delta, and the batch's mean and r = 1/std.

        The noise is that of x/std with eps, so that of x with eps·std²: a constant to autograd.
        """
        known = batch_moments(mean_bc, var_bc) if torch.is_grad_enabled() else None
        with torch.no_grad():
            ghost = ghost_moments(mean_bc, var_bc, self.ghosts, known)
        batch = ghost.batch
        r_c = (batch.var + self.eps).rsqrt()
        with torch.no_grad():
            eps_c = self.noise_eps * (batch.var + self.eps)
            delta_bc, factor_bc = noise_coefficients(
                ghost, self.strength, eps=eps_c, shift=self.shift, scale=self.scale
            )
            k_bc = factor_bc * r_c
        tracked = Moments(*(value.unsqueeze(0) for value in batch))
        if not torch.is_grad_enabled():
            return Statistics(k_bc, batch.mean + delta_bc, tracked, (batch.mean, r_c))
        return Statistics(factor_bc * r_c, batch.mean, tracked, constant=k_bc * delta_bc)

    def pullback(
        self, known: Saved, total_bc: Tensor, dot_bc: Tensor, space: int
    ) -> tuple[Tensor, Tensor]:
        """Return slope and offset (C,): the gradient of a batch norm."""
        t_bc = known.t
        mean_c, r_c = known.extra
        count = len(t_bc) * space
        centred_bc = torch.addcmul(dot_bc, t_bc - mean_c, total_bc)
        slope_c = centred_bc.sum(0) * (-r_c.square() / count)
        return slope_c, -mean_c * slope_c - total_bc.sum(0) / count


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
    check_channels(x, running_mean, running_var, weight, bias)
    if x.numel() == 0:
        return F.batch_norm(x, running_mean, running_var, weight, bias, True, momentum, eps)
    same = running_mean is None or running_mean.dtype == x.dtype
    if fused and same and takes(x):
        noise = Noise(ghosts, strength, noise_eps, shift, scale)
        tracked = Tracked(running_mean, running_var, momentum, eps)
        return normalise_vectors(x, weight, bias, noise, tracked)
    rule = NoiseRule(ghosts, strength, eps, noise_eps, shift, scale)
    z, batch = normalise(x, weight, bias, rule, fused=fused)
    update_running(running_mean, running_var, batch, x.numel() // x.shape[1], momentum)
    return z
