"""One axis of the space."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_serializer, model_validator

from sweeps.fields import Frozen, Scalar


def _equal_as(value: Scalar) -> tuple[bool, Scalar]:
    """What two values of a choice must differ in: 1 and 1.0 are one value, 1 and true are two."""
    return isinstance(value, bool), value


DimensionKind = Literal["choice", "uniform", "loguniform", "int", "logint", "fixed"]
_RANGES: tuple[DimensionKind, ...] = ("uniform", "loguniform", "int", "logint")


class Dimension(Frozen):
    """One axis of the space: `{choice: [4, 8]}`, `{loguniform: [1e-3, 1]}` or a bare value."""

    kind: DimensionKind
    values: tuple[Scalar, ...]
    """All values of a choice, the two inclusive ends of a range, the one fixed value."""

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, raw: Any) -> Any:
        if isinstance(raw, Dimension):
            return {"kind": raw.kind, "values": raw.values}
        if isinstance(raw, bool | int | float | str):
            return {"kind": "fixed", "values": (raw,)}
        known = ", ".join(DimensionKind.__args__)
        if not isinstance(raw, dict) or len(raw) != 1:
            raise ValueError(f"a dimension is one value or one of {{{known}}}: [values]")
        ((kind, values),) = raw.items()
        if kind not in DimensionKind.__args__:
            raise ValueError(f"unknown kind of dimension {kind!r}. Known: {known}")
        if not isinstance(values, list | tuple):
            values = (values,)
        return {"kind": kind, "values": tuple(values)}

    @model_validator(mode="after")
    def _check_values(self) -> Dimension:
        if not self.values:
            raise ValueError(f"{self.kind} is empty. Give at least one value")
        if self.kind == "fixed" and len(self.values) != 1:
            raise ValueError("fixed takes exactly one value")
        if self.kind == "choice" and len(set(map(_equal_as, self.values))) < len(self.values):
            raise ValueError(f"choice names a value twice: {list(self.values)}")
        if self.kind in _RANGES:
            self._check_range()
        return self

    def _check_range(self) -> None:
        numbers = [v for v in self.values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) != 2 or len(self.values) != 2:
            raise ValueError(
                f"{self.kind} takes [low, high], two numbers; found {list(self.values)}"
            )
        low, high = numbers
        if not low < high:
            raise ValueError(f"empty range: low {low} is not below high {high}")
        if self.kind.startswith("log") and low <= 0:
            raise ValueError(f"{self.kind} needs low > 0; found {low}")
        if self.kind in ("int", "logint") and not all(float(v).is_integer() for v in numbers):
            raise ValueError(f"{self.kind} takes whole numbers; found {list(self.values)}")

    def match(self, value: Any) -> Scalar | None:
        """`value` as this axis would propose it; None when it lies outside."""
        if self.kind in ("choice", "fixed"):
            return next((v for v in self.values if _equal_as(v) == _equal_as(value)), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        low, high = (float(v) for v in self.values)
        whole = self.kind in ("int", "logint")
        if not low <= value <= high or (whole and not float(value).is_integer()):
            return None
        return int(value) if whole else float(value)

    @model_serializer
    def _write_short_form(self) -> dict[str, Any]:
        return {self.kind: list(self.values)}
