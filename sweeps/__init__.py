"""Sweeps over ghost noise: search, stop early, record, resume.

    sweeps.run("my.yaml")      run a sweep, or go on with it; gives a `Sweep`
    sweeps.reproduce("c100_gni")    run a published experiment by name
    sweeps.resume("digits")    go on with a sweep from its own folder
    sweeps.load("digits")      a `Sweep`: best trial, frames of results, best model
    sweeps.extend("digits", trials=16)    more of a sweep, then go on
    sweeps.retry("digits")     failed trials once more
    sweeps.stop("digits")      ask a running sweep to stop at a checkpoint

The command line (`sweeps --help`) is a thin skin over these.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.report.results import Sweep
    from sweeps.spec import SweepSpec

__all__ = ["extend", "load", "reproduce", "resume", "retry", "run", "stop"]

STORAGE = "sweep-data"


def run(
    spec: SweepSpec | dict[str, Any] | str | Path,
    *,
    storage: str | None = None,
    address: str | None = None,
    start_from: str | Path | None = None,
    observe: Callable[..., Any] = lambda record, state: None,
) -> Sweep:
    """Run a sweep to its end; one that its folder holds already goes on where it stopped.

    Args:
        spec: a checked or plain spec, or the path of its YAML file.
        storage: overrides the spec's `storage`: the folder of all sweeps, or `s3://bucket/prefix`.
        address: a Ray cluster; by default Ray is started on this machine.
        start_from: a checkpoint whose weights every trial starts from: its path, or an MLflow run
            (its id, for the best checkpoint; `ID/last`). It is part of the sweep's identity.
        observe: called with each journal record and the state after it.

    Raises:
        SweepError: the spec or the surroundings are bad; nothing was started.
    """
    from sweeps.driver.folder import folder_of
    from sweeps.reading import checked_spec

    checked = checked_spec(spec)
    if storage:
        checked = checked.model_copy(update={"storage": storage})
    checked = _tracked(checked)
    folder, start = folder_of(checked.name, checked.storage), None
    if start_from is not None:
        from sweeps.driver.starting import started_from

        checked, start = started_from(str(start_from), checked, folder)
    return _execute(checked, folder, address, observe, start)


def reproduce(
    name: str,
    *,
    smoke: bool = False,
    data: str | None = None,
    storage: str | None = None,
    address: str | None = None,
    observe: Callable[..., Any] = lambda record, state: None,
) -> Sweep:
    """Run a published experiment by name (`sweeps.experiments.experiments()` has them all).

    Args:
        name: such as `c100_gni`.
        smoke: a minute on a CPU instead: a few points, updates and images. Random images stand in
            for a data set that is not there, and the sweep's name then ends in "synthetic".
        data: the folder that holds the data, in place of the spec's `data.root`.
        storage: as in `run`.
        address: as in `run`.
        observe: as in `run`.

    Raises:
        SweepError: as `run`; no such experiment; its data set is not there.
    """
    from sweeps.experiments import spec_of

    spec = spec_of(name, smoke=smoke, data=data)
    return run(spec, storage=storage, address=address, observe=observe)


def resume(
    name: str,
    *,
    storage: str = STORAGE,
    address: str | None = None,
    observe: Callable[..., Any] = lambda record, state: None,
) -> Sweep:
    """Go on with the sweep `name` from its journal and checkpoints; a finished one is only loaded.

    Raises:
        SweepNotFound: there is no such sweep in `storage`.
    """
    from sweeps.driver.folder import folder_of
    from sweeps.journal import read

    folder = folder_of(name, storage)
    spec = read(folder).spec
    assert spec is not None
    return _execute(spec, folder, address, observe)


def extend(
    name: str,
    *,
    trials: int = 0,
    epochs: int | None = None,
    restart_schedule: bool = False,
    storage: str = STORAGE,
    address: str | None = None,
    observe: Callable[..., Any] = lambda record, state: None,
    say: Callable[[str], Any] = lambda line: None,
    **budget: float | None,
) -> Sweep:
    """Add to the sweep `name`, then go on with it; what it has stays.

    Args:
        name: the sweep.
        trials: so many more; a grid goes on with the next seeds.
        epochs: the new last epoch of all trials that were not stopped early; refused for a cosine
            schedule, unless
        restart_schedule: each of them goes on as a trial of its own, from its last checkpoint, with
            a cosine over the added epochs (one without a cosine, as its schedule was).
        budget: new values of the fields of `budget`, such as `max_hours`.
        storage, address, observe: as for `run`.
        say: called with each line of what changed (`search.trials: 12 -> 20`), before it goes on.

    Raises:
        SpecError: a change that cannot be; nothing was changed.
        SweepNotFound, SweepBusy: no such sweep; it is being run.
    """
    from sweeps.driver import changes
    from sweeps.driver.folder import folder_of

    more: dict[str, Any] = {"trials": trials, "epochs": epochs, **budget}
    for line in changes.extend(folder_of(name, storage), restart_schedule=restart_schedule, **more):
        say(line)
    return resume(name, storage=storage, address=address, observe=observe)


def retry(
    name: str,
    *,
    failed: bool = True,
    gpus: bool = False,
    storage: str = STORAGE,
    address: str | None = None,
    observe: Callable[..., Any] = lambda record, state: None,
) -> Sweep:
    """Run the failed trials of the sweep `name` once more, from their last checkpoints.

    Args:
        name: the sweep.
        failed: False leaves them as they are.
        gpus: take back the GPUs that were left out because trials failed on them.
        storage, address, observe: as for `run`.

    Raises:
        SweepNotFound, SweepBusy: no such sweep; it is being run.
    """
    from sweeps.driver import changes
    from sweeps.driver.folder import folder_of

    changes.retry(folder_of(name, storage), failed=failed, gpus=gpus)
    return resume(name, storage=storage, address=address, observe=observe)


def stop(name: str, *, storage: str = STORAGE, patience: float = 60.0) -> bool:
    """Ask the driver of the sweep `name` to stop; True when one was running and has stopped.

    Every running trial writes a checkpoint at its next update, and `resume` goes on from there.

    Raises:
        SweepNotFound: there is no such sweep in `storage`.
        SweepBusy: it has not stopped after `patience` seconds; the request stands.
    """
    from sweeps.driver import changes
    from sweeps.driver.folder import folder_of

    return changes.stop(folder_of(name, storage), patience)


def load(name: str, *, storage: str = STORAGE) -> Sweep:
    """The sweep `name` as its folder holds it, running or not.

    Raises:
        SweepNotFound: there is no such sweep in `storage`.
    """
    from sweeps.driver.folder import folder_of
    from sweeps.report.results import Sweep

    return Sweep(folder_of(name, storage))


def _tracked(spec: SweepSpec) -> SweepSpec:
    """The spec with MLflow's usual variable as its server, unless it names one itself."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if spec.tracking.uri or not uri:
        return spec
    return spec.model_copy(update={"tracking": spec.tracking.model_copy(update={"uri": uri})})


def _execute(
    spec: SweepSpec, folder: Path, address: str | None, observe: Any, start: bytes | None = None
) -> Sweep:
    from sweeps.driver.tuner import execute
    from sweeps.report.launcher import Reporter
    from sweeps.report.results import Sweep
    from sweeps.storage import truth

    with Reporter(folder) as reporter:
        ends: dict[str, Any] = {"observe": reporter.beside(observe), "at_end": reporter.write}
        arrived = execute(spec, folder, address=address, start=start, **ends)
    if not arrived:
        place = str(truth(folder).parent)
        again = shlex.join(["sweeps", "sync", folder.name, "--storage", place])
        print(f"warning: MLflow has not received everything. Later: {again}", file=sys.stderr)
    return Sweep(folder)
