"""What the space and the arms vary: fields that there are, with values that they take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

from pydantic import ValidationError

from sweeps.errors import Mistake
from sweeps.spec import ARM, NU, STRENGTH, Dimension, Frozen, Scalar, SweepSpec, TrialSpec, section
from sweeps.text import suggest
from sweeps.values import ends

SECTIONS = ("data.", "model.", "training.")


def space_paths(spec: SweepSpec) -> Iterator[Mistake]:
    """Fields that there are not, or that may not vary; arms that there are not."""
    arms = [(f"arms.{name}.{path}", path) for name, arm in spec.arms.items() for path in arm]
    varied = [(f"space.{path}", path) for path in spec.space if path != ARM or not spec.arms]
    for place, path in [*arms, *varied]:
        if place.startswith("arms.") and path in spec.space:
            yield Mistake(place, "is varied by the space too", remedy="Leave it out of one of them")
        if not may_vary(path):
            yield unknown(place, path)
    for arm in spec.arms.values() or [{}]:
        if NU in (both := {*spec.space, *arm}) and STRENGTH in both:
            rule = "the strength follows from it and the ghost size"
            yield Mistake(f"space.{NU}", rule, remedy=f"Leave out one of {NU} and {STRENGTH}")
    if spec.arms:
        for name in spec.space[ARM].values:
            if name not in spec.arms:
                remedy = suggest(str(name), list(spec.arms))
                yield Mistake(f"space.{ARM}", "is none of the arms", repr(name), remedy)


def may_vary(path: str) -> bool:
    """Whether the space, an arm or a baseline may give the field at `path` a value."""
    return path in leaves() or path.startswith("model.options.")


def unknown(place: str, path: str) -> Mistake:
    """That there is no such field, with the one that may have been meant."""
    known = leaves()
    short = [k for k in known if k.rpartition(".")[2] == path]
    remedy = f"Did you mean {short[0]}?" if len(short) == 1 else suggest(path, known)
    return Mistake(place, "is no field of data, model or training", remedy=remedy)


@cache
def leaves() -> list[str]:
    """Dotted paths of all fields that a space may vary."""

    def walk(model: type[Frozen], prefix: str) -> Iterator[str]:
        for name, field in model.model_fields.items():
            below = section(field.annotation)
            yield from walk(below, f"{prefix}{name}.") if below else [f"{prefix}{name}"]

    paths = [p for p in walk(TrialSpec, "") if p.startswith(SECTIONS)]
    names = ("epochs", "seed", "checkpoint_every", "start.")
    fixed = ("data.", *(f"training.{name}" for name in names))
    vary = ("data.crop_padding", "data.flip", "data.normalize")
    return [*(p for p in paths if p in vary or not p.startswith(fixed)), NU]


def _tried(dimension: Dimension) -> tuple[Scalar, ...]:
    """The ends, and for a continuous range a point inside, which no whole number field takes."""
    values = ends(dimension)
    if dimension.kind in ("uniform", "loguniform"):
        low, high = (float(v) for v in values)
        return (*values, low + (high - low) / math.pi)
    return values


def space_values(spec: SweepSpec) -> Iterator[Mistake]:
    """Values that their field refuses."""
    start = {path: ends(dimension)[0] for path, dimension in spec.space.items()}
    for path, dimension in spec.space.items():
        for value in _tried(dimension):
            try:
                spec.trial({**start, path: value}, seed=0)
            except (TypeError, ValueError) as error:
                if not isinstance(error, ValidationError):  # √ of a word
                    yield Mistake(f"space.{path}", "must be a number", repr(value))
                    break
                found = error.errors()[0]
                place = ".".join(str(part) for part in found["loc"])
                rule = found["msg"].removeprefix("Value error, ")
                if path == ARM:
                    yield Mistake(f"arms.{value}", f"{place}: {rule}", repr(found["input"]))
                elif path.startswith(place) or (path, place) == (NU, STRENGTH):
                    yield Mistake(
                        f"space.{path}",
                        f"{place}: {rule}",
                        f"{value:.6g}" if isinstance(value, float) else repr(value),
                    )
                    break
