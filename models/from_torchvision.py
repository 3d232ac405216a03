"""Torchvision's classification models by name. Torchvision, slow to import, is so on first use."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.as_built import add_noise_as_built, require_as_built
from models.checks import closest
from models.config import NormConfig

_ONE_OUTPUT: dict[str, dict[str, object]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""What a model needs to give one output, and no warning about its start."""


class GreyToColour(nn.Module):
    """Show a grey image to a colour model in each of its three channels: (B, 1, H, W) → (B, K).

    The model keeps its stem, so it is the published one; its parameters' names gain `model.`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B K"]:
        """Repeat the channel, without a copy, and run the model."""
        return self.model(x.expand(-1, 3, -1, -1))


def from_torchvision(
    name: str,
    *,
    in_channels: int,
    image_size: int,
    classes: int,
    norm: NormConfig,
    options: Mapping[str, object],
) -> nn.Module:
    """Make torchvision's classification model of that name, untrained.

    With one channel the grey image is repeated to three (`GreyToColour`).

    Args:
        name: as torchvision.models.list_models names it, such as `resnet50`.
        in_channels: 1 or 3.
        image_size: height and width; passed on to ViT and MaxViT, which are built for a size.
        classes: length of the output.
        norm: PLAIN, which means as built, but for its noise.
        options: further keywords of torchvision's function, such as `dropout`.

    Raises:
        ValueError: an unknown name or option, other channels, images the model cannot take, a norm
            other than PLAIN, noise for a model without norms.
    """
    label = f"torchvision:{name}"
    require_as_built(label, norm)
    if in_channels not in (1, 3):
        raise ValueError(
            f"{label} takes images of 1 or 3 channels, got {in_channels}; "
            "give a function of your own as package.module:function"
        )
    _require_known(name)
    ours = {"weights": None, "num_classes": classes, **_ONE_OUTPUT.get(name, {})}
    if name.startswith("vit_"):
        ours["image_size"] = image_size
    if name.startswith("maxvit_"):
        ours["input_size"] = (image_size, image_size)
    model = _build(name, ours, options)
    _require_output(label, model, image_size, classes)
    add_noise_as_built(label, model, norm.noise)
    return model if in_channels == 3 else GreyToColour(model)


def _require_known(name: str) -> None:
    import torchvision.models as zoo  # pyright: ignore[reportMissingTypeStubs]

    known = zoo.list_models(module=zoo)
    if name not in known:
        raise ValueError(
            f"torchvision has no classification model {name!r}: it has {', '.join(known)}"
            f"{closest(name, known)}"
        )


def _build(name: str, ours: Mapping[str, object], options: Mapping[str, object]) -> nn.Module:
    import torchvision.models as zoo  # pyright: ignore[reportMissingTypeStubs]

    for option in options:
        if option in ours:
            raise ValueError(
                f"torchvision:{name} is always made with {option}={ours[option]!r}, got "
                f"{options[option]!r}; leave that option out, or give a function of your own as "
                "package.module:function"
            )
    keywords = {**ours, **options}
    try:
        return zoo.get_model(name, **cast(dict[str, Any], keywords))
    except (TypeError, ValueError, AssertionError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in keywords.items())
        raise ValueError(
            f"torchvision cannot make {name} with {given}: {error}; correct the options or the "
            "image size"
        ) from error


def _require_output(label: str, model: nn.Module, image_size: int, classes: int) -> None:
    """Run the model without numbers, on the meta device: is the image large enough for it?"""
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: torch.empty_like(value, device="meta") for name, value in state.items()}
    image = torch.empty(1, 3, image_size, image_size, device="meta")
    model.eval()
    try:
        output = torch.func.functional_call(model, shapes, (image,))
    except RuntimeError as error:
        raise ValueError(
            f"{label} cannot take images of {image_size} by {image_size} pixels: {error}; "
            "enlarge the images or take a model for small ones, such as preact_resnet18"
        ) from error
    finally:
        model.train()
    assert output.shape == (1, classes), "torchvision's classifiers give logits"
