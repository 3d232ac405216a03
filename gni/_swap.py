"""One module at a time: how surgery changes it and changes it back.

A batch norm changes its class and keeps its identity, so hooks, sharing, parameters and buffers are
untouched, and changing back gives the very module. Other norms get a forward hook that calls a
child module, which follows the model's mode and device.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from gni._eval_norms import EvalNorm1d, EvalNorm2d, EvalNorm3d
from gni._group_norms import (
    ExclusiveBatchNorm1d,
    ExclusiveBatchNorm2d,
    ExclusiveBatchNorm3d,
    GhostBatchNorm,
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    GhostBatchNorm3d,
)
from gni._noise import Strength
from gni._noise_layers import GhostNoise
from gni._noise_norms import (
    GhostNoiseBatchNorm,
    GhostNoiseBatchNorm1d,
    GhostNoiseBatchNorm2d,
    GhostNoiseBatchNorm3d,
)
from gni._running import GroupedNorm, RunningNorm
from gni._site import NoiseSite

Kind = TypeVar("Kind", bound=nn.Module)
Where = str | Callable[[str, nn.Module], bool] | None
BatchNorm = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NOISY = (GhostNoiseBatchNorm1d, GhostNoiseBatchNorm2d, GhostNoiseBatchNorm3d)
GROUPED: dict[str, tuple[type[GroupedNorm], ...]] = {
    "ghost": (GhostBatchNorm1d, GhostBatchNorm2d, GhostBatchNorm3d),
    "exclusive": (ExclusiveBatchNorm1d, ExclusiveBatchNorm2d, ExclusiveBatchNorm3d),
    "eval": (EvalNorm1d, EvalNorm2d, EvalNorm3d),
}
_OLD_CLASS = "_class_before"
_AFTER = "ghost_noise"
_NOISE_ATTRIBUTES = (
    *("ghost_size", "sampling", "generator", "_asked_strength"),
    *("noise_eps", "shift", "scale"),
)
_GROUP_ATTRIBUTES = ("ghost_size", "running", "stop_gradient")


class GhostNoiseBatchNormAct2d(GhostNoiseBatchNorm2d):
    """What timm's BatchNormAct2d becomes: it drops and activates after the norm."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """Normalise, drop, activate."""
        return self.act(self.drop(super().forward(input)))


def modules_of(model: nn.Module, kind: type[Kind]) -> list[Kind]:
    """Return the modules of a model that are of one kind."""
    return [module for module in model.modules() if isinstance(module, kind)]


def choose(
    model: nn.Module, place: Callable[[nn.Module], bool], where: Where
) -> list[tuple[str, nn.Module]]:
    """Return the places of a model that `where` wants, each once, by name."""
    named = cast(Iterator[tuple[str, nn.Module]], model.named_modules())
    if isinstance(where, str):
        pattern = re.compile(where)
        return [(n, m) for n, m in named if place(m) and pattern.search(n)]
    return [(n, m) for n, m in named if place(m) and (where is None or where(n, m))]


def is_batch_norm(module: nn.Module) -> bool:
    """Tell whether a module is a batch norm of any kind."""
    return isinstance(module, BatchNorm)


def is_noise_place(module: nn.Module) -> bool:
    """Tell whether noise can follow: a normalisation layer."""
    return isinstance(module, (BatchNorm, nn.LayerNorm, nn.GroupNorm))


def _noisy_class(module: nn.Module) -> type[GhostNoiseBatchNorm] | None:
    """Return the class that a batch norm takes to become noisy; None where none is known."""
    if type(module).__name__ == "BatchNormAct2d" and hasattr(module, "act"):
        return GhostNoiseBatchNormAct2d
    if _has_methods(module):
        return None
    return next(
        (new for old, new in zip(PLAIN, NOISY, strict=True) if isinstance(module, old)), None
    )


def _has_methods(module: nn.Module) -> bool:
    """Tell whether the module's class overrides what torch's does, but for how it is built."""
    lineage: tuple[type, ...] = type(module).__mro__
    own = itertools.takewhile(lambda each: each not in PLAIN, lineage)
    values = cast(list[tuple[str, object]], [item for each in own for item in vars(each).items()])
    overridden = {name for name, value in values if callable(value)} - {"__init__"}
    return type(module).forward is not BatchNorm.forward or bool(overridden)


