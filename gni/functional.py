"""The pure functions of ghost noise; randomness enters as an argument."""

from gni._batch_norm import batch_norm_ghost_noise, ghost_batch_norm
from gni._moments import ghost_weights
from gni._noise import draw_ghosts, ghost_noise

__all__ = [
    "batch_norm_ghost_noise",
    "draw_ghosts",
    "ghost_batch_norm",
    "ghost_noise",
    "ghost_weights",
]
