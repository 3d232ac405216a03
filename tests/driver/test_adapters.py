"""Tune's side of the conductor, without Ray's processes: why a worker ended, and stops."""

from __future__ import annotations

import errno
import json
import os
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError
from ray.tune.experiment import Trial

from sweeps.driver.adapters import REPORT, Decisions
from sweeps.driver.conductor import Conductor
from sweeps.driver.devices import Devices
from sweeps.driver.ending import Ending
from sweeps.driver.folder import opened
from sweeps.errors import TrialStopped
from sweeps.spec import SweepSpec
from sweeps.trial import stop


def test_where_no_stop_can_be_written_the_driver_ends_all_the_same(tmp_path, monkeypatch) -> None:
    def read_only(folder) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(stop, "request", read_only)
    with opened(SweepSpec(name="s"), tmp_path / "s") as journal:
        ending = Ending(Conductor(journal), tmp_path / "s")
        ending.unwritable("a worker could not write")
    assert ending.failure == ending.reason == "a worker could not write"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RayTaskError("train", "", TrialStopped("SIGTERM")).as_instanceof_cause(), "stopped"),
        (ActorDiedError(), "lost"),
        (OutOfMemoryError("Task was killed due to the node running low on memory."), "memory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_a_worker_ended_is_read_where_tune_has_written_it(tmp_path, error, outcome) -> None:

    told = []
    conductor = SimpleNamespace(
        stopped=lambda number, again: told.append(("stopped", number)),
        lost=lambda number, content: told.append(("lost", content["type"])),
        out_of_memory=lambda number, content: told.append(("memory", content["message"])),
    )
    devices = SimpleNamespace(let_go=lambda trial: False)
    trial = Trial("x", stub=True, config={"trial": 7})
    trial.storage = SimpleNamespace(trial_driver_staging_path=str(tmp_path))
    trial.handle_error(error)
    decisions = Decisions(conductor, None, devices, None)  # pyright: ignore
    decisions.on_trial_error(None, trial)
    wanted = {"stopped": 7, "lost": "ActorDiedError", "memory": str(error)}
    assert told == [(outcome, wanted[outcome])]


def test_a_stop_that_a_worker_sees_first_is_told_as_one(tmp_path) -> None:
    with opened(SweepSpec(name="s"), tmp_path / "s") as journal:
        conductor = Conductor(journal)
        ending = Ending(conductor, tmp_path / "s")
        ending.poll()  # just looked: the next look is a second away
        stop.request(tmp_path / "s")
        trial = SimpleNamespace(config=vars(conductor.next()))
        report = {REPORT: json.dumps({"stopped": "after update 3 of epoch 1"})}
        Decisions(conductor, lambda held: 1, Devices(conductor, lambda: 0), ending).on_trial_result(
            None, trial, report
        )
        assert (conductor.stopping, ending.reason) == ("stopped", "on request")
        assert conductor.next() is None
