"""What the sections of the spec are made of: read-only trees, strict about types."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Scalar = bool | int | float | str
ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
WRITTEN = "written by a user"
"""Context in which a spec is validated that comes from no journal."""


class Frozen(BaseModel):
    """A read-only section: unknown fields are mistakes, numbers must be finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_not_truths(cls, raw: Any, info: ValidationInfo) -> Any:
        """Refuse `epochs: true`, `epochs: "27"` and `flip: "yes"`, which pydantic would read."""
        wants = _types(cls.model_fields[info.field_name or ""].annotation)
        if isinstance(raw, bool) and wants & {int, float} and bool not in wants:
            raise ValueError(f"a number is needed, found {str(raw).lower()}")
        if isinstance(raw, str) and wants & {int, float, bool} and str not in wants:
            needed = "true or false" if bool in wants else "a number"
            raise ValueError(f"{needed} is needed, found {raw!r}")
        return raw


def _types(annotation: Any) -> set[Any]:
    """The plain types among a field's, such as int and None for `PositiveInt | None`."""
    joined = get_origin(annotation) in (Union, UnionType)
    options = get_args(annotation) if joined else (annotation,)
    return {getattr(option, "__origin__", option) for option in options}


def section(annotation: Any) -> type[Frozen] | None:
    """The section of the tree that a field's annotation names, such as `NoiseSpec | None`."""
    options = getattr(annotation, "__args__", (annotation,))
    return next((o for o in options if isinstance(o, type) and issubclass(o, Frozen)), None)


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set `tree[a][b][c] = value` for the path `a.b.c`, making absent or null branches."""
    *branches, leaf = path.split(".")
    for branch in branches:
        if tree.get(branch) is None:
            tree[branch] = {}
        tree = tree[branch]
    tree[leaf] = value
