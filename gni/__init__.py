"""Ghost noise: the useful noise of small-batch normalisation, at any batch size.

`functional` holds the pure functions, the modules are thin over them, `add_ghost_noise` puts them
into any torch model.
"""

from gni import functional
from gni.layers import (
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GhostBatchNorm3d,
    GhostNoise,
    GhostNoiseBatchNorm1d,
    GhostNoiseBatchNorm2d,
    GhostNoiseBatchNorm3d,
)
from gni.surgery import (
    add_ghost_noise,
    hold_ghosts,
    remove_ghost_noise,
    set_generator,
    set_ghost_noise,
)

__all__ = [
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "GhostBatchNorm3d",
    "GhostNoise",
    "GhostNoiseBatchNorm1d",
    "GhostNoiseBatchNorm2d",
    "GhostNoiseBatchNorm3d",
    "add_ghost_noise",
    "functional",
    "hold_ghosts",
    "remove_ghost_noise",
    "set_generator",
    "set_ghost_noise",
]
