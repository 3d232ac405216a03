"""What came of the trials that went on under a schedule begun anew, beside what they came from."""

from __future__ import annotations

from dataclasses import dataclass

from sweeps.report.results import Sweep


@dataclass(frozen=True)
class Child:
    """A trial that goes on from another one; values are the objective after the last epoch."""

    trial: int
    parent: int
    after: int
    """The parent's last epoch."""
    epochs: int
    """Its own last epoch so far."""
    before: float | None
    value: float | None
    status: str


def said(sweep: Sweep) -> str:
    """In a line how many there are and what the best of them came to; empty without any."""
    found = gone_on(sweep)
    if not found:
        return ""
    best = found[0]
    done = sum(each.status == "finished" for each in found)
    head = f"{len(found)} trials with their schedule begun anew, {done} finished"
    if as_it_was := _without_cosine(sweep, found):
        head += f" ({as_it_was} without a cosine: with the schedule as it was)"
    if best.value is None:
        return head
    was = f"trial {best.parent} with {best.before:.4g}" if best.before is not None else best.parent
    return (
        f"{head}; best {best.value:.4g} after {best.epochs} epochs: trial {best.trial}, from {was}"
    )


def _without_cosine(sweep: Sweep, found: list[Child]) -> int:
    trials = (sweep.state.trials[each.trial] for each in found)
    names = (sweep.spec.trial(t.params, t.seed).training.schedule.name for t in trials)
    return sum(name != "cosine" for name in names)


def gone_on(sweep: Sweep) -> list[Child]:
    """All of them, the best first; those without a value last."""
    trials = sweep.state.trials
    found = [
        Child(
            each.number, each.parent, each.after, each.epoch, sweep.value(trials[each.parent]),
            sweep.value(each), sweep.status(each),
        )
        for each in trials.values()
        if each.parent is not None
    ]  # fmt: skip
    sign = 1 if sweep.spec.objective.mode == "max" else -1
    return sorted(found, key=lambda c: (c.value is None, -sign * (c.value or 0.0)))
