"""What there is to read of a sweep that went wrong: its logs, or the life of one trial."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from sweeps.errors import SweepNotFound
from sweeps.report.results import Sweep
from sweeps.state import Record, Trial

_LINES = 200


def of_sweep(folder: Path) -> str:
    """The ends of the logs of its driver, tracker and report."""
    files = sorted(path for path in (folder / "logs").glob("*.log") if path.stat().st_size)
    return "\n".join(f"== {path}\n{_end(path)}" for path in files) or f"no logs in {folder}/logs"


def of_trial(sweep: Sweep, number: int) -> str:
    """Each attempt, each epoch with its machine and metrics, and the whole of a failure.

    Raises:
        SweepNotFound: it has no such trial.
    """
    trial = sweep.state.trials.get(number)
    if trial is None:
        known = len(sweep.state.trials)
        there = f"it has {known}, from 0 to {known - 1}" if known else "it has no trials yet"
        raise SweepNotFound(f"{sweep.folder.name} has no trial {number}; {there}")
    return "\n".join(_told(sweep, trial))


def _told(sweep: Sweep, trial: Trial) -> Iterator[str]:
    status = sweep.status(trial)
    yield f"trial {trial.number}, {status}: params {trial.params}, seed {trial.seed}"
    for record in sorted([*trial.attempts, *trial.results], key=lambda record: record["n"]):
        yield f"{_clock(record)}  {_line(record)}"
    if trial.end:
        yield f"{_clock(trial.end)}  {trial.end['status']}: {trial.end['reason']}"
        yield (trial.end.get("error") or {}).get("traceback", "").rstrip()


def _line(record: Record) -> str:
    if record["kind"] == "attempt":
        return f"attempt {record['attempt']}, from epoch {record['epoch']}"
    metrics = ((k, v) for k, v in record["metrics"].items() if "@" not in k and v is not None)
    numbers = " ".join(f"{name} {value:.4g}" for name, value in metrics)
    return f"epoch {record['epoch']} on {record['node']}: {numbers}, {record['decision']}"


def _clock(record: Record) -> str:
    return time.strftime("%H:%M:%S", time.localtime(record["time"]))


def _end(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:])
