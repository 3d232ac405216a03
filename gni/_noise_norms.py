"""Batch norm with ghost noise between normalisation and affine, as modules."""

import torch
from torch import Tensor, nn

from gni._batch_norm import batch_norm_ghost_noise
from gni._checks import check_eps
from gni._noise import Sampling, Strength, check_sampling
from gni._running import RunningNorm
from gni._site import GhostSite


class GhostNoiseBatchNorm(GhostSite, RunningNorm):
    """Batch norm, ghost noise, affine: in one.

    `z = weight·(x̂ - s·delta)/rho^s + bias`, x̂ the input normalised by the batch, delta and rho the
    ghost noise of x̂ (B, C); see `gni.functional.batch_norm_ghost_noise`.

    Training normalises by the batch, adds the noise and updates the running statistics as BatchNorm
    does (from the whole batch, unbiased variance); it needs a batch of at least 2. Eval is
    BatchNorm's eval and takes any batch. At strength 0 it is BatchNorm. Parameters, buffers and
    state_dict keys are BatchNorm's, both ways. Randomness comes from `generator`, or torch's
    default generator. Gradients flow through the batch statistics, not through the noise. Under
    data parallel a worker's own batch is what the layer sees.

    Differences from the paper's code: the strength; one multiply-add per element in place of five
    layers; centred variances; the eps of the noise has a name of its own.

    Args:
        num_features: C.
        ghost_size: N >= 1, on vectors N >= 2 (4 or more is wise).
        strength: s >= 0.
        eps: added to the batch variance.
        noise_eps: added to both variances of the noise, on the normalised scale.
        momentum: as in BatchNorm.
        affine: False leaves gain and bias out.
        track_running_stats: as in BatchNorm; without, eval normalises by the batch, without noise.
        shift: False leaves delta out.
        scale: False leaves rho out.
        sampling: as in `GhostNoise`.
        device: of parameters and buffers.
        dtype: of parameters and buffers.

    Shape:
        That of the BatchNorm of the same dimension; output the same.

    Raises:
        ValueError: a ghost size below 1 or not whole, a negative or NaN strength, a negative eps, a
            wrong number of dims, and in training a batch of one.

    Example:
        >>> layer = GhostNoiseBatchNorm2d(8, 16)
        >>> layer(torch.randn(32, 8, 4, 4)).shape
        torch.Size([32, 8, 4, 4])

    Reference:
        Kosson et al., arXiv 2305.17205.
    """

    noise_eps: float
    shift: bool
    scale: bool

    def __init__(
        self,
        num_features: int,
        ghost_size: int,
        strength: Strength = 1.0,
        *,
        eps: float = 1e-5,
        noise_eps: float = 1e-3,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        shift: bool = True,
        scale: bool = True,
        sampling: Sampling = "replacement",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_eps(eps)
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype
        )
        self.init_noise_between(
            ghost_size, strength, noise_eps, shift=shift, scale=scale, sampling=sampling
        )

    def init_noise_between(
        self,
        ghost_size: int,
        strength: Strength,
        noise_eps: float = 1e-3,
        *,
        shift: bool = True,
        scale: bool = True,
        sampling: Sampling = "replacement",
    ) -> None:
        """Give a constructed batch norm its noise."""
        check_sampling(sampling)
        check_eps(noise_eps, "noise_eps")
        self.init_ghosts(ghost_size, strength, sampling, self.device_of_buffers())
        self.noise_eps = noise_eps
        self.shift = shift
        self.scale = scale

    def device_of_buffers(self) -> torch.device | None:
        """Return where the parameters or buffers live, None without any."""
        found = [*self.parameters(recurse=False), *self.buffers(recurse=False)]
        return found[0].device if found else None

    def normalise(self, x: Tensor, momentum: float) -> Tensor:
        """Normalise by the batch, with noise."""
        return batch_norm_ghost_noise(
            x,
            self.draw(x),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.strength,
            training=True,
            momentum=momentum,
            eps=self.eps,
            noise_eps=self.noise_eps,
            shift=self.shift,
            scale=self.scale,
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{super().extra_repr()}, {self.noise_repr()}, noise_eps={self.noise_eps}"


class GhostNoiseBatchNorm1d(GhostNoiseBatchNorm, nn.BatchNorm1d):
    """`GhostNoiseBatchNorm` of (B, C) or (B, C, L)."""


class GhostNoiseBatchNorm2d(GhostNoiseBatchNorm, nn.BatchNorm2d):
    """`GhostNoiseBatchNorm` of (B, C, H, W)."""


class GhostNoiseBatchNorm3d(GhostNoiseBatchNorm, nn.BatchNorm3d):
    """`GhostNoiseBatchNorm` of (B, C, D, H, W)."""
