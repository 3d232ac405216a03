"""Where a sweep's MLflow store is, and how an empty one comes to be. Importing this is cheap."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps.spec import SweepSpec

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Environment of every process in which we run MLflow: it reports to nobody."""

SQLITE = "sqlite:///"


def store_uri(spec: SweepSpec, folder: Path) -> str:
    """The tracking store of the sweep in `folder`: the spec's, else sqlite beside the folder."""
    return spec.tracking.uri or f"{SQLITE}{folder.resolve().parent / 'mlflow.db'}"


def artifact_location(spec: SweepSpec, folder: Path) -> str | None:
    """Where new experiments keep artifacts; None where a tracking server decides."""
    if (
        spec.tracking.uri
        and "://" in spec.tracking.uri
        and not spec.tracking.uri.startswith(SQLITE)
    ):
        return None
    return str(folder.resolve().parent / "mlflow-artifacts")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; waits for whoever holds it. Freed by any death."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare(uri: str) -> None:
    """Create the sqlite store behind `uri` when it does not exist; leaves other stores alone.

    MLflow's migrations are neither atomic nor safe to run twice at once, so they run in memory
    (`/dev/shm`, else the temporary folder) and the result is renamed into place under a lock.
    """
    if not uri.startswith(SQLITE):
        return
    database = Path(uri.removeprefix(SQLITE))
    if database.exists():
        return
    with locked(database.with_name(f".{database.name}.lock")):
        if not database.exists():
            _create(database)


def _create(database: Path) -> None:
    os.environ.update(QUIET)
    from mlflow.tracking import MlflowClient

    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mlflow-", dir=place) as aside:
        built = Path(aside) / database.name
        MlflowClient(f"{SQLITE}{built}").search_experiments(max_results=1)
        copy = database.with_name(f".{database.name}.new")
        with built.open("rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        copy.replace(database)