def check_place(name: str, module: nn.Module) -> None:
    """Raise ValueError for a batch norm between whose halves nothing can be put."""
    if not isinstance(module, BatchNorm) or isinstance(module, NoiseSite):
        return
    if _noisy_class(module) is None:
        raise ValueError(
            "noise goes between the normalisation and the affine of a BatchNorm1d, 2d or 3d that "
            f"keeps torch's methods, got {type(module).__name__} at {name!r}, {_why_not(module)}; "
            "leave it out with where=, or build it with affine=False and a GhostNoise after it"
        )


def _why_not(module: nn.Module) -> str:
    """Say what keeps a batch norm from taking noise."""
    if isinstance(module, nn.SyncBatchNorm):
        return "whose batch is spread over workers while ghosts are drawn from one worker's own"
    if isinstance(module, RunningNorm):
        return "which is noisy already by its own groups"
    if isinstance(module, (nn.LazyBatchNorm1d, nn.LazyBatchNorm2d, nn.LazyBatchNorm3d)):
        return "which has no features before the model has run once"
    return "whose methods are its own"


def add_one(module: nn.Module, ghost_size: int, strength: Strength) -> None:
    """Give one place its noise, or its noise the new settings."""
    site = getattr(module, _AFTER) if _after_hooks(module) else module
    if isinstance(site, NoiseSite):
        site.ghost_size = ghost_size
        site.strength = cast(Tensor, strength)
    elif isinstance(module, BatchNorm):
        new = _noisy_class(module)
        assert new is not None
        _become(module, new)
        cast(GhostNoiseBatchNorm, module).init_noise_between(ghost_size, strength)
    else:
        noise = GhostNoise(ghost_size, strength, channel_dim=_channel_dim(module))
        module.add_module(_AFTER, noise.to(next(module.parameters(), noise.strength).device))
        module.train(module.training)
        module.register_forward_hook(_noise_after)


def remove_one(module: nn.Module) -> bool:
    """Undo `add_one`; tell whether there was something to undo."""
    if isinstance(module, NoiseSite) and _OLD_CLASS in module.__dict__:
        for name in ("strength", "ghosts"):
            delattr(module, name)
        _change_back(module, _NOISE_ATTRIBUTES)
        return True
    hooks = _after_hooks(module)
    for key in hooks:
        del _forward_hooks(module)[key]
        delattr(module, _AFTER)
    return bool(hooks)


def check_replaceable(name: str, module: nn.Module, kind: str) -> None:
    """Raise ValueError for a batch norm that cannot become a grouped one."""
    if isinstance(module, GROUPED[kind]):
        return
    plain = isinstance(module, PLAIN) and not _has_methods(module)
    if not plain or (kind == "eval" and cast(Any, module).running_mean is None):
        raise ValueError(
            "only a BatchNorm1d, 2d or 3d that keeps torch's methods (with running statistics for "
            f"'eval') can be replaced, got {type(module).__name__} at {name!r}; leave it out with "
            "where=, or undo other surgery first"
        )


def replace_one(module: nn.Module, ghost_size: int, kind: str) -> None:
    """Turn one batch norm into a grouped one."""
    if not isinstance(module, GROUPED[kind]):
        _become(module, GROUPED[kind][[isinstance(module, old) for old in PLAIN].index(True)])
    if isinstance(module, GhostBatchNorm) and "running" not in module.__dict__:
        module.init_groups(ghost_size)
    cast(GroupedNorm, module).ghost_size = ghost_size


def restore_one(module: nn.Module) -> bool:
    """Undo `replace_one`; tell whether there was something to undo."""
    found = isinstance(module, GroupedNorm) and _OLD_CLASS in module.__dict__
    if found:
        _change_back(module, _GROUP_ATTRIBUTES)
    return found


def _become(module: nn.Module, new: type[nn.Module]) -> None:
    old = type(module)
    module.__class__ = new
    setattr(module, _OLD_CLASS, old)


def _change_back(module: nn.Module, attributes: tuple[str, ...]) -> None:
    for name in attributes:
        module.__dict__.pop(name, None)
    module.__class__ = module.__dict__.pop(_OLD_CLASS)


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
