"""Norms by groups of the batch, as modules."""

import torch
from torch import Tensor, nn

from gni._exclusive_norm import exclusive_batch_norm
from gni._group_norm import Running, ghost_batch_norm
from gni._running import GroupedNorm


class GhostBatchNorm(GroupedNorm):
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
            an unknown `running`; a negative eps; a wrong number of dims.

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
        super().__init__(
            num_features,
            ghost_size,
            eps=eps,
            momentum=momentum,
            affine=affine,
            track_running_stats=track_running_stats,
            device=device,
            dtype=dtype,
        )
        self.init_groups(ghost_size, running, stop_gradient=stop_gradient)

    def init_groups(
        self, ghost_size: int, running: Running = "mean", *, stop_gradient: bool = False
    ) -> None:
        """Give a constructed batch norm its groups."""
        known = running in ("mean", "sequential")
        if not known or (running == "sequential" and self.momentum is None):
            raise ValueError(
                f"running must be 'mean', or 'sequential' with a momentum, got {running!r} with "
                f"momentum {self.momentum!r}"
            )
        self.ghost_size = ghost_size
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

    def extra_repr(self) -> str:
        """Show the settings."""
        stopped = ", stop_gradient=True" if self.stop_gradient else ""
        running = "" if self.running == "mean" else f", running={self.running!r}"
        return f"{super().extra_repr()}{running}{stopped}"


class GhostBatchNorm1d(GhostBatchNorm, nn.BatchNorm1d):
    """`GhostBatchNorm` of (B, C) or (B, C, L)."""


class GhostBatchNorm2d(GhostBatchNorm, nn.BatchNorm2d):
    """`GhostBatchNorm` of (B, C, H, W)."""


class GhostBatchNorm3d(GhostBatchNorm, nn.BatchNorm3d):
    """`GhostBatchNorm` of (B, C, D, H, W)."""


class ExclusiveBatchNorm(GroupedNorm):
    """Batch norm in which a sample is normalised by the others of its group.

    `z_i = weight·(x_i - mean_i)/sqrt(var_i + eps) + bias`, the statistics of the N - 1 other
    samples of i's group of N consecutive ones; see `gni.functional.exclusive_batch_norm`.

    Training needs a batch that N divides. Eval is BatchNorm's eval, with the same eps, and takes
    any batch. Large N is BatchNorm. Parameters, buffers and state_dict keys are BatchNorm's, both
    ways. No randomness of its own. Gradients flow through the statistics. Biased variances
    normalise; the running statistics are those of the whole batch, unbiased. Under data parallel a
    worker's own batch is what is cut into groups.

    Differences from the paper's code: eval uses the layer's eps; centred variances.

    Args:
        num_features: C.
        ghost_size: N >= 2, on vectors N >= 3.
        eps: added to the variance.
        momentum: as in BatchNorm.
        affine: False leaves gain and bias out.
        track_running_stats: as in BatchNorm.
        device: of parameters and buffers.
        dtype: of parameters and buffers.

    Shape:
        That of the BatchNorm of the same dimension; output the same.

    Raises:
        ValueError: a ghost size below 2 or not whole or, in training, not a divisor of the batch; a
            negative eps; a wrong number of dims.

    Example:
        >>> ExclusiveBatchNorm2d(8, 16)(torch.randn(32, 8, 4, 4)).shape
        torch.Size([32, 8, 4, 4])

    Reference:
        Kosson et al., arXiv 2305.17205.
    """

    least = 2

    def normalise(self, x: Tensor, momentum: float) -> Tensor:
        """Normalise by the others of the group."""
        return exclusive_batch_norm(
            x,
            self.ghost_size,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=momentum,
            eps=self.eps,
        )


class ExclusiveBatchNorm1d(ExclusiveBatchNorm, nn.BatchNorm1d):
    """`ExclusiveBatchNorm` of (B, C) or (B, C, L)."""


class ExclusiveBatchNorm2d(ExclusiveBatchNorm, nn.BatchNorm2d):
    """`ExclusiveBatchNorm` of (B, C, H, W)."""


class ExclusiveBatchNorm3d(ExclusiveBatchNorm, nn.BatchNorm3d):
    """`ExclusiveBatchNorm` of (B, C, D, H, W)."""
