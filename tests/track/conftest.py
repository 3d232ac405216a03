from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweeps.track.store import prepare


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A migrated, empty sqlite store: migrations cost seconds, a copy nothing."""
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    prepare(f"sqlite:///{database}")
    return database


@pytest.fixture
def storage(tmp_path, empty_store) -> Path:
    """A storage folder whose store exists already."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path
