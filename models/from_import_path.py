"""The user's own models by import path."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, cast

from torch import nn

from models.as_built import add_noise_as_built, require_as_built
from models.checks import closest
from models.config import NormConfig


def from_import_path(
    path: str,
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    norm: NormConfig,
    options: Mapping[str, object],
) -> nn.Module:
    """Call `package.module:function` of the user's own; it returns the model.

    It is called as `function(in_channels=…, image_size=…, classes=…, **options)`. Let it draw its
    weights from torch's default generator, and runs of one seed start alike.

    Raises:
        ValueError: nothing to call at that path, a call that its signature does not allow, a result
            that is no nn.Module, a norm other than PLAIN, noise for a model without norms.
        Exception: whatever the function itself raises.
    """
    require_as_built(path, norm)
    function = _resolve(path)
    keywords = {
        **options,
        "in_channels": in_channels,
        "image_size": image_size,
        "classes": classes,
    }
    _require_callable_with(path, function, keywords)
    model = function(**keywords)
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"{path} must return a torch.nn.Module, got {type(model).__name__}; return the model"
        )
    add_noise_as_built(path, model, norm.noise)
    return model


def _resolve(path: str) -> Callable[..., object]:
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:
        raise ValueError(
            f"the model {path!r} must be importable as package.module:function, got "
            f"{type(error).__name__}: {error}; is the folder of its package on PYTHONPATH?"
        ) from error
    try:
        found = reduce(getattr, attribute.split("."), cast(Any, module))
    except AttributeError as error:
        raise ValueError(
            f"module {module_name!r} has no {attribute!r}; correct the name after the colon"
            f"{closest(attribute, dir(module))}"
        ) from error
    if not callable(found):
        raise ValueError(
            f"{path} must be a function that returns a model, got {type(found).__name__}; "
            "wrap it in a function"
        )
    return found


def _require_callable_with(
    path: str, function: Callable[..., object], keywords: dict[str, object]
) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # a built-in tells no signature: the call itself must show it
        return
    try:
        signature.bind(**keywords)
    except TypeError as error:
        raise ValueError(
            f"{path}{signature} must accept the keywords {', '.join(keywords)}, got: {error}; "
            "change its parameters or the model's options"
        ) from error
