"""How far a sweep is: what the terminal, `status --watch` and MLflow's parent run say of it.

All of it is made from the journal's state, so the three say the same.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import Any

from sweeps.objectives import front
from sweeps.pace import epochs_to_come
from sweeps.selection import due, expected
from sweeps.spec import rungs, steps
from sweeps.state import State, Trial
from sweeps.text import short_names

_WIDTH = 30
"""Characters of the bar."""


def summary_lines(state: State, left: float | None, with_running: bool = True) -> list[str]:
    """Progress, rungs, best so far, a line for each running trial, the last failure.

    Args:
        state: of a sweep that has a spec.
        left: expected seconds to its end (`seconds_left`).
        with_running: whether the trials that run have their lines.
    """
    lines = [headline(state, left)]
    if past := past_rungs(state):
        unit = "seconds" if state.spec and state.spec.stopping.seconds else "epoch"
        lines.append(f"trials past rung ({unit})  {past}")
    if best := state.best():
        lines.append(f"best {best_so_far(state)} so far  {point(best, state)}")
    if found := front(state):
        lines.append(f"front of {len(found)} trials that none beats in both objectives")
    if confirming := confirmed(state):
        lines.append(confirming)
    if with_running:
        for trial in (t for t in state.trials.values() if t.status == "running"):
            lines.append(f"trial {trial.number:>3}  epoch {trial.epoch:>3}  {point(trial, state)}")
    if failure := last_failure(state):
        lines.append(failure)
    return lines


def headline(state: State, left: float | None) -> str:
    """`digits  ███░░░  12 of 32 trials, 2 running, about 3 min left`."""
    assert state.spec is not None
    total, ended = expected(state), state.ended
    bar = "█" * (_WIDTH * ended // total)
    counts = f"{ended} of {total} trials"
    found = Counter(trial.status for trial in state.trials.values() if not trial.end)
    if running := found["running"]:
        counts += f", {running} {'running' if at_work(state) else 'open'}"
    if waiting := found["waiting"]:
        counts += f", {waiting} waiting at rungs"
    return f"{state.spec.name}  {bar:░<{_WIDTH}}  {counts}, {time_left(state, left)}"


def time_left(state: State, left: float | None) -> str:
    """`about 3 min left`, or in a word why there is no such estimate."""
    assert state.spec is not None
    if state.finished:
        return "finished"
    if not at_work(state):
        return state.sessions[-1]["state"] if state.sessions else "not started"
    if state.ended == expected(state):
        return "writing the report"
    return "starting" if left is None else f"about {duration(left)} left"


def at_work(state: State) -> bool:
    """Whether the journal's last session has not ended; its driver may have died all the same."""
    return bool(state.sessions) and state.sessions[-1]["state"] == "started"


def seconds_left(state: State, now: float) -> float | None:
    """Expected at `now` (Unix seconds) by the pace of the trials that ended in this session.

    Where trials wait at rungs, by that of its epochs. None before the first, and while no driver
    is at work.
    """
    assert state.spec is not None
    if not at_work(state):
        return None
    start = state.sessions[-1]["time"]
    if state.spec.stopping.promote:
        done = [result for trial in state.trials.values() for result in trial.results]
        left = epochs_to_come(state)
    else:
        done = [trial.end for trial in state.trials.values() if trial.end]
        left = expected(state) - len(done)
    here = sum(record["time"] >= start for record in done)
    return max(0.0, now - start) / here * left if here else None


def past_rungs(state: State) -> str:
    """`1: 20  3: 8  in full: 3`: trials that went on beyond each rung; empty without rungs."""
    assert state.spec is not None
    trials = [t for t in state.trials.values() if t.proposed_by_search]
    if state.spec.stopping.seconds:
        past = [f"{step:g}: {sum(_past(t, step) for t in trials)}" for step in steps(state.spec)]
    else:
        past = [f"{epoch}: {sum(t.epoch > epoch for t in trials)}" for epoch in rungs(state.spec)]
    full = sum(t.status == "finished" for t in trials)
    return "  ".join([*past, f"in full: {full}"]) if past else ""


def _past(trial: Trial, seconds: float) -> bool:
    """Whether the trial went on at a rung in seconds, or at a later one."""
    return any((r["rung"] or 0) >= seconds and r["decision"] == "continue" for r in trial.results)


def confirmed(state: State) -> str:
    """`confirming on fresh seeds: 3 of 20 trainings`; empty before."""
    tested = [t for t in state.trials.values() if t.of is not None]
    if not tested:
        return ""
    done = sum(t.end is not None for t in tested)
    return f"confirming on fresh seeds: {done} of {len(tested) + len(due(state))} trainings"


def best_so_far(state: State) -> str:
    """`0.9733 (trial 4)`, with mean and 95 % interval where its point has several seeds."""
    best = state.best()
    if best is None or state.spec is None:
        return "none"
    value = best.last(state.spec.objective.metric)
    found = f"{value:.4f} (trial {best.number})"
    values = _over_seeds(state, best)
    if len(values) < 2:
        return found
    return f"{found}, {statistics.fmean(values):.4f} ± {_half(values):.4f} over {len(values)} seeds"


def last_failure(state: State) -> str:
    """`2 failed; last: trial 7: no disk`: one line, empty where nothing failed."""
    failures = [t for t in state.trials.values() if t.status in ("failed", "diverged")]
    if not failures:
        return ""
    last = max(failures, key=lambda t: t.end["n"] if t.end else 0)
    assert last.end is not None
    return f"{len(failures)} failed; last: trial {last.number}: {first_line(last.end['reason'])}"


def failed(state: State) -> list[Trial]:
    """The trials that failed since the sweep was begun, or since it was last extended.

    They make the exit status of the verbs that run trials; one that diverged is a finding.
    """
    ended = ((t, t.end["n"]) for t in state.trials.values() if t.end)
    return [t for t, n in ended if t.status == "failed" and n > state.added]


def point(trial: Trial, state: State) -> str:
    """The trial's parameters under short names, its seed where it is a repeat; what it is for."""
    assert state.spec is not None
    names = short_names(list(trial.params))
    shown = [f"{trial.baseline}:"] if trial.baseline else []
    shown += [f"{names[path]}={_number(value)}" for path, value in trial.params.items()]
    if trial.seed != state.spec.training.seed:
        shown.append(f"seed={trial.seed}")
    if trial.of is not None:
        shown.append(f"confirms {trial.of}")
    if trial.parent is not None:
        shown.append(f"goes on from {trial.parent}")
    return " ".join(shown)


def first_line(text: str) -> str:
    """The first line of a message that may have none."""
    return text.strip().partition("\n")[0]


def duration(seconds: float) -> str:
    """`42 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _over_seeds(state: State, best: Trial) -> list[float]:
    """The last values of the trials at the best's point that were trained in full."""
    assert state.spec is not None
    metric = state.spec.objective.metric
    full = (t for t in state.trials.values() if t.status == "finished" and t.searches)
    same = (t for t in full if t.params == best.params)
    return [value for t in same if (value := t.last(metric)) is not None]


def _half(values: list[float]) -> float:
    """Half of the 95 % interval of a mean, by Student's t."""
    from scipy.special import stdtrit

    n = len(values)
    return float(stdtrit(n - 1, 0.975)) * statistics.stdev(values) / math.sqrt(n)


def _number(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
