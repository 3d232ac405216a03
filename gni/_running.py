"""Running statistics, and what the layers with BatchNorm's parameters and buffers share."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gni._checks import check_eps, check_ghost_size
from gni._moments import Moments


class RunningNorm(nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage]
    """A BatchNorm that normalises in its own way in training.

    Eval is BatchNorm's: by the running statistics, or by the batch where none are tracked.
    """

    def normalise(self, x: Tensor, momentum: float) -> Tensor:
        """Normalise a training batch and update the running statistics."""
        raise NotImplementedError

    def forward(self, input: Tensor) -> Tensor:
        """Normalise: as the subclass does in training, as BatchNorm does in eval."""
        cast(Any, self)._check_input_dim(input)
        if self.training:
            return self.normalise(input, self._count_batch())
        return self.evaluate(input)

    def evaluate(self, x: Tensor) -> Tensor:
        """Normalise as BatchNorm in eval."""
        untracked = self.running_mean is None
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, untracked, 0.0, self.eps
        )

    def _count_batch(self) -> float:
        """Count this batch; return the share that it gets in the running statistics."""
        if not self.track_running_stats or self.num_batches_tracked is None:
            return 0.0
        self.num_batches_tracked.add_(1)
        if self.momentum is None:
            return 1.0 / float(self.num_batches_tracked)
        return self.momentum


class GroupedNorm(RunningNorm):
    """A BatchNorm over groups of a checked ghost size; `GhostBatchNorm` documents the arguments."""

    least = 1
    needs_tracking = False
    ghost_size: int

    def __init__(
        self,
        num_features: int,
        ghost_size: int,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if self.needs_tracking and not track_running_stats:
            raise ValueError(
                f"{type(self).__name__} mixes running statistics with a sample's own, got "
                "track_running_stats=False; use a ghost batch norm"
            )
        check_eps(eps)
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype
        )
        self.ghost_size = ghost_size

    def __setattr__(self, name: str, value: Any) -> None:
        """Check the ghost size."""
        if name == "ghost_size":
            value = check_ghost_size(value, self.least)
        super().__setattr__(name, value)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{super().extra_repr()}, ghost_size={self.ghost_size}"


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
        groups = len(moments.mean)
        unbiased = moments.var * (count / (count - 1))
        for running, new in ((running_mean, moments.mean), (running_var, unbiased)):
            if groups == 1:
                running.mul_(1 - momentum).add_(new[0].to(running.dtype), alpha=momentum)
            else:
                step = _in_order(new, momentum).to(running.dtype)
                running.mul_((1 - momentum) ** groups).add_(step)


def _in_order(new_gc: Tensor, momentum: float) -> Tensor:
    """Return the sum of G steps, later groups weighing more."""
    powers = torch.arange(len(new_gc) - 1, -1, -1, device=new_gc.device).to(new_gc.dtype)
    steps = momentum * (1 - momentum) ** powers
    return (steps.unsqueeze(1) * new_gc).sum(0)  # not @, whose precision autocast would halve
