"""Makes MLflow hold what a sweep's journal says; doing it again changes nothing.

An experiment of the sweep's name; in it a parent run for the sweep and a child run for each trial,
with parameters, a metric row per epoch, tags, and the best and last checkpoint.

    journal                    MLflow's status
    finished, pruned           FINISHED   stopping early is a normal end; tag `status` tells which
    failed, diverged           FAILED
    without an end at closing  KILLED     tag `interrupted`; RUNNING again, same run, on resume
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from mlflow.entities import Param

from sweeps.journal import Record, State, Trial
from sweeps.track.artifacts import checkpoints, error_summary
from sweeps.track.rows import STATUS, Progress, result_rows, sweep_tags, trial_tags
from sweeps.track.runs import Known, Runs


class Projection:
    """One sweep's journal as runs of one store: `apply` the records, then `deliver`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.state = State()
        self._progress = Progress()
        self._runs: Runs | None = None
        self._before: Runs | None = None
        self._touched: set[int] = set()
        self._ended: set[int] = set()
        self._spec_stored = False

    def apply(self, record: Record) -> None:
        """Take the journal's next record.

        Raises:
            JournalError: it is out of order or of no known kind.
        """
        self.state.apply(record)
        if "trial" in record:
            self._touched.add(record["trial"])
        if record["kind"] == "end":
            self._ended.add(record["trial"])
            self._progress.note(self.state, record)

    def reopen(self) -> None:
        """Ask the store what it holds before delivering again: the last may have half succeeded."""
        self._before, self._runs = self._runs or self._before, None

    def deliver(self, uri: str, closing: bool) -> None:
        """Bring the store up to the records applied; with `closing` no run stays RUNNING.

        Raises what MLflow raises; after `reopen` the next call goes on from there. Files come last,
        so a store that takes rows but no files still has every run closed.
        """
        runs = self._runs or self._open(uri)
        rows = list(self._progress.rows)
        runs.log(runs.parent, sweep_tags(self.state), rows)
        del self._progress.rows[: len(rows)]
        for number in sorted(self.state.trials if closing else self._touched):
            self._deliver_trial(runs, self.state.trials[number], closing)
            self._touched.discard(number)
        runs.set_status(runs.parent, self._status(closing), self.state.updated)
        self._deliver_files(runs, closing)

    def _open(self, uri: str) -> Runs:
        runs = Runs(uri, self.state, self.folder)
        before = self._before.trials if self._before else {}
        for number, known in runs.trials.items():
            if number in before and before[number].run == known.run:
                known.results, known.params = before[number].results, before[number].params
        self._touched.update(n for n, t in self.state.trials.items() if not _is_closed(runs, t))
        self._runs = runs
        return runs

    def _status(self, closing: bool) -> str:
        sessions = self.state.sessions
        if not closing and (not sessions or sessions[-1]["state"] == "started"):
            return "RUNNING"
        return "FINISHED" if self.state.finished else "KILLED"

    def _deliver_trial(self, runs: Runs, trial: Trial, closing: bool) -> None:
        if _is_closed(runs, trial):
            return
        known = runs.trials.get(trial.number) or runs.create(trial)
        params = [] if known.params else [Param(k, str(v)) for k, v in trial.params.items()]
        rows = result_rows(trial.results[known.results :])
        runs.log(known, trial_tags(trial, self.state.versions, closing), rows, params)
        known.results, known.params = len(trial.results), True
        if trial.end:
            runs.set_status(known, STATUS[trial.status], trial.end["time"])
        else:
            last = trial.results[-1]["time"] if trial.results else trial.proposed
            runs.set_status(known, "KILLED" if closing else "RUNNING", last)

    def _deliver_files(self, runs: Runs, closing: bool) -> None:
        assert self.state.spec is not None
        if not self._spec_stored:
            text = yaml.safe_dump(self.state.spec.model_dump(mode="json"), sort_keys=False)
            runs.client.log_text(runs.parent.run, text, "spec.yaml")
            self._spec_stored = True
        for number in sorted(self._ended):
            known = runs.trials[number]
            if known.tags.get("files") != known.tags["epochs"]:
                self._store_files(runs, known, self.state.trials[number])
                runs.log(known, {"files": known.tags["epochs"]})
            self._ended.discard(number)
        report = self.folder / "report"
        if closing and report.is_dir():
            runs.client.log_artifacts(runs.parent.run, str(report), "report")

    def _store_files(self, runs: Runs, known: Known, trial: Trial) -> None:
        assert self.state.spec is not None
        _, error = error_summary(trial.end.get("error") if trial.end else None)
        if error:
            runs.client.log_text(known.run, error, "error.txt")
        if not self.state.spec.tracking.artifacts:
            return
        found = checkpoints(self.folder, trial, self.state.spec.objective)
        with tempfile.TemporaryDirectory() as aside:  # links give the files their names in MLflow
            for role, path in found.items():
                (Path(aside) / f"{role}.pt").symlink_to(path.resolve())
            if found:
                runs.client.log_artifacts(known.run, aside, "checkpoints")


def _is_closed(runs: Runs, trial: Trial) -> bool:
    """Whether the run was closed with this very end; all its rows went before that."""
    known = runs.trials.get(trial.number)
    return (
        known is not None
        and trial.end is not None
        and known.status == STATUS[trial.status]
        and known.tags.get("status") == trial.status
        and known.tags.get("epochs") == str(len(trial.results))
    )
