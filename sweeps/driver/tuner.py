"""One sweep through Ray Tune, from an opened journal to its last record."""

from __future__ import annotations

import math
import os
import shutil
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeps.checks.training import larger_than
from sweeps.driver import cluster, nodes, packing
from sweeps.driver.folder import opened
from sweeps.errors import (
    UNWRITABLE,
    JournalError,
    PreflightError,
    SweepError,
    SweepStopped,
    how_to_mend,
)
from sweeps.journal import Journal
from sweeps.spec import START_FILE, SweepSpec
from sweeps.state import Observer
from sweeps.storage import origin, truth, write_whole
from sweeps.track import launcher
from sweeps.track.store import store_uri
from sweeps.values import values_of

AtEnd = Callable[[Path], Callable[[], Any]]
DELIVERY_S = 60.0
"""Seconds that MLflow has to take the rest."""
LOST_S = 5.0
"""The same when the place of the sweep takes no more files, or is lost."""


def execute(
    spec: SweepSpec,
    folder: Path,
    *,
    address: str | None = None,
    observe: Observer = lambda record, state: None,
    at_end: AtEnd = lambda folder: lambda: None,
    start: bytes | None = None,
) -> bool:
    """Run or go on with the sweep of `spec` in `folder` until every trial has ended.

    A sweep that has ended already starts no Ray; its report and MLflow are brought up to date.

    Args:
        spec: checked (see `sweeps.checks`).
        folder: the sweep's own folder, made if need be.
        address: a Ray cluster; None starts Ray on this machine.
        observe: called with each journal record and the state after it.
        at_end: called with the folder after the last trial. It starts what is still to be made
            there; what it returns waits for that, and is called before MLflow takes artifacts.
        start: the checkpoint that `spec.training.start` names; a sweep that goes on has it already.

    Returns:
        Whether MLflow has received everything.

    Raises:
        SweepError: bad surroundings; nothing was started.
        SweepStopped: somebody asked for it; `execute` goes on from there.
        KeyboardInterrupt: as it came; the journal says "interrupted" and `execute` goes on from it.
    """
    with opened(spec, folder) as journal:
        if start:
            write_whole(truth(folder) / START_FILE, start)
        tracker, patience = launcher.start(folder, store_uri(spec, folder)), DELIVERY_S
        try:
            if journal.state.finished:
                at_end(folder)()
            else:
                _drive(journal, folder, address, observe, at_end)
        except (JournalError, PreflightError):  # what cannot be written cannot be delivered
            patience = LOST_S
            raise
        finally:
            delivered = tracker.finish(patience)
    return delivered


def _drive(
    journal: Journal,
    folder: Path,
    address: str | None,
    observe: Observer,
    at_end: AtEnd,
) -> None:
    """Start side by side what takes long to start, then let Tune run to the end."""
    state = journal.state
    assert state.spec is not None
    log = folder / "logs" / "driver.log"
    with ThreadPoolExecutor(2) as pool, cluster.quiet(log), cluster.terminated_as_interrupted():
        data = pool.submit(_load, state.spec)
        modules = pool.submit(_import)
        with cluster.connected(address):
            places = cluster.places(state.spec.resources, address)
            if not origin(folder):
                nodes.check_shared(folder)
            conductor = modules.result().Conductor(journal, observe)
            images = _loaded(data, conductor)
            shared: dict[str, float] = {}
            if state.spec.resources.gpus_per_trial == "auto":
                conductor.spec = packing.packed(conductor.spec, images, str(Path.cwd()))
                places = cluster.places(conductor.spec.resources, address)
                shared = {"gpus_per_trial": conductor.spec.resources.gpus}
            counted = cluster.Places(conductor.spec.resources, places, address)
            try:
                conductor.session("started", **shared)
                ending = _fit(conductor, images, folder, counted)
            except BaseException:
                conductor.session("interrupted")
                raise
            _conclude(conductor, ending, folder)
            wait = at_end(folder)
    wait()


def _conclude(conductor: Any, ending: Any, folder: Path) -> None:
    """Write how the session ended; raise unless it was the sweep's own end or its budget's."""
    if conductor.refusal:
        conductor.session("refused", conductor.refusal)
        raise PreflightError(conductor.refusal)
    if conductor.complete:
        conductor.session("finished")
        return
    state = conductor.stopping or "budget"
    conductor.session(state, ending.reason or "budget.max_epochs is used up")
    if ending.failure:
        raise PreflightError(f"{ending.failure}, then resume {folder.name}")
    if state == "interrupted":
        raise KeyboardInterrupt
    if state == "stopped":
        raise SweepStopped(f"{folder.name} was stopped {ending.reason}")


def _import() -> ModuleType:
    """Import what takes seconds while Ray starts: Tune and Optuna."""
    from sweeps.driver import conductor, trainable  # noqa: F401

    return conductor


def _load(spec: SweepSpec) -> Any:
    """The images, read while Ray starts."""
    from sweeps.trial.datasets import check_test_images, load, training_images

    try:
        data = load(spec.data)
    except SweepError:
        raise
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        reason = f"{type(error).__name__}: {error}"
        raise PreflightError(f"data.name: {spec.data.name} raised {reason}\n{trace}") from error
    if spec.confirm:
        check_test_images(spec.data, data)
    images = training_images(spec.data, data)
    largest = max(values_of(spec, "training.batch_size"))
    if images < largest:
        raise PreflightError(str(larger_than(images, largest)))
    return data


def _loaded(data: Future, conductor: Any) -> Any:
    """What `_load` gives; where it cannot, the journal says why the sweep does not begin."""
    try:
        return data.result()
    except SweepError as error:
        conductor.session("refused", str(error).partition("\n")[0])
        raise


def _fit(conductor: Any, data: Any, folder: Path, places: cluster.Places) -> Any:
    """Let Tune run until nothing is left to hand out; gives the reason if it was before the end."""
    from ray import tune
    from ray.tune.error import TuneError

    from sweeps.driver.adapters import Assignments, Decisions
    from sweeps.driver.devices import Devices
    from sweeps.driver.ending import Ending
    from sweeps.driver.trainable import TrialActor

    resources = conductor.spec.resources
    scratch = folder / ".tune"
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(cluster.MOST)
    actor = tune.with_parameters(
        TrialActor,
        spec=conductor.spec.model_dump(mode="json"),
        data=data,
        path=str(Path.cwd()),
    )
    ending, devices = Ending(conductor, folder), Devices(conductor, cluster.gpus)
    decisions = Decisions(conductor, places, devices, ending)

    def place(gpus: float) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"CPU": resources.cpus_per_trial, "GPU": gpus}])

    usual, whole = place(resources.gpus), place(math.ceil(resources.gpus))

    try:
        tuner = tune.Tuner(
            tune.with_resources(actor, lambda config: whole if config["alone"] else usual),
            param_space={"folder": str(truth(folder))},
            tune_config=tune.TuneConfig(
                search_alg=Assignments(conductor, places, devices, ending.poll),
                scheduler=decisions,
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(scratch),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        with ending:
            try:
                tuner.fit()
            except TuneError as error:
                raise decisions.raised or error from None
        return ending
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        remedy = how_to_mend(error)
        raise PreflightError(f"{folder} cannot be written: {error}. {remedy}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
