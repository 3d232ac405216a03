"""Ghost noise: the useful noise of small-batch normalisation, at any batch size.

`functional` holds the pure functions, the modules are thin over them, `add_ghost_noise` puts them
into any torch model.
"""

from gni import functional
from gni.layers import (
    AnalyticNoise,
    EvalNorm,
    EvalNorm1d,
    EvalNorm2d,
    EvalNorm3d,
    ExclusiveBatchNorm,
    ExclusiveBatchNorm1d,
    ExclusiveBatchNorm2d,
    ExclusiveBatchNorm3d,
    GhostBatchNorm,
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GhostBatchNorm3d,
    GhostNoise,
    GhostNoiseBatchNorm,
    GhostNoiseBatchNorm1d,
    GhostNoiseBatchNorm2d,
    GhostNoiseBatchNorm3d,
    NoiseDropout,
    WSConv2d,
    WSLinear,
)
from gni.surgery import (
    add_ghost_noise,
    hold_ghosts,
    remove_ghost_noise,
    replace_batchnorm,
    restore_batchnorm,
    set_generator,
    set_ghost_noise,
)

__all__ = [
    "AnalyticNoise",
    "EvalNorm",
    "EvalNorm1d",
    "EvalNorm2d",
    "EvalNorm3d",
    "ExclusiveBatchNorm",
    "ExclusiveBatchNorm1d",
    "ExclusiveBatchNorm2d",
    "ExclusiveBatchNorm3d",
    "GhostBatchNorm",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GhostBatchNorm3d",
    "GhostNoise",
    "GhostNoiseBatchNorm",
    "GhostNoiseBatchNorm1d",
    "GhostNoiseBatchNorm2d",
    "GhostNoiseBatchNorm3d",
    "NoiseDropout",
    "WSConv2d",
    "WSLinear",
    "add_ghost_noise",
    "functional",
    "hold_ghosts",
    "remove_ghost_noise",
    "replace_batchnorm",
    "restore_batchnorm",
    "set_generator",
    "set_ghost_noise",
]
