"""A sweep's folder: found, locked, its journal opened for one driver.

STORAGE/NAME/journal.jsonl     the journal, written by the driver
STORAGE/NAME/driver.lock       held by the driver while it lives
STORAGE/NAME/trials/00007/     checkpoints of trial 7, written by its worker
STORAGE/NAME/start.pt          the checkpoint that trials start from, of `sweeps run --from`
STORAGE/NAME/stop              asks the driver and its workers to stop (sweeps/trial/stop.py)
STORAGE/NAME/report/           tables and figures, made anew by each report
STORAGE/NAME/logs/             what the tracker said

In an object store journal, checkpoints, `stop` and the report are objects; the other files are in
the driver's working copy (sweeps/storage/addresses.py).
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from sweeps.driver import lending
from sweeps.errors import PreflightError, SweepBusy, SweepExists, SweepNotFound
from sweeps.journal import FILE, LOCK, Journal, read
from sweeps.spec import START_FILE, SweepSpec
from sweeps.state import State
from sweeps.storage import ObjectPath, Place, origin, truth, working_folder
from sweeps.storage.lease import Lease
from sweeps.storage.segments import Segments
from sweeps.trial import stop

_LOOKS = 5


def folder_of(name: str, storage: str) -> Path:
    """Absolute path of the sweep `name`, or of the working copy if it is in an object store.

    Raises:
        SpecError: `storage` is neither a path nor of an object store that we know.
    """
    return working_folder(storage) / name


@contextmanager
def opened(spec: SweepSpec, folder: Path) -> Iterator[Journal]:
    """The journal of `spec`'s sweep in `folder`, created if new, locked for this process.

    Raises:
        PreflightError: the folder cannot be written.
        SpecError: an earlier sweep of `search.from` has nothing to lend.
        SweepBusy: another driver holds it.
        SweepExists: the folder belongs to a sweep with another spec.
        StorageError: the store refuses or does not answer.
    """
    place = origin(folder)
    check_lenders(spec, folder)
    try:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        remedy = "Choose another with --storage or `storage:`"
        raise PreflightError(
            f"storage {folder} cannot be written: {error.strerror}. {remedy}"
        ) from None
    with lock:
        _take(lock, folder)
        with Lease(place, folder) if place else nullcontext():
            if _holds_nothing(folder, spec):
                _begin_anew(truth(folder))
            stop.withdraw(truth(folder))
            (truth(folder) / "trials").mkdir(exist_ok=True)
            with Journal(folder, Segments(place) if place else None) as journal:
                found = lending.wanted(spec, journal.state, folder.parent)
                _claim(journal, spec, folder)
                for record in found:
                    journal.write("lent", **record)
                yield journal


def check_lenders(spec: SweepSpec, folder: Path) -> None:
    """Refuse earlier sweeps of `search.from` that lend nothing, before anything is made.

    A sweep in `folder` that has begun has what they lent, and asks no more.

    Raises:
        SpecError: one that is not there, with another objective, or without a trial that fits.
    """
    if spec.search.from_ and _holds_nothing(folder, spec):
        lending.wanted(spec, State(), folder.parent)


def _begin_anew(place: Place) -> None:
    (place / START_FILE).unlink(missing_ok=True)
    if isinstance(place, ObjectPath):
        (place / "journal").remove_all()
        (place / "trials").remove_all()
    else:
        (place / FILE).unlink(missing_ok=True)
        shutil.rmtree(place / "trials", ignore_errors=True)


def _take(lock: IO[str], folder: Path) -> None:
    """Lock for this process; somebody who only looks holds it for a moment."""
    for left in reversed(range(_LOOKS)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if not left:
                text = f"{folder.name} is being run by another driver ({truth(folder)})"
                raise SweepBusy(text) from None
            time.sleep(0.1)


def _holds_nothing(folder: Path, spec: SweepSpec) -> bool:
    """Whether the folder holds no more than a start that was refused, or of another spec."""
    try:
        state = read(folder)
    except SweepNotFound:
        return True
    refused = bool(state.sessions) and state.sessions[-1]["state"] == "refused"
    other = not state.trials and spec.identity() != state.identity
    return not state.epochs and (refused or other)


def _claim(journal: Journal, spec: SweepSpec, folder: Path) -> None:
    """Write the first record of a new sweep, or see that the old one is of this spec."""
    state = journal.state
    if state.spec is None:
        journal.write(
            "sweep",
            spec=spec.model_dump(mode="json"),
            identity=spec.identity(),
            versions=versions(),
        )
    elif spec.identity() not in (state.identity, state.spec.identity()):  # begun with, extended to
        changes = "; ".join(_differences(state.spec.model_dump(), spec.model_dump()))
        raise SweepExists(
            f"the name {spec.name} is taken by a sweep with another spec ({changes}). "
            f"Give this one another `name:`, or remove {truth(folder)}"
        )


def _differences(old: dict, new: dict, prefix: str = "") -> Iterator[str]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after or prefix + key in ("storage", "tracking", "description"):
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {before} there, {after} here"


def versions() -> dict[str, str]:
    """Versions of what decides results, for the journal."""
    packages = ("torch", "torchvision", "ray", "optuna", "mlflow", "numpy", "ghost-noise-sweeps")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found, **_commit()}


def _commit() -> dict[str, str]:
    """The commit of this code where it runs from a checkout, marked when it was changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    place = Path(__file__).parents[2]
    try:
        found = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": found.stdout.strip()} if (place / ".git").exists() else {}
