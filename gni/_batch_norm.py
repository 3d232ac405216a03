"""Batch norm, ghost noise and affine in one."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gni._checks import check_strength
from gni._fused import affine, normalise
from gni._moments import Ghosts, Moments, batch_moments
from gni._noise import Strength, check_ghosts, noise_coefficients
from gni._running import update_running


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
