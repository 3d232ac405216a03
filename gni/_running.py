"""Running statistics, and what the layers with BatchNorm's parameters and buffers share."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        keep = 1 - momentum
        unbiased = moments.var * (count / (count - 1))
        for running, new in ((running_mean, moments.mean), (running_var, unbiased)):
            step = new[0] * momentum if groups == 1 else _in_order(new, momentum)
            running.mul_(keep**groups).add_(step.to(running.dtype))


def _in_order(new_gc: Tensor, momentum: float) -> Tensor:
    """Return the sum of G steps, later groups weighing more."""
    powers = torch.arange(len(new_gc) - 1, -1, -1, device=new_gc.device).to(new_gc.dtype)
    return (momentum * (1 - momentum) ** powers) @ new_gc
