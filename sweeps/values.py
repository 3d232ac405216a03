"""What a field of the spec can be in a sweep: its own value, its space's or arm's, or a new one."""

from __future__ import annotations

from typing import Any

from sweeps.spec import ARM, Dimension, Scalar, SweepSpec, put


def ends(dimension: Dimension) -> tuple[Scalar, ...]:
    """Every value of a choice; both ends of a range, as the type that will be proposed."""
    if dimension.kind in ("uniform", "loguniform"):
        return tuple(float(v) for v in dimension.values)
    if dimension.kind in ("int", "logint"):
        return tuple(int(v) for v in dimension.values)
    return dimension.values


def values_of(spec: SweepSpec, path: str) -> tuple[Any, ...]:
    """What the field at `path` can be in this sweep."""
    return tuple(dict.fromkeys(v for arm in arms_of(spec) for v in values_in(spec, path, arm)))


Arm = dict[str, Scalar]


def arms_of(spec: SweepSpec) -> list[Arm]:
    """What each arm that takes part sets; a single one that sets nothing if there are none."""
    named = [spec.arms[str(name)] for name in spec.space[ARM].values] if spec.arms else []
    return named or [{}]


def values_in(spec: SweepSpec, path: str, arm: Arm) -> tuple[Any, ...]:
    """What the field at `path` can be in one arm."""
    if path in spec.space:
        return ends(spec.space[path])
    return (arm.get(path, value_at(spec, path)),)


def value_at(tree: Any, path: str) -> Any:
    """The field at a dotted path of a spec, or of its options; None where there is none."""
    for part in path.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else getattr(tree, part, None)
    return tree


def extended(spec: SweepSpec, changes: dict[str, Any]) -> SweepSpec:
    """The spec with new values at dotted paths.

    Raises:
        pydantic.ValidationError: a value that its field refuses.
    """
    tree = spec.model_dump(mode="json")
    for path, value in changes.items():
        put(tree, path, value)
    return SweepSpec.model_validate(tree)
