"""A YAML file → a `SweepSpec`, with every mistake reported at once at its line.

sweeps/document.py reads the text and keeps its lines by dotted path, so that what pydantic and
`checks` find can be placed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sweeps import spec as sections
from sweeps.checks import check
from sweeps.document import Lines, loaded
from sweeps.errors import Mistake, SpecError
from sweeps.fields import WRITTEN
from sweeps.spec import Frozen, SweepSpec, section
from sweeps.text import either, suggest


def load(path: str | Path, *, checked: bool = True) -> SweepSpec:
    """Read, validate and, unless told otherwise, cross-check one spec.

    Raises:
        SpecError: all mistakes found, each with its line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        rule = f"the spec cannot be read: {reason}"
        mistake = Mistake("file", rule, remedy=f"Ready ones: {_ready()}")
        raise SpecError([mistake], str(path)) from None
    return parse(text, str(path), checked=checked)


def _ready() -> str:
    return ", ".join(sorted(map(str, Path(__file__).parent.glob("configs/*.yaml"))))


def parse(text: str, source: str = "spec", *, checked: bool = True) -> SweepSpec:
    """Validate and cross-check the text of one spec; as `load`."""
    tree, lines = _read_yaml(text, source)
    tree.setdefault("name", Path(source).stem)
    spec = validate(tree, source, lines)
    mistakes = check(spec) if checked else []
    if mistakes:
        raise SpecError([_placed(m, lines) for m in mistakes], source)
    return spec


@contextmanager
def placed_in(path: str | Path) -> Iterator[None]:
    """Mistakes that are found later in the spec of the file `path` get its lines too.

    Raises:
        SpecError: as within, with the file as its source and each mistake's line.
    """
    try:
        yield
    except SpecError as error:
        _, lines = _read_yaml(Path(path).read_text(encoding="utf-8"), str(path))
        raise SpecError([_placed(m, lines) for m in error.mistakes], str(path)) from None


def validate(tree: Any, source: str = "spec", lines: Lines | None = None) -> SweepSpec:
    """A plain tree → a spec, pydantic's findings worded as ours.

    Raises:
        SpecError: all mistakes found.
    """
    try:
        return SweepSpec.model_validate(tree, context=WRITTEN)
    except ValidationError as error:
        mistakes = list(dict.fromkeys(_worded(found) for found in _as_one(error.errors())))
        raise SpecError([_placed(m, lines or {}) for m in mistakes], source) from None


def checked_spec(spec: SweepSpec | dict[str, Any] | str | Path) -> SweepSpec:
    """A spec given in any form (path, plain tree, spec), validated and cross-checked.

    Raises:
        SpecError: all mistakes found.
    """
    if isinstance(spec, str | Path):
        return load(spec)
    if isinstance(spec, dict):
        spec = validate(spec)
    if mistakes := check(spec):
        raise SpecError(mistakes, "spec")
    return spec


def _read_yaml(text: str, source: str) -> tuple[dict[str, Any], Lines]:
    tree, lines = loaded(text, source)
    if not isinstance(tree, dict):
        rule = "a spec is a mapping of sections (data, model, training, space, …)"
        raise SpecError([Mistake("spec", rule, repr(tree), line=1)], source)
    if not tree:
        rule = "is empty, and a sweep wants at least a space"
        raise SpecError([Mistake("spec", rule, remedy=f"Ready ones: {_ready()}")], source)
    return tree, lines


def _placed(mistake: Mistake, lines: Lines) -> Mistake:
    """The mistake with the line of its path, or of the nearest path above it."""
    path = mistake.path
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return Mistake(
        mistake.path, mistake.rule, mistake.value, mistake.remedy, lines.get(path) if path else None
    )


_KINDS = {
    "float": "a number",
    "int": "a whole number",
    "constrained-int": "a whole number",
    "str": "a text",
    "bool": "true/false",
}
"""What pydantic names its complaints by where a value may be of several types."""
_OF_A_TYPE = ("_type", "_parsing", "_parsing_size", "_from_float", "finite_number")


def _as_one(errors: list[ErrorDetails]) -> Iterator[ErrorDetails]:
    """The findings; a value of none of several types that it may have is one, not one a type."""
    for place, group in groupby(errors, lambda found: _of_a_kind(found) or found["loc"]):
        found, *others = group
        if _of_a_kind(found) is None:
            yield from (found, *others)
            continue
        kinds = {str(each["loc"][-1]) for each in (found, *others)}
        words = [word for kind, word in _KINDS.items() if kind in kinds]
        if "float" in kinds and "int" in kinds:
            words.remove("a whole number")
        if any(each["type"] == "finite_number" for each in (found, *others)):
            words = ["a finite number" if word == "a number" else word for word in words]
        yield {**found, "loc": place, "msg": f"takes {either(list(dict.fromkeys(words)))}"}


def _of_a_kind(found: ErrorDetails) -> tuple[int | str, ...] | None:
    """The place of a value, where the finding is about one type of several; else None."""
    *place, last = found["loc"]
    named = last in _KINDS and found["type"].endswith(_OF_A_TYPE)
    return tuple(place) if named else None


def _worded(found: ErrorDetails) -> Mistake:
    """Pydantic's finding in our words: rule, value, remedy."""
    location = [str(part) for part in found["loc"]]
    path = ".".join(location) or "spec"
    if found["type"] == "extra_forbidden":
        known = _fields_at(location[:-1])
        return Mistake(path, "unknown field", remedy=suggest(location[-1], known))
    if found["type"] == "missing":
        return Mistake(path, "is missing", remedy="Give it a value")
    if found["type"] == "tuple_type":
        return Mistake(path, "takes a list", repr(found["input"]), "Write it in [ ]")
    if found["type"] == "model_type":
        kind = getattr(sections, str(found.get("ctx", {}).get("class_name")), None)
        fields = ", ".join(kind.model_fields) if kind else "its fields"
        return Mistake(path, f"takes a mapping of {fields}", repr(found["input"]))
    rule = found["msg"].removeprefix("Value error, ")
    rule, _, remedy = rule.partition(". ")
    value = "" if found["type"] == "value_error" else repr(found["input"])
    return Mistake(path, rule[:1].lower() + rule[1:], value, remedy)


def _fields_at(location: list[str]) -> list[str]:
    """Field names of the section at that place of the spec."""
    model: type[Frozen] | None = SweepSpec
    for part in location:
        if model is None or part not in model.model_fields:
            return []
        model = section(model.model_fields[part].annotation)
    return [f.alias or name for name, f in model.model_fields.items()] if model else []
