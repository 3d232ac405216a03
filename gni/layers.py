"""The modules of ghost noise: options, buffers and `extra_repr` over `gni.functional`."""

from gni._eval_norms import EvalNorm, EvalNorm1d, EvalNorm2d, EvalNorm3d
from gni._group_norms import (
    ExclusiveBatchNorm,
    ExclusiveBatchNorm1d,
    ExclusiveBatchNorm2d,
    ExclusiveBatchNorm3d,
    GhostBatchNorm,
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GhostBatchNorm3d,
)
from gni._noise_layers import AnalyticNoise, GhostNoise, NoiseDropout
from gni._noise_norms import (
    GhostNoiseBatchNorm,
    GhostNoiseBatchNorm1d,
    GhostNoiseBatchNorm2d,
    GhostNoiseBatchNorm3d,
)
from gni._weights import WSConv2d, WSLinear

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
]
