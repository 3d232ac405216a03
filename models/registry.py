"""Models by name: our own, torchvision's, and the user's by import path."""

import inspect
from collections.abc import Callable

from torch import nn

from models.checks import closest, require_count
from models.config import PLAIN, NormConfig
from models.convmixer import ConvMixer
from models.from_import_path import from_import_path
from models.from_torchvision import from_torchvision
from models.mlp import MLP
from models.nf_resnet26 import NFResNet26
from models.preact_resnet import PreActResNet18
from models.resnet20 import ResNet20
from models.simple_vit import SimpleViT


def create(
    name: str,
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    norm: NormConfig = PLAIN,
    **options: object,
) -> nn.Module:
    """Make a model for square images, (B, in_channels, size, size) → (B, classes).

    Weights start from torch's default generator: seed it with `torch.manual_seed` first. For one
    name, options and seed they are the same for every `norm`.

    Args:
        name: one of
            `mlp`, with options `depth` (3) and `width` (128);
            `preact_resnet18` or `resnet20`, with option `width_multiplier` (1.0);
            `nf_resnet26`, with `norm.kind` "none" and option `width_multiplier` (1.0);
            `convmixer`, with options `dim` (256), `depth` (8), `kernel` (5) and `patch` (2);
            `simple_vit`, with options `patch` (4), `dim` (512), `depth` (6), `heads` (16),
            `head_dim` (64) and `hidden` (1024);
            `torchvision:NAME`, such as `torchvision:resnet50`: see `from_torchvision`;
            `package.module:function`, a callable of your own: see `from_import_path`.
        in_channels: channels of an image.
        image_size: height and width of an image.
        classes: length of the output.
        norm: the norm sites, and for `preact_resnet18` and `resnet20` dropout and convolutions;
            models from torchvision or of your own keep the norms they have and take `norm.noise`
            alone.
        options: what the name takes besides.

    Raises:
        ValueError: an unknown name or option, a value out of range, an image too small for the
            model, a norm that does not fit it.
    """
    require_count("in_channels", in_channels, 1, "grey images have 1, colour images 3")
    require_count("image_size", image_size, 1, "it is the height and width of an image")
    require_count("classes", classes, 2, "a single class leaves nothing to learn")
    images = {"in_channels": in_channels, "image_size": image_size, "classes": classes}
    origin, colon, rest = name.partition(":")
    if not colon:
        maker = _own(name)
        _require_options(name, maker, options)
        return maker(**images, norm=norm, **options)
    if origin == "torchvision":
        return from_torchvision(rest, **images, norm=norm, options=options)
    return from_import_path(name, **images, norm=norm, options=options)


def available() -> list[str]:
    """Names of our own models, sorted."""
    return sorted(_MAKERS)


def _mlp(
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    norm: NormConfig,
    depth: int = 3,
    width: int = 128,
) -> nn.Module:
    return MLP(in_channels * image_size**2, classes, depth=depth, width=width, norm=norm)


def _preact_resnet18(
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    norm: NormConfig,
    width_multiplier: float = 1.0,
) -> nn.Module:
    _require_image("preact_resnet18", image_size, 8)
    return PreActResNet18(in_channels, classes, width_multiplier=width_multiplier, norm=norm)


def _resnet20(
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    norm: NormConfig,
    width_multiplier: float = 1.0,
) -> nn.Module:
    _require_image("resnet20", image_size, 4)
    return ResNet20(in_channels, classes, width_multiplier=width_multiplier, norm=norm)


def _nf_resnet26(
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    norm: NormConfig,
    width_multiplier: float = 1.0,
) -> nn.Module:
    _require_image("nf_resnet26", image_size, 8)
    return NFResNet26(in_channels, classes, width_multiplier=width_multiplier, norm=norm)


def _convmixer(
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    norm: NormConfig,
    dim: int = 256,
    depth: int = 8,
    kernel: int = 5,
    patch: int = 2,
) -> nn.Module:
    sizes = {"dim": dim, "depth": depth, "kernel": kernel, "patch": patch}
    model = ConvMixer(in_channels, classes, norm=norm, **sizes)
    require_count("image_size", image_size, patch, "take a smaller patch or larger images")
    return model


def _simple_vit(
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    norm: NormConfig,
    patch: int = 4,
    dim: int = 512,
    depth: int = 6,
    heads: int = 16,
    head_dim: int = 64,
    hidden: int = 1024,
) -> nn.Module:
    sizes = {"patch": patch, "dim": dim, "depth": depth}
    sizes |= {"heads": heads, "head_dim": head_dim, "hidden": hidden}
    return SimpleViT(in_channels, image_size, classes, norm=norm, **sizes)


_MAKERS: dict[str, Callable[..., nn.Module]] = {
    "convmixer": _convmixer,
    "mlp": _mlp,
    "nf_resnet26": _nf_resnet26,
    "preact_resnet18": _preact_resnet18,
    "resnet20": _resnet20,
    "simple_vit": _simple_vit,
}


def _own(name: str) -> Callable[..., nn.Module]:
    if name in _MAKERS:
        return _MAKERS[name]
    raise ValueError(
        f"unknown model {name!r}: known are {', '.join(available())}, torchvision:NAME and "
        f"package.module:function{closest(name, _MAKERS)}"
    )


def _require_options(
    name: str, maker: Callable[..., nn.Module], options: dict[str, object]
) -> None:
    given = {"in_channels", "image_size", "classes", "norm"}
    known = [option for option in inspect.signature(maker).parameters if option not in given]
    for option in options:
        if option not in known:
            raise ValueError(
                f"{name} has no option {option!r}: its options are {', '.join(known)}; "
                "rename it or leave it out"
            )


def _require_image(name: str, image_size: int, least: int) -> None:
    remedy = f"the stages of {name} halve the map: enlarge the images, or take mlp"
    require_count("image_size", image_size, least, remedy)
