"""Earlier sweeps of the same storage, asked once what their trials came to (`search.from`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweeps.errors import Mistake, SpecError, SweepNotFound
from sweeps.journal import begun, read
from sweeps.spec import SweepSpec
from sweeps.state import State
from sweeps.storage import truth
from sweeps.text import suggest


def wanted(spec: SweepSpec, state: State, storage: Path) -> list[dict[str, Any]]:
    """What is still to be written of it: contents of `lent` records.

    Nothing once a trial was proposed: from then on the journal alone counts.

    Raises:
        SpecError: a sweep that there is not, with another objective, or without a trial that fits.
    """
    asked = {record["sweep"] for record in state.lent}
    names = [name for name in dict.fromkeys(spec.search.from_) if name not in asked]
    if state.trials or not names:
        return []
    from sweeps.search.lending import lendable  # Optuna, which most sweeps load beside Ray's start

    found: list[dict[str, Any]] = []
    mistakes: list[Mistake] = []
    for name in names:
        try:
            earlier = read(storage / name)
        except SweepNotFound:
            mistakes.append(_missing(name, storage))
            continue
        trials = lendable(spec, earlier) if _same_objective(spec, earlier) else []
        found.append({"sweep": name, "trials": trials})
        if not trials:
            mistakes.append(_useless(spec, name, earlier))
    if mistakes:
        raise SpecError(mistakes)
    return found


def _same_objective(spec: SweepSpec, earlier: State) -> bool:
    return earlier.spec is not None and earlier.spec.objective == spec.objective


def _missing(name: str, storage: Path) -> Mistake:
    rule = f"there is no such sweep in {truth(storage)}"
    return Mistake("search.from", rule, name, suggest(name, [each.name for each in begun(storage)]))


def _useless(spec: SweepSpec, name: str, earlier: State) -> Mistake:
    assert earlier.spec is not None
    theirs, ours = earlier.spec.objective, spec.objective
    if theirs != ours:
        found = f"{name}: {theirs.aims}; here {ours.aims}"
        return Mistake("search.from", "that sweep has another objective", found, "Leave it out")
    with_value = sum(t.last(ours.metric) is not None for t in earlier.trials.values())
    found = f"{name}: {with_value} trials with a value"
    remedy = "Leave it out, or widen the space to where its trials were"
    return Mistake("search.from", "no finished or pruned trial fits this space", found, remedy)
