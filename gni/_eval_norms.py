"""EvalNorm, as modules."""

from torch import Tensor, nn

from gni._group_norm import eval_norm
from gni._running import GroupedNorm


class EvalNorm(GroupedNorm):
    """Ghost batch norm whose eval counts the sample itself.

    Training is `GhostBatchNorm`. Eval mixes the sample's own statistics over space into the running
    ones with the weight 1/N²; see `gni.functional.eval_norm`.

    Training needs a batch that N divides; eval takes any batch. Large N is BatchNorm; N = 1 is
    instance norm. Parameters, buffers and state_dict keys are BatchNorm's, both ways. No randomness
    of its own. Gradients flow through the statistics. Biased variances normalise, unbiased ones are
    tracked. Under data parallel a worker's own batch is what is cut into groups.

    Differences from the paper's code: eval works with the default options.

    Args:
        num_features: C.
        ghost_size: N >= 1, on vectors N >= 2.
        eps: added to the variance.
        momentum: as in BatchNorm.
        affine: False leaves gain and bias out.
        track_running_stats: True; there is no EvalNorm without running statistics.
        device: of parameters and buffers.
        dtype: of parameters and buffers.

    Shape:
        That of the BatchNorm of the same dimension; output the same.

    Raises:
        ValueError: a ghost size below 1 or not whole or, in training, not a divisor of the batch; a
            negative eps; a wrong number of dims; track_running_stats=False.

    Example:
        >>> EvalNorm2d(8, 16)(torch.randn(32, 8, 4, 4)).shape
        torch.Size([32, 8, 4, 4])

    Reference:
        Kosson et al., arXiv 2305.17205.
    """

    needs_tracking = True

    def normalise(self, x: Tensor, momentum: float) -> Tensor:
        """Normalise by the groups."""
        return self._norm(x, training=True, momentum=momentum)

    def evaluate(self, x: Tensor) -> Tensor:
        """Normalise by running statistics, mixed with the sample's own."""
        return self._norm(x, training=False, momentum=0.0)

    def _norm(self, x: Tensor, *, training: bool, momentum: float) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        return eval_norm(
            x,
            self.ghost_size,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=training,
            momentum=momentum,
            eps=self.eps,
        )


class EvalNorm1d(EvalNorm, nn.BatchNorm1d):
    """`EvalNorm` of (B, C) or (B, C, L)."""


class EvalNorm2d(EvalNorm, nn.BatchNorm2d):
    """`EvalNorm` of (B, C, H, W)."""


class EvalNorm3d(EvalNorm, nn.BatchNorm3d):
    """`EvalNorm` of (B, C, D, H, W)."""
