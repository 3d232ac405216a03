"""Models that there are, with the options and places that they have."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from sweeps.errors import Mistake
from sweeps.spec import SweepSpec
from sweeps.text import suggest
from sweeps.trial.locate import check_import_path
from sweeps.values import Arm, arms_of, values_in

OWN_MODELS = {
    "mlp": ("depth", "width"),
    "preact_resnet18": ("width_multiplier",),
    "resnet20": ("width_multiplier",),
    "nf_resnet26": ("width_multiplier",),
    "convmixer": ("dim", "depth", "kernel", "patch"),
    "simple_vit": ("patch", "dim", "depth", "heads", "head_dim", "hidden"),
}
BLOCKS = ("preact_resnet18", "resnet20")
"""Models with a place for dropout and a choice of convolutions."""


def models(spec: SweepSpec) -> Iterator[Mistake]:
    """Unknown models and options."""
    for arm in arms_of(spec):
        yield from _models_of(spec, arm)


def _models_of(spec: SweepSpec, arm: Arm) -> Iterator[Mistake]:
    for name in values_in(spec, "model.name", arm):
        options = [*spec.model.options]
        varied = (*spec.space, *arm)
        options += [p.removeprefix("model.options.") for p in varied if "options." in p]
        if name in OWN_MODELS:
            yield from _unknown_options(str(name), options)
        elif name.startswith("torchvision:"):
            yield from _torchvision_model(name)
        elif ":" in name:
            yield from check_import_path(name, "model.name")
        else:
            known = [*OWN_MODELS, "torchvision:NAME", "package.module:function"]
            yield Mistake("model.name", "unknown model", name, suggest(name, known))


def _unknown_options(name: str, options: Iterable[str]) -> Iterator[Mistake]:
    for option in options:
        if option not in OWN_MODELS[name]:
            remedy = suggest(option, list(OWN_MODELS[name]))
            yield Mistake(f"model.options.{option}", f"{name} has no such option", "", remedy)


def _torchvision_model(name: str) -> Iterator[Mistake]:
    known = torchvision_models()
    if name.removeprefix("torchvision:") not in known:
        yield Mistake(
            "model.name",
            "torchvision has no such classification model",
            name,
            suggest(name.removeprefix("torchvision:"), list(known)),
        )


@cache
def torchvision_models() -> tuple[str, ...]:
    """Names of torchvision's classification models, read from its source: importing takes 3 s."""
    package = importlib.util.find_spec("torchvision")
    assert package is not None and package.origin is not None
    pattern = re.compile(r"^@register_model\(.*\)\n(?:@.*\n|[ )].*\n)*def (\w+)\(", re.MULTILINE)
    files = sorted((Path(package.origin).parent / "models").glob("*.py"))
    return tuple(name for file in files for name in pattern.findall(file.read_text()))


def places(spec: SweepSpec) -> Iterator[Mistake]:
    """Dropout, convolutions and norms that a model has no place for."""
    for arm in arms_of(spec):
        names = values_in(spec, "model.name", arm)
        dropout = spec.model.dropout or any(
            p.startswith("model.dropout.") for p in (*spec.space, *arm)
        )
        without = ", ".join(str(name) for name in names if name not in BLOCKS)
        remedy = f"Leave it out, or take {' or '.join(BLOCKS)}"
        if dropout and without:
            yield Mistake("model.dropout", "the model has no place for it", without, remedy)
        if "standardised" in values_in(spec, "model.conv.kind", arm) and without:
            rule = "the model's convolutions cannot be chosen"
            yield Mistake("model.conv.kind", rule, without, remedy)
        kinds = values_in(spec, "model.norm.kind", arm)
        if "nf_resnet26" in names and kinds != ("none",):
            found = ", ".join(map(str, kinds))
            yield Mistake("model.norm.kind", "nf_resnet26 has no norms", found, "Write none")
