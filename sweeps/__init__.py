"""Sweeps over ghost noise: search, stop early, record, resume.

    sweeps.run("my.yaml")      run a sweep, or go on with it; gives a `Sweep`
    sweeps.resume("digits")    go on with a sweep from its own folder
    sweeps.load("digits")      a `Sweep`: best trial, frames of results, best model

The command line (`sweeps --help`) is a thin skin over these.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.report.results import Sweep
    from sweeps.spec import SweepSpec

__all__ = ["load", "resume", "run"]

STORAGE = "sweep-data"


def run(
    spec: SweepSpec | dict[str, Any] | str | Path,
    *,
    storage: str | None = None,
    address: str | None = None,
    observe: Callable[..., Any] = lambda record, state: None,
) -> Sweep:
    """Run a sweep to its end; one that its folder holds already goes on where it stopped.

    Args:
        spec: a checked or plain spec, or the path of its YAML file.
        storage: overrides the spec's `storage`, the folder of all sweeps.
        address: a Ray cluster; by default Ray is started on this machine.
        observe: called with each journal record and the state after it.

    Raises:
        SweepError: the spec or the surroundings are bad; nothing was started.
    """
    from sweeps.driver.folder import folder_of
    from sweeps.reading import checked_spec

    checked = checked_spec(spec)
    if storage:
        checked = checked.model_copy(update={"storage": storage})
    folder = folder_of(checked.name, checked.storage)
    return _execute(checked, folder, address, observe)


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


def load(name: str, *, storage: str = STORAGE) -> Sweep:
    """The sweep `name` as its folder holds it, running or not.

    Raises:
        SweepNotFound: there is no such sweep in `storage`.
    """
    from sweeps.driver.folder import folder_of
    from sweeps.report.results import Sweep

    return Sweep(folder_of(name, storage))


def _execute(spec: SweepSpec, folder: Path, address: str | None, observe: Any) -> Sweep:
    from sweeps.driver.tuner import execute
    from sweeps.report.results import Sweep

    if not execute(spec, folder, address=address, observe=observe, at_end=_report):
        again = shlex.join(["sweeps", "sync", folder.name, "--storage", str(folder.parent)])
        print(f"warning: MLflow has not received everything. Later: {again}", file=sys.stderr)
    return Sweep(folder)


def _report(folder: Path) -> Callable[[], Any]:
    """Write the report in a process of its own, while Ray shuts down; gives what waits for it."""
    command = [sys.executable, "-m", "sweeps.report", str(folder)]
    log = folder / "logs" / "report.log"
    with log.open("a") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)

    def wait() -> None:
        if process.wait():
            print(f"warning: the report could not be written; see {log}", file=sys.stderr)

    return wait
