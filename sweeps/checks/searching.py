"""How the sweep searches and stops."""

from __future__ import annotations

from collections.abc import Iterator

from sweeps.errors import Mistake
from sweeps.spec import SweepSpec, space_size, trial_count

LARGEST_GRID = 100_000


def search(spec: SweepSpec) -> Iterator[Mistake]:
    """A sampler that does not fit the space."""
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


def stopping(spec: SweepSpec) -> Iterator[Mistake]:
    """Rungs that nobody reaches."""
    if spec.stopping.name == "asha" and spec.stopping.grace > spec.training.epochs:
        yield Mistake(
            "stopping.grace",
            "is above training.epochs, so nothing would ever be stopped",
            f"grace {spec.stopping.grace}, epochs {spec.training.epochs}",
            "Lower grace, or write stopping: {name: none}",
        )
