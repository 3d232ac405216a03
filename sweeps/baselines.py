"""What a confirmation comes to by its spec alone: each baseline's own search, trials, fresh seeds.

A baseline is searched as a sweep of its own would be: the same sampler, stopping and training over
the axes that it tunes, its settings put into the fixed part.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from sweeps.confirming import ConfirmSpec
from sweeps.spec import (
    ARM,
    NU,
    STRENGTH,
    BudgetSpec,
    Dimension,
    SearchSpec,
    SweepSpec,
    settle,
    trial_count,
)

LR = "training.optimizer.lr"
SEEDS_APART = 1_000_000
"""More than any search repeats one point."""


def fresh_seeds(spec: SweepSpec) -> list[int]:
    """The seeds of all confirmations, for each arm the same; no trial of the search has them."""
    first = (spec.training.seed + 1) * SEEDS_APART
    return list(range(first, first + spec.confirm.seeds)) if spec.confirm else []


def tuned(spec: SweepSpec, name: str) -> dict[str, Dimension]:
    """The axes that the baseline `name` searches."""
    assert spec.confirm is not None
    free = _free(spec, name)
    wanted = spec.confirm.tune if spec.confirm.tune is not None else (LR,)
    return {path: free[path] for path in wanted if path in free}


def baseline_spec(spec: SweepSpec, name: str) -> SweepSpec:
    """The sweep that searches the baseline `name`, without budget and confirmation.

    Raises:
        pydantic.ValidationError: a value that its field refuses.
    """
    assert spec.confirm is not None
    tree = spec.model_dump(mode="json")
    settings = spec.confirm.baselines[name]
    arm = spec.arms[str(settings[ARM])] if spec.arms and ARM in settings else {}
    settle(tree, {**arm, **settings})
    plain = SweepSpec.model_validate(tree | {"arms": {}, "space": {}, "confirm": None})
    return plain.model_copy(update=_own_search(spec, name))


def searches(spec: SweepSpec) -> list[SweepSpec]:
    """The sweep's own search and that of each baseline."""
    return [spec, *(baseline_spec(spec, name) for name in shares(spec))]


def planned(spec: SweepSpec) -> int:
    """Trials in all: the search's, the baselines' and, if all can be, the confirmations."""
    if spec.confirm is None:
        return trial_count(spec)
    return trial_count(spec) + sum(shares(spec).values()) + confirmations(spec)


def shares(spec: SweepSpec) -> dict[str, int]:
    """Trials of each baseline's search."""
    names = spec.confirm.baselines if spec.confirm else ()
    return {n: trial_count(spec.model_copy(update=_own_search(spec, n))) for n in names}


def confirmations(spec: SweepSpec) -> int:
    """Trials that read the test images: every arm on every fresh seed."""
    confirm = spec.confirm
    return (confirm.top + len(confirm.baselines)) * confirm.seeds if confirm else 0


def _own_search(spec: SweepSpec, name: str) -> dict[str, Any]:
    assert spec.confirm is not None
    fixed = {p: d for p, d in _free(spec, name).items() if d.kind == "fixed"}
    space = fixed | tuned(spec, name)
    search = _share(spec, spec.confirm, name)
    return {"space": space, "search": search, "budget": BudgetSpec()}


def _free(spec: SweepSpec, name: str) -> dict[str, Dimension]:
    """The axes that the baseline's own settings leave alone."""
    assert spec.confirm is not None
    own = spec.confirm.baselines[name]
    arm = spec.arms.get(str(own.get(ARM)), {})
    taken = [*own, *arm, ARM]
    return {p: d for p, d in spec.space.items() if not any(_touches(p, path) for path in taken)}


def _touches(one: str, other: str) -> bool:
    """Whether one of two paths is the other, or lies below it; s²/N is one with its strength."""
    one, other = (STRENGTH if path == NU else path for path in (one, other))
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _share(spec: SweepSpec, confirm: ConfirmSpec, name: str) -> SearchSpec:
    axes = len(tuned(spec, name))
    trials = confirm.trials
    if trials is None and spec.search.sampler != "grid":
        varied = sum(d.kind != "fixed" for d in spec.space.values())
        trials = max(1, math.ceil(trial_count(spec) * axes / max(1, varied)))
    digest = hashlib.sha256(f"{spec.search.seed}/{name}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")  # draws that are not those of the search
    priors = {p: v for p, v in spec.search.priors.items() if p in tuned(spec, name)}
    own = {"trials": trials, "seed": seed, "points": (), "priors": priors, "from_": ()}
    return spec.search.model_copy(update=own)
