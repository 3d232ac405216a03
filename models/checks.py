"""Input checks whose messages give the rule, the value and what to do."""

import math
from collections.abc import Iterable
from difflib import get_close_matches


def require_count(name: str, value: object, least: int, remedy: str) -> None:
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}; {remedy}")


def require_number(
    name: str, value: object, remedy: str, *, above: float = -math.inf, least: float = -math.inf
) -> None:
    """Raise ValueError unless `value` is a finite number, `> above` and `>= least`."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and number > above and number >= least):
        bound = f"above {above:g}" if above > -math.inf else f"of at least {least:g}"
        raise ValueError(f"{name} must be a finite number {bound}, got {value!r}; {remedy}")


def closest(name: str, known: Iterable[str]) -> str:
    """Ask "; did you mean …?", or nothing when no known name comes near."""
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
