"""Put ghost noise into an existing model, change it while it trains, take it out again."""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from torch import Generator, Tensor, nn

from gni._checks import check_ghost_size, check_strength
from gni._noise import Strength
from gni._site import NoiseSite
from gni.layers import (
    GhostNoise,
    GhostNoiseBatchNorm1d,
    GhostNoiseBatchNorm2d,
    GhostNoiseBatchNorm3d,
)

Where = str | Callable[[str, nn.Module], bool] | None

_BatchNorm = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
_NOISY: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: GhostNoiseBatchNorm1d,
    nn.BatchNorm2d: GhostNoiseBatchNorm2d,
    nn.BatchNorm3d: GhostNoiseBatchNorm3d,
}
_PLAIN = "_class_without_noise"
_AFTER = "ghost_noise"
_ADDED = ("ghost_size", "generator", "_asked_strength", "noise_eps", "shift", "scale")


def named_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return every module of a model with its name, each once."""
    return list(cast(Iterator[tuple[str, nn.Module]], model.named_modules()))


def noise_sites(model: nn.Module) -> Iterator[NoiseSite]:
    """Iterate over the modules of `model` that make ghost noise."""
    return (module for module in model.modules() if isinstance(module, NoiseSite))


def add_ghost_noise(
    model: nn.Module, ghost_size: int, strength: Strength = 1.0, *, where: Where = None
) -> int:
    """Put ghost noise at the normalisation layers of a model, in place.

    A BatchNorm gets the noise between normalisation and affine, a LayerNorm or GroupNorm after it.
    Modules, parameters and buffers stay the objects they were, and the state_dict keeps its keys:
    an optimiser made before goes on working. A site that has noise already gets the new size and
    strength, so calling twice is calling once.

    Args:
        model: any torch model; the layer itself will do.
        ghost_size: N.
        strength: s.
        where: a regular expression that is searched in the module's name, or a predicate of
            (name, module); None takes every site.

    Returns:
        The number of sites that now carry this noise.

    Raises:
        ValueError: a bad ghost size or strength, or a SyncBatchNorm or other batch norm with a
            forward of its own among the chosen (nothing is changed then).
    """
    check_ghost_size(ghost_size)
    check_strength(strength)
    chosen = [(n, m) for n, m in named_modules(model) if _is_site(m) and _chosen(where, n, m)]
    for name, module in chosen:
        _check_possible(name, module)
    for _, module in chosen:
        _add_one(module, ghost_size, strength)
    return len(chosen)


def set_ghost_noise(
    model: nn.Module, *, ghost_size: int | None = None, strength: Strength | None = None
) -> int:
    """Change size or strength at every noise site of a model; return how many sites there are.

    The strength is filled in place: no compiled step is compiled anew, no captured graph is lost.
    A new ghost size makes torch.compile specialise once more, unless the draws are held as weights
    (`hold_ghosts(model, batch, as_weights=True)`).

    Raises:
        ValueError: a bad ghost size or strength (nothing is changed then).
    """
    if ghost_size is not None:
        check_ghost_size(ghost_size)
    if strength is not None:
        check_strength(strength)
    sites = list(noise_sites(model))
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
    count = 0
    for module in list(model.modules()):
        plain = module.__dict__.pop(_PLAIN, None)
        if plain is not None:
            _take_out_between(module, plain)
            count += 1
        elif _after_hooks(module):
            for key in _after_hooks(module):
                del _forward_hooks(module)[key]
            delattr(module, _AFTER)
            count += 1
    return count


def set_generator(model: nn.Module, generator: Generator | None) -> int:
    """Let every noise site of a model draw from `generator`, None being torch's default.

    Sites draw in the order in which they run. Copies and pickles of the model have no generator.
    Returns the number of sites.
    """
    sites = list(noise_sites(model))
    for site in sites:
        site.generator = generator
    return len(sites)


def hold_ghosts(model: nn.Module, batch: int | None, *, as_weights: bool = False) -> int:
    """Draw now, for a training batch of `batch` samples, and hold the draw at every noise site.

    Calling it before each step lets a compiled step or a CUDA graph use an explicit generator: the
    new draw is copied over the old. As weights (`ghost_weights`) even the ghost size may change
    between calls. `batch=None` goes back to drawing in the forward. Returns the number of sites.
    """
    sites = list(noise_sites(model))
    for site in sites:
        site.hold(batch, as_weights=as_weights)
    return len(sites)


def _is_site(module: nn.Module) -> bool:
    if isinstance(module, GhostNoise):
        return False
    return isinstance(module, (_BatchNorm, nn.LayerNorm, nn.GroupNorm))


def _chosen(where: Where, name: str, module: nn.Module) -> bool:
    if where is None:
        return True
    if callable(where):
        return where(name, module)
    return re.search(where, name) is not None


def _check_possible(name: str, module: nn.Module) -> None:
    known = (NoiseSite, *_NOISY)
    if not isinstance(module, _BatchNorm) or isinstance(module, NoiseSite):
        return
    if not isinstance(module, known) or type(module).forward is not _BatchNorm.forward:
        raise ValueError(
            "noise goes between the normalisation and the affine of a BatchNorm1d, 2d or 3d that "
            f"keeps torch's forward, got {type(module).__name__} at {name!r}; leave it out with "
            "where=, or build it with affine=False and a GhostNoise after it"
        )


def _add_one(module: nn.Module, ghost_size: int, strength: Strength) -> None:
    site = getattr(module, _AFTER) if _after_hooks(module) else module
    if isinstance(site, NoiseSite):
        site.ghost_size = ghost_size
        site.strength = cast(Tensor, strength)
    elif isinstance(module, _BatchNorm):
        plain = type(module)
        noisy = next(noisy for base, noisy in _NOISY.items() if isinstance(module, base))
        cast(nn.Module, module).__class__ = noisy
        setattr(module, _PLAIN, plain)
        cast(GhostNoiseBatchNorm1d, module).init_noise_between(ghost_size, strength)
    else:
        noise = GhostNoise(ghost_size, strength, channel_dim=_channel_dim(module))
        module.add_module(_AFTER, noise.to(next(module.parameters(), noise.strength).device))
        module.train(module.training)
        module.register_forward_hook(_noise_after)


def _channel_dim(module: nn.Module) -> int:
    """Channels are last after a LayerNorm, save for those that permute, named ...2d by custom."""
    if isinstance(module, nn.LayerNorm) and not type(module).__name__.endswith("2d"):
        return -len(module.normalized_shape)
    return 1


def _noise_after(module: nn.Module, _: Any, output: Tensor) -> Tensor:
    return getattr(module, _AFTER)(output)


def _forward_hooks(module: nn.Module) -> dict[int, Callable[..., Any]]:
    return cast(Any, module)._forward_hooks


def _after_hooks(module: nn.Module) -> list[int]:
    return [key for key, hook in _forward_hooks(module).items() if hook is _noise_after]


def _take_out_between(module: nn.Module, plain: type[nn.Module]) -> None:
    for name in _ADDED:
        module.__dict__.pop(name, None)
    for name in ("strength", "ghosts"):
        delattr(module, name)
    module.__class__ = plain
