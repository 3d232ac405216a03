"""A sweep's runs in one MLflow store: found once by their tags, then written with few calls.

Tags `sweep.identity` and `sweep.created` (milliseconds) name the sweep: the same spec run afresh is
another sweep. `sweep.trial` names the trial, `sweep.configuration` a confirmed configuration; the
parent has neither.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from sweeps.state import State, Trial
from sweeps.track.rows import configuration_name, milliseconds, run_name
from sweeps.track.store import artifact_location

_PAGE = 1000
_LONGEST_TAG = 4000
_ABOVE = "mlflow.parentRunId"

_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow's UI to show runs, not traces of language models."""


@dataclass
class Known:
    """What the store is known to hold of one run."""

    run: str
    status: str
    place: str
    """Address of its artifacts."""
    tags: dict[str, str] = field(default_factory=dict)
    results: int = 0
    params: bool = False


class Runs:
    """The parent run and the children of one sweep. Every method raises what MLflow raises."""

    def __init__(self, uri: str, state: State, folder: Path):
        """Find or create the experiment and the parent, and find the children."""
        assert state.spec is not None
        self.client = MlflowClient(uri)
        self.trials: dict[int, Known] = {}
        self.configurations: dict[int, Known] = {}
        """Runs that hold what the confirmations of one configuration come to."""
        self._key = {
            "sweep.identity": state.identity,
            "sweep.created": str(milliseconds(state.created)),
        }
        self._experiment = self._find_experiment(
            state.spec.name, artifact_location(state.spec, folder)
        )
        parents = [known for run in self._search() if (known := self._take(run))]
        self.parent = self._only(parents) or self._create(state.spec.name, state.created, {})

    def create(self, trial: Trial, tags: dict[str, str]) -> Known:
        """Open the run of a trial: below the sweep's, or its configuration's, which is there."""
        above = self.parent if trial.of is None else self.configurations[trial.of]
        tags = tags | {
            "sweep.trial": str(trial.number),
            _ABOVE: above.run,
            "seed": str(trial.seed),
        }
        known = self._create(run_name(trial.number), trial.proposed, tags)
        self.trials[trial.number] = known
        return known

    def create_configuration(self, first: Trial) -> None:
        """Open the run over the confirmations of a configuration, of which `first` is one."""
        assert first.of is not None
        tags = {"sweep.configuration": str(first.of), _ABOVE: self.parent.run}
        tags |= {"baseline": first.baseline} if first.baseline else {}
        name = configuration_name(first.of)
        self.configurations[first.of] = self._create(name, first.proposed, tags)

    def log(
        self,
        known: Known,
        tags: dict[str, str],
        rows: list[Metric] | None = None,
        params: list[Param] | None = None,
    ) -> None:
        """Send rows, parameters and the tags that the store does not hold yet, in one call."""
        cut = {key: value[:_LONGEST_TAG] for key, value in tags.items()}
        new = {key: value for key, value in cut.items() if known.tags.get(key) != value}
        sent = [RunTag(key, value) for key, value in new.items()]
        self.client.log_batch(known.run, rows or [], params or [], sent)
        known.tags |= new

    def set_status(self, known: Known, status: str, when: float) -> None:
        """Close a run as of `when` (Unix seconds), or open it again."""
        if known.status == status:
            return
        if status == "RUNNING":
            self.client.update_run(known.run, status)
        else:
            self.client.set_terminated(known.run, status, milliseconds(when))
        known.status = status

    def store_folder(self, known: Known, folder: Path, under: str | None = None) -> None:
        """Copy the files in `folder` to the run's artifacts."""
        # MlflowClient.log_artifacts does this too, after it has read the whole run.
        self._artifacts(known).log_artifacts(str(folder), under)

    def remove_file(self, known: Known, name: str) -> None:
        """Take a file from the run's artifacts, if it is there."""
        artifacts = self._artifacts(known)
        if any(each.path == name for each in artifacts.list_artifacts()):
            artifacts.delete_artifacts(name)

    def _artifacts(self, known: Known) -> ArtifactRepository:
        return get_artifact_repository(known.place, tracking_uri=self.client.tracking_uri)

    def _find_experiment(self, name: str, location: str | None) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return self.client.create_experiment(name, location, _KIND)
            except MlflowException:  # another sweep of that name was first
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        return found.experiment_id

    def _search(self) -> list[Run]:
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in self._key.items())
        runs: list[Run] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self._experiment],
                query,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _take(self, run: Run) -> Known | None:
        """Note a run that was found; returns it when it is a parent."""
        known = self._known(run, dict(run.data.tags))
        for tag, runs in (
            ("sweep.trial", self.trials),
            ("sweep.configuration", self.configurations),
        ):
            if tag in known.tags:
                number = int(known.tags[tag])
                if number in runs:
                    self.client.delete_run(known.run)  # left by a "create" whose answer was lost
                else:
                    runs[number] = known
                return None
        return known

    def _only(self, parents: list[Known]) -> Known | None:
        """The one that most children name, else the first; the others are deleted."""
        children = (*self.trials.values(), *self.configurations.values())
        named = Counter(child.tags.get(_ABOVE) for child in children)
        kept = max(parents, key=lambda parent: named[parent.run], default=None)
        for lost in (parent for parent in parents if parent is not kept):
            for child in children:
                if kept and child.tags.get(_ABOVE) == lost.run:
                    self.log(child, {_ABOVE: kept.run})
            self.client.delete_run(lost.run)  # left by a "create" whose answer was lost
        return kept

    def _create(self, name: str, start: float, tags: dict[str, str]) -> Known:
        tags = {**self._key, **tags}
        run = self.client.create_run(self._experiment, milliseconds(start), tags, run_name=name)
        return self._known(run, tags)

    @staticmethod
    def _known(run: Run, tags: dict[str, str]) -> Known:
        assert run.info.artifact_uri is not None
        return Known(run.info.run_id, run.info.status, run.info.artifact_uri, tags)
