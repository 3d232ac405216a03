"""Tune's side of the conductor: the searcher that Tune asks and the scheduler that Tune tells.

Both are thin. The scheduler hears every result before Tune acts on it, also the one that stops a
trial, which a searcher or a callback would not hear; so results go in there. The searcher hands out
assignments, and never more of them than there are places to run them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweeps.driver.conductor import Conductor

REPORT = "report"
"""Key of a worker's result under which our own content stands, as JSON."""


class _Unsaved:
    """Pickles as nothing: Tune saves what it is given, and the journal makes that needless."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return object, ()

    def save(self, checkpoint_path: str) -> None:
        """Leave an empty file where Tune wants one."""
        Path(checkpoint_path).touch()


class Assignments(_Unsaved, Searcher):
    """Hands the conductor's assignments to Tune, at most `places` at a time."""

    def __init__(self, conductor: Conductor, places: int):
        super().__init__()
        self._conductor = conductor
        self._places = places

    def suggest(self, trial_id: str) -> Any:
        """The next assignment as Tune's config; None while all places are taken."""
        if self._conductor.live >= self._places:
            return None
        if assignment := self._conductor.next():
            return vars(assignment).copy()
        return None if self._conductor.live else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing: the conductor was told by the scheduler."""


class Decisions(_Unsaved, FIFOScheduler):
    """Tells the conductor each result and loss, and gives Tune its decision."""

    def __init__(self, conductor: Conductor):
        super().__init__()
        self._conductor = conductor

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict) -> str:
        """Take in one epoch, or the failure that a worker caught."""
        number = trial.config["trial"]
        report = json.loads(result[REPORT])
        if failure := report.get("failure"):
            self._conductor.failed(number, failure["error"], failure["status"])
            return TrialScheduler.STOP
        over = self._conductor.result(
            number, report["epoch"], report["metrics"], result.get("hostname", "")
        )
        return TrialScheduler.STOP if over else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """A worker died under a trial."""
        error = trial.get_pickled_error() or trial.get_error()
        text = str(error).strip().splitlines()
        message = text[0] if text else "the worker died"
        kind = type(error).__name__
        self._conductor.lost(trial.config["trial"], {"type": kind, "message": message})
