"""The pure functions of ghost noise; randomness enters as an argument.

Each is the whole of a layer: the modules in `gni.layers` only hold options and buffers. Dims in
signatures: B batch, C channels, N ghost size, `*space` any number of further dims, even none.
"""

from gni._batch_norm import batch_norm_ghost_noise
from gni._exclusive_norm import exclusive_batch_norm
from gni._group_norm import eval_norm, ghost_batch_norm
from gni._moments import ghost_weights
from gni._noise import draw_ghosts, draw_groups, ghost_noise
from gni._other_noise import analytic_noise, draw_analytic, draw_dropout, noise_dropout
from gni._weights import standardise_weight

__all__ = [
    "analytic_noise",
    "batch_norm_ghost_noise",
    "draw_analytic",
    "draw_dropout",
    "draw_ghosts",
    "draw_groups",
    "eval_norm",
    "exclusive_batch_norm",
    "ghost_batch_norm",
    "ghost_noise",
    "ghost_weights",
    "noise_dropout",
    "standardise_weight",
]
