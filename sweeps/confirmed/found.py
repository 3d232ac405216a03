"""The confirmation of a sweep as one object: arms, comparisons, verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sweeps.baselines import confirmations, fresh_seeds, tuned
from sweeps.confirmed.arms import Arm, Comparison, arm, comparisons
from sweeps.confirmed.verdict import verdict
from sweeps.confirming import ConfirmSpec
from sweeps.selection import Chosen, chosen, due, on_fresh_seeds, searched
from sweeps.spec import SweepSpec
from sweeps.state import State


@dataclass(frozen=True)
class Confirmation:
    """The confirmation as far as it has come."""

    metric: str
    """`test_accuracy`, say."""
    mode: str
    """max or min: which way is better."""
    confidence: float
    """Of all intervals."""
    seeds: list[int]
    """The fresh ones, the same for every arm."""
    done: int
    """Trainings of the chosen configurations that have ended."""
    total: int
    """Trainings in all; while the search goes on, as many as there can be."""
    complete: bool
    """Whether all have ended. Before that `comparisons` is empty: looking at them again and again
    finds differences that are none."""
    arms: list[Arm]
    """Empty before the search has ended."""
    comparisons: list[Comparison]
    verdict: str
    missing: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def confirmation_of(state: State) -> Confirmation | None:
    """What the confirmation has found so far; None when the spec asks for none."""
    assert state.spec is not None
    spec, confirm = state.spec, state.spec.confirm
    if confirm is None:
        return None
    over = searched(state)
    picked = chosen(state) if over else []
    trials = [t for each in picked for t in on_fresh_seeds(state, each.trial.number)]
    done = sum(t.end is not None for t in trials)
    total = len(trials) + len(due(state)) if over else confirmations(spec)
    complete = over and done == total
    arms = [arm(state, each) for each in picked]
    objective = spec.objective
    found = comparisons(arms, objective.mode, confirm.confidence) if complete else []
    return Confirmation(
        metric=objective.test_metric,
        mode=objective.mode,
        confidence=confirm.confidence,
        seeds=fresh_seeds(spec),
        done=done,
        total=total,
        complete=complete,
        arms=arms,
        comparisons=found,
        verdict=" ".join(
            [
                verdict(
                    arms, found, objective.test_metric, confirm.confidence, _alone(state, picked)
                )
                if complete
                else _not_yet(over, done, total),
                *(_fewer(spec, confirm, picked) if over else ()),
            ]
        ),
        missing=[*_missing(state, picked, arms)] if over else [],
    )


def _not_yet(over: bool, done: int, total: int) -> str:
    if not over:
        return "Not confirmed yet: the search goes on, and no test image was read."
    return f"Not confirmed yet: {done} of {total} trainings on fresh seeds have ended."


def _fewer(spec: SweepSpec, confirm: ConfirmSpec, picked: list[Chosen]) -> Iterator[str]:
    """That the search gave fewer configurations than were asked for, and why."""
    top = sum(not each.baseline for each in picked)
    if top < confirm.top:
        why = "stand on the front" if spec.objective.second else "were trained in full"
        yield f"Chosen: {top} of the top {confirm.top} asked for, since no more {why}."


def _alone(state: State, picked: list[Chosen]) -> str:
    """That no baseline was trained in full, and what may help; empty where one was, or is none."""
    assert state.spec is not None and state.spec.confirm is not None
    names = state.spec.confirm.baselines
    if not names or any(each.baseline for each in picked):
        return ""
    said = f"No baseline was trained in full ({', '.join(names)}), so none can be compared with"
    return f"{said}: {_remedy(state.spec, state)}."


def _remedy(spec: SweepSpec, state: State) -> str:
    """What gives baselines of which none was trained in full another chance."""
    assert spec.confirm is not None
    theirs = [t for t in state.trials.values() if t.baseline and t.proposed_by_search]
    if any(t.status == "failed" for t in theirs):
        return f"once the cause is mended, `sweeps retry {spec.name} --failed` runs them again"
    grows = any(tuned(spec, name) for name in spec.confirm.baselines)
    if spec.confirm.trials is None and (grows or spec.search.sampler == "grid"):
        return f"`sweeps extend {spec.name} --trials N` gives them their share of N more trials"
    return "they want other settings, in a new sweep"


def _missing(state: State, picked: list[Chosen], arms: list[Arm]) -> Iterator[str]:
    assert state.spec is not None and state.spec.confirm is not None
    confirm = state.spec.confirm
    for name in confirm.baselines:
        if not any(each.baseline == name for each in picked):
            yield f"The baseline {name}: none of its trials was trained in full."
    for each in arms:
        if each.lost:
            why = ", ".join(f"{seed} {status}" for seed, status in each.lost.items())
            yield f"Of {each.name}, the seeds {why}; their pairs are left out."
    known = {each.trial.number for each in picked}
    tested = {t.of for t in state.trials.values() if t.of is not None}
    if stale := tested - known:
        numbers = ", ".join(map(str, sorted(stale)))
        yield f"Configurations tested before the search went on, no longer chosen: {numbers}."
    if shorter := {n for n in tested if len(on_fresh_seeds(state, n)) < _tests(state, n)}:
        numbers = ", ".join(map(str, sorted(shorter)))
        yield f"Tested at fewer epochs too, which does not count here: {numbers}."


def _tests(state: State, number: int) -> int:
    return sum(trial.of == number for trial in state.trials.values())
