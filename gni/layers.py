"""Ghost noise layers: options, buffers and `extra_repr` over the functions of `gni.functional`."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gni._batch_norm import Running, batch_norm_ghost_noise, ghost_batch_norm
from gni._checks import check_ghost_size
from gni._noise import Strength, ghost_noise
from gni._running import RunningNorm
from gni._site import NoiseSite


class GhostNoise(NoiseSite):
    """Add the noise of a random ghost batch, and nothing else.

    `y = (x - s·delta) / rho^s`, delta and rho (B, C) from N samples that each sample draws from the
    batch with replacement; see `gni.functional.ghost_noise`.

    Training draws anew in every forward and needs a batch of at least 2; eval is the identity and
    takes any batch. Strength 0 is the identity bit for bit, 1 the paper's noise; large N is little
    noise, and to first order (s, N) acts like ghost size N/s². N need not divide the batch and may
    exceed it. Randomness comes from `generator`, or torch's default generator. The noise is a
    constant to autograd. Variances are biased, statistics float32 or better. Under data parallel a
    worker's own batch is what the layer sees.

    Differences from the paper's code: the strength; centred variances; draws made on the device.

    Args:
        ghost_size: N >= 1, on vectors N >= 2 (4 or more is wise).
        strength: s >= 0.
        eps: added to both variances.
        shift: False leaves delta out.
        scale: False leaves rho out.
        channel_dim: the dim of the channels, 1 or -1 as a rule; statistics are over all others.

    Shape:
        (B, C, *space), or with the channels at `channel_dim`; output the same.

    Raises:
        ValueError: a ghost size below 1 or not whole, a negative or NaN strength, and in training a
            batch of one.

    Example:
        >>> layer = GhostNoise(16, strength=0.5)
        >>> layer(torch.randn(32, 8, 4, 4)).shape
        torch.Size([32, 8, 4, 4])

    Reference:
        Kosson et al., arXiv 2305.17205.
    """

    def __init__(
        self,
        ghost_size: int,
        strength: Strength = 1.0,
        *,
        eps: float = 1e-3,
        shift: bool = True,
        scale: bool = True,
        channel_dim: int = 1,
    ) -> None:
        super().__init__()
        self.init_noise(ghost_size, strength)
        self.eps = eps
        self.shift = shift
        self.scale = scale
        self.channel_dim = channel_dim

    def forward(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "B *rest"]:
        """Add the noise in training; return `x` itself in eval."""
        if not self.training:
            return x
        return ghost_noise(
            x,
            self.draw(x),
            self.strength,
            eps=self.eps,
            shift=self.shift,
            scale=self.scale,
            channel_dim=self.channel_dim,
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        switches = "".join(
            f", {name}=False" for name in ("shift", "scale") if not getattr(self, name)
        )
        dim = "" if self.channel_dim == 1 else f", channel_dim={self.channel_dim}"
        return f"{self.noise_repr()}, eps={self.eps}{switches}{dim}"


class GhostNoiseBatchNorm(NoiseSite, RunningNorm):
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
        device: of parameters and buffers.
        dtype: of parameters and buffers.

    Shape:
        That of the BatchNorm of the same dimension; output the same.

    Raises:
        ValueError: a ghost size below 1 or not whole, a negative or NaN strength, a wrong number of
            dims, and in training a batch of one.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype
        )
        self.init_noise_between(ghost_size, strength, noise_eps, shift=shift, scale=scale)

    def init_noise_between(
        self,
        ghost_size: int,
        strength: Strength,
        noise_eps: float = 1e-3,
        *,
        shift: bool = True,
        scale: bool = True,
    ) -> None:
        """Give a constructed batch norm its noise."""
        self.init_noise(ghost_size, strength, device=self.device_of_buffers())
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


class GhostBatchNorm(RunningNorm):
    """Batch norm whose statistics are those of small groups of the batch.

    `z = weight·(x - mean_g)/sqrt(var_g + eps) + bias` for consecutive groups g of N samples; see
    `gni.functional.ghost_batch_norm`.

    Training normalises by the groups and needs a batch that N divides. Eval is BatchNorm's eval and
    takes any batch. N equal to the batch is BatchNorm; N = 1 is instance norm. Parameters, buffers
    and state_dict keys are BatchNorm's, both ways. No randomness of its own: what is in a group
    follows from the order of the data. Gradients flow through the statistics unless stopped.
    Biased variances normalise, unbiased ones are tracked. Under data parallel a worker's own batch
    is what is cut into groups.

    Differences from the paper's code: the tracked variance is unbiased, batches are counted, and a
    batch that N does not divide is told so.

    Args:
        num_features: C.
        ghost_size: N >= 1, on vectors N >= 2.
        eps: added to the variance.
        momentum: as in BatchNorm.
        affine: False leaves gain and bias out.
        track_running_stats: as in BatchNorm.
        running: "mean", one step a batch towards the average over groups, or "sequential", one step
            a group in order (Hoffer et al.); the latter needs a momentum.
        stop_gradient: True treats the statistics as constants.
        device: of parameters and buffers.
        dtype: of parameters and buffers.

    Shape:
        That of the BatchNorm of the same dimension; output the same.

    Raises:
        ValueError: a ghost size below 1 or not whole or, in training, not a divisor of the batch;
            an unknown `running`; a wrong number of dims.

    Example:
        >>> layer = GhostBatchNorm2d(8, 16)
        >>> layer(torch.randn(32, 8, 4, 4)).shape
        torch.Size([32, 8, 4, 4])

    Reference:
        Hoffer et al., arXiv 1705.08741, Algorithm 1; Kosson et al., arXiv 2305.17205.
    """

    def __init__(
        self,
        num_features: int,
        ghost_size: int,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        running: Running = "mean",
        stop_gradient: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype
        )
        if running not in ("mean", "sequential") or (running == "sequential" and momentum is None):
            raise ValueError(
                f"running must be 'mean', or 'sequential' with a momentum, got {running!r} with "
                f"momentum {momentum!r}"
            )
        self.ghost_size = check_ghost_size(ghost_size)
        self.running: Running = running
        self.stop_gradient = stop_gradient

    def normalise(self, x: Tensor, momentum: float) -> Tensor:
        """Normalise by the groups."""
        return ghost_batch_norm(
            x,
            self.ghost_size,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=momentum,
            eps=self.eps,
            running=self.running,
            stop_gradient=self.stop_gradient,
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Check the ghost size."""
        if name == "ghost_size":
            value = check_ghost_size(value)
        super().__setattr__(name, value)

    def extra_repr(self) -> str:
        """Show the settings."""
        stopped = ", stop_gradient=True" if self.stop_gradient else ""
        running = "" if self.running == "mean" else f", running={self.running!r}"
        return f"{super().extra_repr()}, ghost_size={self.ghost_size}{running}{stopped}"


class GhostBatchNorm1d(GhostBatchNorm, nn.BatchNorm1d):
    """`GhostBatchNorm` of (B, C) or (B, C, L)."""


class GhostBatchNorm2d(GhostBatchNorm, nn.BatchNorm2d):
    """`GhostBatchNorm` of (B, C, H, W)."""


class GhostBatchNorm3d(GhostBatchNorm, nn.BatchNorm3d):
    """`GhostBatchNorm` of (B, C, D, H, W)."""
