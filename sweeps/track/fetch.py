"""A logged checkpoint back from MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sweeps.track.store import SQLITE
from sweeps.track.tracker import import_mlflow


def checkpoint(run: str, role: str, uri: str) -> bytes:
    """The `best` or `last` checkpoint among a run's artifacts. Raises what MLflow raises."""
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        raise FileNotFoundError("there is no such store")  # MLflow would make one
    import_mlflow()
    from mlflow.tracking import MlflowClient

    with tempfile.TemporaryDirectory() as aside:
        found = MlflowClient(uri).download_artifacts(run, f"checkpoints/{role}.pt", aside)
        return Path(found).read_bytes()
