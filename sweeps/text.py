"""Small words shared by messages."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def suggest(name: str, known: list[str]) -> str:
    """`Did you mean …? Known: …`, shortened to the nearest when the list is long."""
    found = difflib.get_close_matches(name.lower(), map(str.lower, known), n=3, cutoff=0.5)
    close = [each for low in dict.fromkeys(found) for each in known if each.lower() == low]
    hint = f"Did you mean {close[0]}? " if close else ""
    if len(known) > 30:
        known = [*close[1:], f"… ({len(known)} in all)"]
    return f"{hint}Known: {', '.join(known)}" if known else hint.strip()


def short_names(paths: list[str]) -> dict[str, str]:
    """Each dotted path's shortest ending that no other path of the list shares."""
    short = {}
    for path in paths:
        parts = path.split(".")
        endings = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        others = [p for p in paths if p != path]
        short[path] = next(e for e in endings if not any(f".{o}".endswith(f".{e}") for o in others))
    return short


def at_update(name: str, update: int) -> str:
    """The key of a metric that belongs to an update, counted from 1 over the trial: `name@16`."""
    return f"{name}@{update}"


def split_update(key: str) -> tuple[str, int | None]:
    """Name and update of a metric's key; no update for a metric of the epoch."""
    name, _, update = key.rpartition("@")
    return (name, int(update)) if name and update.isdecimal() else (key, None)


def either(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
