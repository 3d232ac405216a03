"""From journal records to MLflow's metric rows and tags: functions of the journal alone.

Every row carries the time of its record. MLflow keeps equal rows once, so rows made again from the
same journal change nothing.
"""

from __future__ import annotations

import re
from typing import Any

from mlflow.entities import Metric

from sweeps import statistics
from sweeps.confirmed.found import confirmation_of
from sweeps.progress import (
    best_so_far,
    last_failure,
    past_rungs,
    seconds_left,
    summary_lines,
    time_left,
)
from sweeps.spec import SweepSpec
from sweeps.state import Record, State, Trial
from sweeps.text import split_update
from sweeps.track.artifacts import error_summary

STATUS = {"finished": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}
"""MLflow's status of a run by how its trial ended."""
_PASSING = ("epochs", "reason", "error", "best", "verdict")
"""Tags that hold until a trial is opened again or the sweep is extended."""
_REFUSED = re.compile(r"[^\w\-. /:]")


def milliseconds(seconds: float) -> int:
    """MLflow's unit of time."""
    return round(seconds * 1000)


def result_rows(results: list[Record]) -> list[Metric]:
    """Every number in these results; the step is the epoch, of a key NAME@UPDATE that update."""
    return [
        _row(key, value, result)
        for result in results
        for key, value in result["metrics"].items()
        if isinstance(value, int | float)
    ]


def _row(key: str, value: float, result: Record) -> Metric:
    name, update = split_update(key)
    step = result["epoch"] if update is None else update
    return Metric(_REFUSED.sub("_", name), float(value), milliseconds(result["time"]), step)


def trial_tags(trial: Trial, versions: dict[str, str], closing: bool) -> dict[str, str]:
    """What is said of a trial beside its numbers; absent and empty facts are left out."""
    status = "interrupted" if trial.end is None and closing else trial.status
    tags: dict[str, Any] = {"status": status}
    tags["rung"] = next((r["rung"] for r in reversed(trial.results) if r.get("rung")), None)
    tags["version"] = versions.get("commit") or versions.get("ghost-noise-sweeps")
    tags["attempts"] = len(trial.attempts)
    tags["baseline"], tags["configuration"] = trial.baseline, trial.of
    tags["parent"] = trial.parent
    tags["node"] = next((r["node"] for r in reversed(trial.results) if r.get("node")), None)
    if trial.end:
        tags["epochs"] = len(trial.results)
        tags["reason"] = trial.end.get("reason")
        tags["error"] = error_summary(trial.end.get("error"))[0]
    return {key: str(value) for key, value in tags.items() if value not in (None, "")}


def sweep_tags(state: State) -> dict[str, str]:
    """What is said of the sweep beside its numbers, but for what `progress_tags` says."""
    assert state.spec is not None
    tags = {f"version.{name}": str(value) for name, value in state.versions.items()}
    tags["objective"] = state.spec.objective.aims
    if best := state.best():
        tags["best"] = run_name(best.number)
    if found := confirmation_of(state) if state.finished else None:
        tags["verdict"] = found.verdict
    return tags


def cleared(held: dict[str, str], tags: dict[str, str]) -> dict[str, str]:
    """Empty values for the tags of a run that `tags` says no more."""
    return {key: "" for key in _PASSING if held.get(key) and key not in tags}


def progress_tags(state: State) -> dict[str, str]:
    """How far the sweep is as of its last record: what the live view shows, and as description.

    Every tag is there from the first time on, so none is left of an earlier state.
    """
    assert state.spec is not None
    left = seconds_left(state, state.updated)
    lines = summary_lines(state, left, with_running=False)
    note = [state.spec.description, "```", *lines, "```"]
    return {
        "progress.best": best_so_far(state),
        "progress.rungs": past_rungs(state) or "none",
        "progress.left": time_left(state, left),
        "progress.failures": last_failure(state) or "none",
        "mlflow.note.content": "\n".join(filter(None, note)),
    }


def run_name(number: int) -> str:
    """The name of a trial's run."""
    return f"trial-{number:04d}"


def configuration_name(number: int) -> str:
    """The name of the run over the confirmations of a configuration, by the trial that found it."""
    return f"configuration-{number:04d}"


def configuration_rows(spec: SweepSpec, trials: list[Trial]) -> list[Metric]:
    """What the confirmations of one configuration come to, when all have ended; before, nothing.

    Mean, deviation and interval of the test metric over those trained in full, and how many.
    """
    if spec.confirm is None or len(trials) < spec.confirm.seeds or not all(t.end for t in trials):
        return []
    name = spec.objective.test_metric
    found = [v for t in trials if t.status == "finished" and (v := t.last(name)) is not None]
    figures: dict[str, float | None] = {"seeds": len(found)}
    if found:
        figures |= {f"{name}_mean": statistics.mean(found)}
        figures |= {f"{name}_sd": statistics.deviation(found)}
    confirm = spec.confirm
    if interval := statistics.mean_interval(found, confirm.confidence, confirm.resamples):
        figures |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    when = max(t.end["time"] for t in trials if t.end)
    return [
        Metric(_REFUSED.sub("_", key), float(value), milliseconds(when), len(trials))
        for key, value in figures.items()
        if value is not None
    ]


class Progress:
    """The sweep's own rows: each figure whenever a trial ends; the step counts these ends."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, Metric]] = []
        """Each with the number of its journal record."""
        self._ends = 0
        self._ended = dict.fromkeys(STATUS, 0)
        self._full: dict[int, float] = {}
        """Value of each trial of the search that is trained in full."""
        self._best: float | None = None
        """The best of them; None also when it must be looked for anew."""

    def reopen(self, record: Record) -> None:
        """Take back an end: its trial goes on."""
        self._ended[record["status"]] -= 1
        if self._full.pop(record["trial"], None) == self._best:
            self._best = None

    def note(self, state: State, end: Record) -> None:
        """Add the rows for the trial that `end` closes; best is the best trained in full by now."""
        assert state.spec is not None
        objective = state.spec.objective
        self._ends += 1
        self._ended[end["status"]] += 1
        value, better = end.get("value"), max if objective.mode == "max" else min
        if self._best is None:
            self._best = better(self._full.values(), default=None)
        counts = end["status"] == "finished" and state.trials[end["trial"]].searches
        if counts and value is not None:
            self._full[end["trial"]] = value
            self._best = value if self._best is None else better(self._best, value)
        figures: dict[str, float] = {f"trials_{s}": n for s, n in self._ended.items()}
        figures["epochs"] = state.epochs
        if self._best is not None:
            figures[_REFUSED.sub("_", f"best_{objective.metric}")] = self._best
        when, step = milliseconds(end["time"]), self._ends
        self.rows += [(end["n"], Metric(name, float(v), when, step)) for name, v in figures.items()]
