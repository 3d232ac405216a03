"""Put ghost noise into an existing model, change it while it trains, take it out again."""

from typing import Literal, cast

from torch import Generator, Tensor, nn

from gni._checks import check_ghost_size, check_strength
from gni._noise import Strength
from gni._site import Drawn, GhostSite, NoiseSite
from gni._swap import (
    GROUPED,
    Where,
    add_one,
    check_place,
    check_replaceable,
    choose,
    is_batch_norm,
    is_noise_place,
    modules_of,
    remove_one,
    replace_one,
    restore_one,
)


def add_ghost_noise(
    model: nn.Module, ghost_size: int, strength: Strength = 1.0, *, where: Where = None
) -> int:
    """Put ghost noise at the normalisation layers of a model, in place.

    A BatchNorm gets the noise between normalisation and affine, a LayerNorm or GroupNorm after it.
    Modules, parameters and buffers stay the objects they were, and the state_dict keeps its keys:
    an optimiser made before goes on working. A site that has noise already gets the new size and
    strength, so calling twice is calling once.

    A batch norm that cannot take the noise in its middle is refused, not passed over: a model would
    have less noise than was asked for, unseen. That is SyncBatchNorm (its batch is spread over
    workers), ghost and exclusive batch norm and EvalNorm (noisy by their own groups; for both,
    build the norm with affine=False and a GhostNoise after it), a lazy one that has not run, and a
    class with methods of its own. `where` leaves them out. Norms without a batch's statistics
    other than LayerNorm and GroupNorm (InstanceNorm, RMSNorm) are no sites and get nothing.

    The samples of a batch are dim 0 of what reaches a norm. In a transformer that puts the sequence
    first (torch's default, batch_first=False) the ghosts would be drawn over its tokens.

    Args:
        model: any torch model; the layer itself will do.
        ghost_size: N.
        strength: s.
        where: a regular expression that is searched in the module's name, or a predicate of
            (name, module); None takes every site.

    Returns:
        The number of sites that now carry this noise.

    Raises:
        ValueError: a bad ghost size or strength, or a batch norm among the chosen that cannot take
            noise (nothing is changed then).
    """
    check_ghost_size(ghost_size)
    check_strength(strength)
    chosen = choose(model, is_noise_place, where)
    for name, module in chosen:
        check_place(name, module)
    for _, module in chosen:
        add_one(module, ghost_size, strength)
    return len(chosen)


def set_ghost_noise(
    model: nn.Module, *, ghost_size: float | int | None = None, strength: Strength | None = None
) -> int:
    """Change size or strength at every noise site of a model; return how many sites there are.

    The strength is filled in place: no compiled step is compiled anew, no captured graph is lost.
    A new ghost size makes torch.compile specialise once more, unless the draws are held as weights
    (`hold_ghosts(model, batch, as_weights=True)`).

    Raises:
        ValueError: a strength, or a ghost size that one of the sites cannot take (analytic noise
            takes real ones above 1); nothing is changed then.
    """
    sites = modules_of(model, NoiseSite)
    if ghost_size is not None:
        for site in sites:
            site.checked_size(ghost_size)
    if strength is not None:
        check_strength(strength)
    for site in sites:
        if ghost_size is not None:
            site.ghost_size = ghost_size
        if strength is not None:
            site.strength = cast(Tensor, strength)
    return len(sites)


def remove_ghost_noise(model: nn.Module) -> int:
    """Undo `add_ghost_noise`: every module is again what it was; return how many were changed.

    Noise layers that the model was built with stay.
    """
    return sum(remove_one(module) for module in list(model.modules()))


def replace_batchnorm(
    model: nn.Module,
    ghost_size: int,
    *,
    kind: Literal["ghost", "exclusive", "eval"] = "ghost",
    where: Where = None,
) -> int:
    """Turn the batch norms of a model into ghost batch norms (or exclusive ones, or EvalNorm).

    In place: modules, parameters and buffers stay the objects they were. Those that are of that
    kind already get the new ghost size.

    Args:
        model: any torch model; the layer itself will do.
        ghost_size: N.
        kind: which norm.
        where: as in `add_ghost_noise`.

    Returns:
        The number of batch norms that are now of that kind and ghost size.

    Raises:
        ValueError: a bad ghost size, an unknown kind, or a batch norm with methods of its own
            among the chosen (nothing is changed then).
    """
    if kind not in GROUPED:
        raise ValueError(f"kind must be one of {tuple(GROUPED)}, got {kind!r}")
    check_ghost_size(ghost_size, 2 if kind == "exclusive" else 1)
    chosen = choose(model, is_batch_norm, where)
    for name, module in chosen:
        check_replaceable(name, module, kind)
    for _, module in chosen:
        replace_one(module, ghost_size, kind)
    return len(chosen)


def restore_batchnorm(model: nn.Module) -> int:
    """Undo `replace_batchnorm`; return how many were changed."""
    return sum(restore_one(module) for module in list(model.modules()))


def set_generator(model: nn.Module, generator: Generator | None) -> int:
    """Let every noise site of a model draw from `generator`, None being torch's default.

    Sites draw in the order in which they run. Copies and pickles of the model have no generator.
    Returns the number of sites.
    """
    sites = modules_of(model, Drawn)
    for site in sites:
        site.generator = generator
    return len(sites)


def hold_ghosts(model: nn.Module, batch: int | None, *, as_weights: bool = False) -> int:
    """Draw now, for a training batch of `batch` samples, and hold the draw at every noise site.

    Calling it before each step lets a compiled step or a CUDA graph use an explicit generator: the
    new draw is copied over the old. As weights (`ghost_weights`) even the ghost size may change
    between calls. `batch=None` goes back to drawing in the forward. Returns the number of sites.
    """
    sites = modules_of(model, GhostSite)
    for site in sites:
        site.hold(batch, as_weights=as_weights)
    return len(sites)
