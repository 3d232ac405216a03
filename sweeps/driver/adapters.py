"""Tune's side of the conductor: the searcher that Tune asks and the scheduler that Tune tells.

Both are thin. The scheduler hears every result before Tune acts on it, also the one that stops a
trial, which a searcher or a callback would not hear; so results go in there. The searcher hands out
assignments, and never more of them than there are places to run them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweeps.driver.cluster import Places
from sweeps.driver.conductor import Conductor
from sweeps.driver.devices import Devices, named
from sweeps.driver.ending import Ending
from sweeps.errors import TrialStopped
from sweeps.state import Place

REPORT = "report"
"""Key of a worker's result under which our own content stands, as JSON."""


_SHORT_OF_MEMORY = "running low on memory"
"""Words of Ray's OutOfMemoryError, of which Tune keeps the text alone."""


def _noted(trial: TuneTrial) -> tuple[str, str]:
    """Class and first line of the error that ended an attempt.

    Tune has just written both to a folder of its own. Its `get_error` looks in the storage, where
    they come later.
    """
    kind, text = "WorkerDied", ""
    with suppress(Exception):  # not pickled, or of a class that is not known here
        kind = type(pickle.loads(Path(trial.pickled_error_file or "").read_bytes())).__name__
    with suppress(OSError):
        text = Path(trial.error_file or "").read_text(encoding="utf-8")
    _, *lines = text.strip().splitlines() or [""]  # under Tune's own heading
    return kind, lines[0] if lines else "the worker died"


class _Unsaved:
    """Pickles as nothing: Tune saves what it is given, and the journal makes that needless."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return object, ()

    def save(self, checkpoint_path: str) -> None:
        """Leave an empty file where Tune wants one."""
        Path(checkpoint_path).touch()


class Assignments(_Unsaved, Searcher):
    """Hands the conductor's assignments to Tune, at most `places()` at a time."""

    def __init__(
        self, conductor: Conductor, places: Places, devices: Devices, poll: Callable[[], None]
    ):
        super().__init__()
        self._conductor = conductor
        self._places, self._devices = places, devices
        self._poll = poll

    def suggest(self, trial_id: str) -> Any:
        """The next assignment as Tune's config; None while all places are taken."""
        self._poll()
        if self._conductor.live and len(self._conductor.live) >= self._places(self._devices.held):
            return None
        if assignment := self._conductor.next():
            return {**vars(assignment), "left_out": self._devices.left_out}
        if self._conductor.live:
            return None
        self._devices.over = True
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing: the conductor was told by the scheduler."""


def _kept(method: Callable) -> Callable:
    """Keep what the method raises: Tune makes a TuneError of it, with a traceback for a message."""

    @wraps(method)
    def keeping(self: Decisions, *told: Any) -> Any:
        try:
            return method(self, *told)
        except Exception as error:
            self.raised = error
            raise

    return keeping


class Decisions(_Unsaved, FIFOScheduler):
    """Tells the conductor each result and loss, and gives Tune its decision."""

    raised: Exception | None = None
    """What ended Tune's loop in here: a record that could not be written, say."""

    def __init__(self, conductor: Conductor, places: Places, devices: Devices, ending: Ending):
        super().__init__()
        self._conductor = conductor
        self._places, self._devices = places, devices
        self._ending = ending
        self._broken: dict[int, dict] = {}

    @_kept
    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict) -> str:
        """Take in one epoch, or the failure that a worker caught."""
        number = trial.config["trial"]
        report = json.loads(result[REPORT])
        if "held" in report or "broken" in report:
            return self._of_device(trial, report, result["hostname"])
        self._ending.poll(at_once="stopped" in report)
        if "unwritable" in report:
            self._ending.unwritable(report["unwritable"])
        if "refused" in report:
            self._conductor.refuse(report["refused"])
        if self._conductor.refusal:
            return TrialScheduler.STOP
        if "stopped" in report or "unwritable" in report:
            self._conductor.stopped(number)
            return TrialScheduler.STOP
        if "memory" in report:
            self._conductor.out_of_memory(number, report["memory"])
            return TrialScheduler.STOP
        if failure := report.get("failure"):
            self._conductor.failed(number, failure["error"], failure["status"])
            return TrialScheduler.STOP
        node = result.get("hostname", "")
        self._devices.well((node, report.get("gpu", "")))
        over = self._conductor.result(number, report["epoch"], report["metrics"], node)
        return TrialScheduler.STOP if over else TrialScheduler.CONTINUE

    def _of_device(self, trial: TuneTrial, report: dict, node: str) -> str:
        if "held" in report:
            return self._hold(trial, (node, report["held"]))
        self._broken[trial.config["trial"]] = report
        return TrialScheduler.CONTINUE  # to where the worker gives its process up

    def _hold(self, trial: TuneTrial, place: Place) -> str:
        """Let the worker hold a device that is left out, its trial go on elsewhere."""
        if self._devices.hold(trial.trial_id):
            self._conductor.stopped(trial.config["trial"], again=True)
            if self._places(self._devices.held) < 1:
                reason = self._conductor.state.left_out.get(place, "")
                self._ending.unwritable(
                    f"every GPU is left out, the last {named(place)}: {reason}. Mend it"
                )
        if self._devices.over or self._conductor.stopping or place not in self._devices.left_out:
            self._devices.let_go(trial.trial_id)
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        """The pending trial with the lowest number; the stock one looks through all ended ones."""
        pending = (t for t in tune_controller.get_live_trials() if t.status == TuneTrial.PENDING)
        return min(pending, key=lambda t: t.config["trial"], default=None)

    @_kept
    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """A worker died under a trial, or gave it back because its machine is about to go."""
        if self._devices.let_go(trial.trial_id):
            return
        number = trial.config["trial"]
        if report := self._broken.pop(number, None):
            self._device_failed(number, report["broken"], report["gpu"])
            return
        kind, message = _noted(trial)
        content = {"type": kind, "message": message}
        if TrialStopped.__name__ in kind:
            self._conductor.stopped(number, again=True)
        elif _SHORT_OF_MEMORY in message:  # Ray ended the worker to save the machine
            self._conductor.out_of_memory(number, content)
        else:
            self._conductor.lost(number, content)

    def _device_failed(self, number: int, error: dict[str, str], gpu: str) -> None:
        """Judge the device, and let the trial try again."""
        first = error["message"].strip().splitlines()[0]
        if hopeless := self._devices.failed((error["node"], gpu), number, first):
            self._ending.unwritable(f"{hopeless}. Mend it")
        self._conductor.lost(number, error)
