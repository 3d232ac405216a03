"""What a spec can get wrong between its fields, found without importing torch, Ray or MLflow.

Each function takes the spec and yields mistakes; `check` collects them all. A value of the space is
checked by putting it into the fixed part: every choice, and both ends of every range.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from sweeps.errors import Mistake
from sweeps.spec import (
    ARM,
    GROUPED,
    Dimension,
    Frozen,
    Scalar,
    SweepSpec,
    TrialSpec,
    section,
    space_size,
    trial_count,
)
from sweeps.text import suggest
from sweeps.trial.locate import check_data, check_import_path
from sweeps.values import Arm, arms_of, ends, values_in, values_of

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
METRICS = {
    "validation": ("train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    "test": ("train_loss", "train_accuracy", "test_loss", "test_accuracy"),
}
"""What the training loop reports, by `data.evaluate`."""
SECTIONS = ("data.", "model.", "training.")
MANY_COMBINATIONS = 4096
LARGEST_GRID = 100_000


def check(spec: SweepSpec) -> list[Mistake]:
    """Every mistake between the fields of `spec`, in the order of its sections."""
    if mistakes := [*_space_paths(spec)]:
        return mistakes
    if mistakes := [*_space_values(spec)]:
        return mistakes
    found = [
        *check_data(spec.data),
        *_evaluate(spec),
        *_models(spec),
        *_places(spec),
        *_batches(spec),
        *_loop(spec),
        *_search(spec),
        *_stopping(spec),
    ]
    return list(dict.fromkeys(_where_written(mistake, spec) for mistake in found))


def _where_written(mistake: Mistake, spec: SweepSpec) -> Mistake:
    """A field that the space varies is written there."""
    return replace(mistake, path=f"space.{mistake.path}") if mistake.path in spec.space else mistake


def _space_paths(spec: SweepSpec) -> Iterator[Mistake]:
    arms = [(f"arms.{name}.{path}", path) for name, arm in spec.arms.items() for path in arm]
    varied = [(f"space.{path}", path) for path in spec.space if path != ARM or not spec.arms]
    known = leaves()
    for place, path in [*arms, *varied]:
        if place.startswith("arms.") and path in spec.space:
            yield Mistake(place, "is varied by the space too", remedy="Leave it out of one of them")
        if path in known or path.startswith("model.options."):
            continue
        short = [k for k in known if k.rpartition(".")[2] == path]
        remedy = f"Did you mean {short[0]}?" if len(short) == 1 else suggest(path, known)
        yield Mistake(place, "is no field of data, model or training", remedy=remedy)
    if spec.arms:
        for name in spec.space[ARM].values:
            if name not in spec.arms:
                remedy = suggest(str(name), list(spec.arms))
                yield Mistake(f"space.{ARM}", "is none of the arms", repr(name), remedy)


@cache
def leaves() -> list[str]:
    """Dotted paths of all fields that a space may vary."""

    def walk(model: type[Frozen], prefix: str) -> Iterator[str]:
        for name, field in model.model_fields.items():
            below = section(field.annotation)
            yield from walk(below, f"{prefix}{name}.") if below else [f"{prefix}{name}"]

    paths = [p for p in walk(TrialSpec, "") if p.startswith(SECTIONS)]
    fixed = ("data.", "training.epochs", "training.seed", "training.checkpoint_every")
    vary = ("data.crop_padding", "data.flip", "data.normalize")
    return [p for p in paths if p in vary or not p.startswith(fixed)]


def _tried(dimension: Dimension) -> tuple[Scalar, ...]:
    """The ends, and for a continuous range a point inside, which no whole number field takes."""
    values = ends(dimension)
    if dimension.kind in ("uniform", "loguniform"):
        low, high = (float(v) for v in values)
        return (*values, low + (high - low) / math.pi)
    return values


def _space_values(spec: SweepSpec) -> Iterator[Mistake]:
    start = {path: ends(dimension)[0] for path, dimension in spec.space.items()}
    for path, dimension in spec.space.items():
        for value in _tried(dimension):
            try:
                spec.trial({**start, path: value}, seed=0)
            except ValidationError as error:
                found = error.errors()[0]
                place = ".".join(str(part) for part in found["loc"])
                rule = found["msg"].removeprefix("Value error, ")
                if path == ARM:
                    yield Mistake(f"arms.{value}", f"{place}: {rule}", repr(found["input"]))
                elif path.startswith(place):
                    yield Mistake(
                        f"space.{path}",
                        f"{place}: {rule}",
                        f"{value:.6g}" if isinstance(value, float) else repr(value),
                    )
                    break


def _evaluate(spec: SweepSpec) -> Iterator[Mistake]:
    """Test images are for a study that selects nothing."""
    trials = spec.search.trials or 0
    selects = {
        "search.sampler": spec.search.sampler != "grid" and spec.search.sampler,
        "search.trials": trials % (space_size(spec) or 1) and trials,
        "stopping.name": spec.stopping.name != "none" and spec.stopping.name,
    }
    found = ", ".join(f"{path} is {value}" for path, value in selects.items() if value)
    if spec.data.evaluate == "test" and found:
        rule = "test is for a study without selection: a whole grid without early stopping"
        remedy = "Write search: {sampler: grid} and stopping: {name: none}, or evaluate: validation"
        yield Mistake("data.evaluate", rule, found, remedy)


def _places(spec: SweepSpec) -> Iterator[Mistake]:
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


def _models(spec: SweepSpec) -> Iterator[Mistake]:
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


def _batches(spec: SweepSpec) -> Iterator[Mistake]:
    """Group and accumulation sizes against the batch, over every combination of the space."""
    for arm in arms_of(spec):
        yield from _batches_of(spec, arm)


def _batches_of(spec: SweepSpec, arm: Arm) -> Iterator[Mistake]:
    paths = (
        "training.batch_size",
        "training.accumulate",
        "model.norm.kind",
        "model.norm.ghost_size",
    )
    axes = [values_in(spec, path, arm) for path in paths]
    if set(GROUPED) & set(axes[2]) or max(axes[1]) > 1:
        ranges = [p for p in paths if p in spec.space and spec.space[p].kind in ("int", "logint")]
        rule = "sizes that must divide one another need a choice of them, not a range"
        for path in ranges:
            yield Mistake(f"space.{path}", rule, remedy="Write {choice: [8, 16, 32]}")
        if ranges:
            return
    for batch, accumulate, kind, ghost in itertools.islice(
        itertools.product(*axes), MANY_COMBINATIONS
    ):
        if batch % accumulate:
            yield Mistake(
                "training.accumulate",
                "must divide batch_size",
                f"{batch} / {accumulate}",
                "Choose a divisor of the batch size",
            )
        elif batch == accumulate and kind in ("batch", *GROUPED):
            rule = "leaves one image a forward pass, and batch statistics need at least 2"
            yield Mistake("training.accumulate", rule, str(accumulate), "Lower it")
        elif kind in GROUPED and ghost < 2:
            rule = f"{kind} needs at least 2 samples in a group"
            yield Mistake("model.norm.ghost_size", rule, str(ghost), "Raise it")
        elif kind in GROUPED and (batch // accumulate) % ghost:
            seen = batch // accumulate
            divisors = [str(d) for d in range(2, seen + 1) if seen % d == 0]
            yield Mistake(
                "model.norm.ghost_size",
                "must divide the batch that one forward pass sees",
                f"ghost size {ghost}, batch {seen}",
                f"Divisors: {', '.join(divisors)}",
            )


def _loop(spec: SweepSpec) -> Iterator[Mistake]:
    loops = [loop for loop in values_of(spec, "training.loop") if loop]
    for loop in loops:
        yield from check_import_path(loop, "training.loop")
    known = METRICS[spec.data.evaluate]
    if not loops and spec.objective.metric not in known:
        remedy = suggest(spec.objective.metric, list(known))
        yield Mistake(
            "objective.metric",
            f"is no metric of the training loop with data.evaluate: {spec.data.evaluate}",
            repr(spec.objective.metric),
            remedy,
        )


def _search(spec: SweepSpec) -> Iterator[Mistake]:
    if spec.search.sampler != "grid":
        if spec.search.replicates > 1:
            rule = f"is for a grid; {spec.search.sampler} repeats no point on purpose"
            yield Mistake("search.replicates", rule, str(spec.search.replicates))
        return
    size = space_size(spec)
    if size is None:
        for path, dimension in spec.space.items():
            if dimension.kind in ("uniform", "loguniform"):
                yield Mistake(
                    f"space.{path}",
                    "a grid needs listed values",
                    dimension.kind,
                    "Use choice, or another sampler",
                )
    elif size > LARGEST_GRID:
        rule = f"a grid of more than {LARGEST_GRID:,} points is none that one runs"
        yield Mistake("search.sampler", rule, f"{size:,}", "List fewer values, or use random")
    elif trial_count(spec) > size * spec.search.replicates:
        yield Mistake(
            "search.trials",
            f"the grid has only {size} points",
            str(spec.search.trials),
            "Leave trials out to run them all",
        )


def _stopping(spec: SweepSpec) -> Iterator[Mistake]:
    if spec.stopping.name == "asha" and spec.stopping.grace > spec.training.epochs:
        yield Mistake(
            "stopping.grace",
            "is above training.epochs, so nothing would ever be stopped",
            f"grace {spec.stopping.grace}, epochs {spec.training.epochs}",
            "Lower grace, or write stopping: {name: none}",
        )
