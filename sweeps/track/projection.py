"""Makes MLflow hold what a sweep's journal says; doing it again changes nothing.

An experiment of the sweep's name; in it a parent run for the sweep and a child run for each trial,
with parameters, a metric row per epoch, tags, and the best and last checkpoint. The confirmations
of a configuration are children of a run of its own: mean, deviation and interval over seeds.

    journal                    MLflow's status
    finished, pruned           FINISHED   stopping early is a normal end; tag `status` tells which
    failed, diverged           FAILED
    without an end at closing  KILLED     tag `interrupted`; RUNNING again, same run, on resume
"""

from __future__ import annotations

import tempfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from mlflow.entities import Param

from sweeps.selection import on_fresh_seeds
from sweeps.state import Record, State, Trial
from sweeps.track.artifacts import brought, checkpoints, error_summary
from sweeps.track.rows import (
    STATUS,
    Progress,
    cleared,
    configuration_rows,
    progress_tags,
    result_rows,
    sweep_tags,
    trial_tags,
)
from sweeps.track.runs import Runs

_ERROR = "error.txt"
_HANDS = 4
"""Calls in flight to a tracking server."""
_REFRESH_S = 5.0
"""From one description of the progress to the next, by the journal's clock."""


class Projection:
    """One sweep's journal as runs of one store: `apply` the records, then `deliver`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.state = State()
        self._progress = Progress()
        self._runs: Runs | None = None
        self._before: Runs | None = None
        self._touched: set[int] = set()
        self._ended: deque[Record] = deque()
        self._last_stored = -1
        self._spec_stored = False
        self._refreshed = 0.0

    def apply(self, record: Record) -> None:
        """Take the journal's next record.

        Raises:
            JournalError: it is out of order or of no known kind.
        """
        self.state.apply(record)
        if "trial" in record:
            self._touched.add(record["trial"])
        if record["kind"] == "end":
            self._ended.append(record)
            self._progress.note(self.state, record)
        elif record["kind"] == "reopen":
            self._progress.reopen(record)

    def reopen(self) -> None:
        """Ask the store what it holds before delivering again: the last may have half succeeded."""
        self._before, self._runs = self._runs or self._before, None

    def deliver(self, uri: str, closing: bool) -> None:
        """Bring the store up to the records applied; with `closing` no run stays RUNNING.

        Raises what MLflow raises; after `reopen` the next call goes on from there. Files come last,
        so a store that takes rows but no files still has every run closed.
        """
        runs = self._runs or self._open(uri)
        self._deliver_progress(runs, closing)

        def deliver(number: int) -> int:
            self._deliver_trial(runs, self.state.trials[number], closing)
            return number

        fresh = {n for n in self._touched if self.state.trials[n].of is not None}
        self._open_configurations(runs)
        # a server works on several calls at once; sqlite itself on one
        hands = _HANDS if uri.startswith(("http://", "https://")) else 1
        with ThreadPoolExecutor(hands) as pool:
            for number in pool.map(
                deliver, sorted(self.state.trials if closing else self._touched)
            ):
                self._touched.discard(number)
        self._deliver_configurations(runs, fresh, closing)
        runs.set_status(runs.parent, self._status(closing), self.state.updated)
        self._deliver_files(runs, closing)

    def _deliver_progress(self, runs: Runs, closing: bool) -> None:
        """The sweep's tags and own rows; a tag says up to which record its rows have arrived.

        Sent again, 60,000 rows of 10,000 trials take minutes.
        """
        rows, stored = list(self._progress.rows), int(runs.parent.tags.get("progress", "-1"))
        new = [row for number, row in rows if number > stored]
        tags = sweep_tags(self.state)
        tags |= cleared(runs.parent.tags, tags)
        if closing or self.state.updated >= self._refreshed + _REFRESH_S:
            tags |= progress_tags(self.state)
            self._refreshed = self.state.updated
        runs.log(runs.parent, tags, new)
        if new:  # not in the same call, which would store the tag before the last rows
            runs.log(runs.parent, {"progress": str(rows[-1][0])})
        del self._progress.rows[: len(rows)]

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
        if _is_closed(runs, trial) or not (trial.end or trial.results):
            return  # nothing to show yet: a start that is refused leaves no runs
        tags = trial_tags(trial, self.state.versions, closing)
        known = runs.trials.get(trial.number) or runs.create(trial, tags)
        params = [] if known.params else [Param(k, str(v)) for k, v in trial.params.items()]
        rows = result_rows(trial.results[known.results :])
        runs.log(known, tags | cleared(known.tags, tags), rows, params)
        known.results, known.params = len(trial.results), True
        if trial.end:
            runs.set_status(known, STATUS[trial.status], trial.end["time"])
        else:
            last = trial.results[-1]["time"] if trial.results else trial.proposed
            runs.set_status(known, "KILLED" if closing else "RUNNING", last)

    def _open_configurations(self, runs: Runs) -> None:
        """See that every configuration with a confirmation to show has a run."""
        for number in sorted(self._touched):
            trial = self.state.trials[number]
            shown = trial.of is not None and (trial.end or trial.results)
            if shown and trial.of not in runs.configurations:
                runs.create_configuration(trial)

    def _deliver_configurations(self, runs: Runs, fresh: set[int], closing: bool) -> None:
        """What the confirmations of each configuration come to, beside what the journal says."""
        spec, found = self.state.spec, {self.state.trials[number].of for number in fresh}
        assert spec is not None
        for number, known in runs.configurations.items():
            if not closing and number not in found:
                continue
            tested = [t for t in self.state.trials.values() if t.of == number]
            trials = on_fresh_seeds(self.state, number) or tested
            rows = configuration_rows(spec, trials)
            last = max(t.end["time"] if t.end else t.proposed for t in trials)
            params = [] if known.params else [Param(k, str(v)) for k, v in trials[0].params.items()]
            runs.log(known, {}, rows, params)
            known.params = True
            runs.set_status(known, _status_of(bool(rows), closing), last)

    def _deliver_files(self, runs: Runs, closing: bool) -> None:
        """Store the files of ended trials by order of end; the tag says up to which record."""
        if not self._spec_stored:
            self._store_spec(runs)
        stored = int(runs.parent.tags.get("files", "-1"))
        while self._ended:
            end = self._ended[0]
            if end["n"] > stored:
                self._store_trial(runs, self.state.trials[end["trial"]])
                self._last_stored = end["n"]
            self._ended.popleft()
        report = self.folder / "report"
        if closing and report.is_dir():
            runs.store_folder(runs.parent, report, "report")
        if closing:
            runs.log(runs.parent, {"files": str(max(stored, self._last_stored))})

    def _store_trial(self, runs: Runs, trial: Trial) -> None:
        assert self.state.spec is not None
        objective = self.state.spec.objective
        _, error = error_summary(trial.end.get("error") if trial.end else None)
        wanted = self.state.spec.tracking.artifacts
        found = checkpoints(self.folder, trial, objective) if wanted else {}
        known = runs.trials[trial.number]
        if not error and known.tags.get("error") == "":  # cleared: an earlier try had failed
            runs.remove_file(known, _ERROR)
        if not error and not found:
            return
        with tempfile.TemporaryDirectory() as name:
            aside = Path(name)
            (aside / "checkpoints").mkdir()
            for role, place in found.items():  # links give the files their names in MLflow
                brought(place, aside / "checkpoints" / f"{role}.pt")
            if error:
                (aside / _ERROR).write_text(error, encoding="utf-8")
            runs.store_folder(known, aside)

    def _store_spec(self, runs: Runs) -> None:
        assert self.state.spec is not None
        with tempfile.TemporaryDirectory() as name:
            text = yaml.safe_dump(self.state.spec.model_dump(mode="json"), sort_keys=False)
            (Path(name) / "spec.yaml").write_text(text, encoding="utf-8")
            runs.store_folder(runs.parent, Path(name))
        self._spec_stored = True


def _status_of(complete: bool, closing: bool) -> str:
    """MLflow's status of a configuration's run."""
    return "FINISHED" if complete else "KILLED" if closing else "RUNNING"


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
