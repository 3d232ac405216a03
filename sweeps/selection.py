"""Which configurations a sweep confirms, on validation results alone, and what is still to be run.

All of it is computed from the journal's state: a driver that goes on comes to the same.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass

from sweeps.baselines import fresh_seeds, planned, shares
from sweeps.objectives import front
from sweeps.spec import trial_count
from sweeps.state import State, Trial


@dataclass(frozen=True)
class Chosen:
    """A configuration to confirm."""

    trial: Trial
    """The first to have it: its number is the configuration's."""
    baseline: str
    """Name of the baseline that it is the best of; empty for one of the search."""
    value: float
    """The objective after the last epoch, mean over its trials of the search."""


@dataclass(frozen=True)
class Due:
    """One training of a configuration on a fresh seed, for test data."""

    chosen: Chosen
    seed: int


def searched(state: State) -> bool:
    """Whether the search and those of all baselines have every trial, and each has ended."""
    assert state.spec is not None
    found = [t for t in state.trials.values() if t.proposed_by_search]
    counts = dict.fromkeys(("", *shares(state.spec)), 0)
    for trial in found:
        counts[trial.baseline] += 1
    wanted = {"": trial_count(state.spec), **shares(state.spec)}
    return all(t.end for t in found) and all(counts[n] >= wanted[n] for n in wanted)


def chosen(state: State) -> list[Chosen]:
    """The best distinct configurations trained in full, best first; then each baseline's best.

    A configuration with several seeds counts by its mean. Fewer, where fewer were trained in full.
    Of two objectives only those on the front are taken, the best in the first one first.
    """
    assert state.spec is not None
    confirm = state.spec.confirm
    if confirm is None:
        return []
    out = _ranked(state, "")
    if state.spec.objective.second:
        on_front = [trial.params for trial in front(state)]
        out = [each for each in out if each.trial.params in on_front]
    out = out[: confirm.top]
    for name in confirm.baselines:
        out += _ranked(state, name)[:1]
    return out


def due(state: State) -> list[Due]:
    """Trainings on fresh seeds that the journal has no trial of, a seed after the other.

    None before the search has ended.
    """
    assert state.spec is not None
    if state.spec.confirm is None or not searched(state):
        return []
    arms = chosen(state)
    there = {(t.of, t.seed) for arm in arms for t in on_fresh_seeds(state, arm.trial.number)}
    return [
        Due(arm, seed)
        for seed in fresh_seeds(state.spec)
        for arm in arms
        if (arm.trial.number, seed) not in there
    ]


def on_fresh_seeds(state: State, number: int) -> list[Trial]:
    """The confirmations of configuration `number`, without those tested at a shorter length.

    Those are from before `extend --epochs`; others, of the new length, take their place.
    """
    assert state.spec is not None
    last = state.spec.training.epochs
    mine = [trial for trial in state.trials.values() if trial.of == number]
    return [trial for trial in mine if trial.status != "finished" or trial.epoch >= last]


def expected(state: State) -> int:
    """Trials in all, as far as the journal tells."""
    assert state.spec is not None
    born = len(children(state))
    if state.spec.confirm is None:
        return trial_count(state.spec) + born
    if not searched(state):
        return max(planned(state.spec) + born, len(state.trials))
    return len(state.trials) + len(due(state))


def children(state: State) -> list[Trial]:
    """The trials that go on from finished ones, with a schedule of their own."""
    return [trial for trial in state.trials.values() if trial.parent is not None]


def epochs_in_full(state: State, trials: int) -> int:
    """Epochs of so many trials, all children among them, were none stopped early."""
    assert state.spec is not None
    born = children(state)
    added = sum((child.epochs or 0) - child.after for child in born)
    return (trials - len(born)) * state.spec.training.epochs + added


def _ranked(state: State, baseline: str) -> list[Chosen]:
    """A search's configurations trained in full, best first; of equals the one proposed first."""
    assert state.spec is not None
    objective = state.spec.objective
    found: dict[str, list[tuple[Trial, float]]] = {}
    for trial in state.trials.values():
        if not trial.proposed_by_search or trial.baseline != baseline or trial.status != "finished":
            continue
        if (value := trial.last(objective.metric)) is not None:
            found.setdefault(json.dumps(trial.params, sort_keys=True), []).append((trial, value))
    means = [
        Chosen(same[0][0], baseline, statistics.fmean(value for _, value in same))
        for same in found.values()
    ]
    sign = -1 if objective.mode == "max" else 1
    return sorted(means, key=lambda each: (sign * each.value, each.trial.number))
