"""What only a network can refuse is found before the first trial, without training."""

from __future__ import annotations

import pytest

from sweeps.errors import PreflightError
from sweeps.reading import parse
from sweeps.trial import datasets
from sweeps.trial.rehearse import rehearse


def rehearsed(text: str) -> None:
    spec = parse(f"name: x\n{text}")
    rehearse(spec, datasets.load(spec.data))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {options: {width: -5}}", "width must be an integer of at least 1, got -5"),
        (
            "model: {name: resnet20, norm: {kind: group, groups: 5}}",
            "groups must divide the channels of every site, got 5 groups for 16 channels",
        ),
        (
            "model: {name: simple_vit}\nspace: {model.options.patch: {choice: [4, 3]}}",
            r"got 3 for 8; 2 divides 8, 3 divides 6 \(at model.options.patch = 3\)",
        ),
        (
            "model: {name: 'torchvision:vgg11_bn'}",
            "model: torchvision:vgg11_bn cannot take images of 8 by 8 pixels",
        ),
        ("data: {crop_padding: 8}", r"below the image's side of 8 pixels \(found 8\)"),
        ("space: {data.crop_padding: {choice: [0, 9]}}", r"side of 8 pixels \(found 9\)"),
    ],
)
def test_a_network_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(PreflightError, match=message):
        rehearsed(text)


def test_networks_that_can_be_pass() -> None:
    kinds = "[batch, ghost_batch, exclusive_batch, eval_norm, layer, none]"
    rehearsed(f"model: {{noise: {{}}}}\nspace: {{model.norm.kind: {{choice: {kinds}}}}}")


def test_a_network_of_the_users_own_is_not_built(module) -> None:
    module("mine.py", "def network(**shape):\n    raise OSError('built')\n")
    rehearsed("model: {name: 'mine:network'}")
