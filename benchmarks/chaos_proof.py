"""What benchmarks/chaos.py compares: two sweeps by their journals, and what MLflow holds of one."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.state import State, Trial

TIMINGS = {"seconds", "images_per_second"}


def stream(trial: Trial) -> list[tuple[int, dict[str, Any]]]:
    """A trial's metrics by epoch, timings left out."""
    return [
        (r["epoch"], {k: v for k, v in r["metrics"].items() if k not in TIMINGS})
        for r in trial.results
    ]


def whole(trial: Trial) -> tuple:
    """All that was proposed, reported and decided, timings left out."""
    end = trial.end or {}
    decisions = [(r["epoch"], r["decision"], r["rung"]) for r in trial.results]
    outcome = [end.get(key) for key in ("status", "epoch", "value", "reason")]
    return trial.params, trial.seed, stream(trial), decisions, outcome


def same(a: State, b: State, of: Any) -> int:
    """Trials that are alike in both sweeps."""
    return sum(
        number in b.trials and of(trial) == of(b.trials[number])
        for number, trial in a.trials.items()
    )


def doubled_results(state: State) -> int:
    """Epochs that a journal holds more than once."""
    found = Counter((t.number, r["epoch"]) for t in state.trials.values() for r in t.results)
    return found.total() - len(found)


@dataclass
class Held:
    """What an MLflow store holds of one sweep, and where it differs from the journal."""

    runs: int = 0
    running: int = 0
    doubled_runs: int = 0
    doubled_rows: int = 0
    faults: list[str] = field(default_factory=list)


def mlflow(database: Path, state: State) -> Held:
    """Look into a server's database: one run a trial, closed; one row an epoch and metric."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        runs = db.execute(
            "select r.run_uuid, r.status, t.value from runs r left join tags t "
            "on t.run_uuid = r.run_uuid and t.key = 'sweep.trial' "
            "where r.lifecycle_stage = 'active'"
        ).fetchall()
        rows = db.execute("select run_uuid, key, step, value from metrics").fetchall()
    held = Held(runs=len(runs), running=sum(status == "RUNNING" for _, status, _ in runs))
    numbers = Counter(number for _, _, number in runs)  # None: the parent
    held.doubled_runs = numbers.total() - len(numbers)
    active = {run for run, _, _ in runs}
    places = Counter((run, key, step) for run, key, step, _ in rows if run in active)
    held.doubled_rows = places.total() - len(places)
    values: dict[str, dict] = {}
    for run, key, step, value in rows:
        values.setdefault(run, {})[key, step] = value
    for run, _, number in runs:
        if number is not None and values.get(run, {}) != _rows(state.trials[int(number)]):
            held.faults.append(f"the metric rows of trial {number} are not those of the journal")
    if set(numbers) != {None, *map(str, state.trials)}:
        held.faults.append("the runs are not one for each trial and one for the sweep")
    return held


def _rows(trial: Trial) -> dict[tuple[str, int], float]:
    """The metric rows that MLflow is to hold of a trial."""
    return {(k, r["epoch"]): v for r in trial.results for k, v in r["metrics"].items()}


def contents(database: Path) -> dict[str, list]:
    """Runs, tags, parameters and metric rows, to see whether a second delivery changes them."""
    tables = {"runs": "run_uuid, status, end_time", "tags": "*", "params": "*", "metrics": "*"}
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        return {t: sorted(db.execute(f"select {c} from {t}"), key=repr) for t, c in tables.items()}
