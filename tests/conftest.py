"""Shared by all tests: what is set for processes they start, one Ray, and PID namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what we start would import seconds longer

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """One Ray for all tests of this process that need it."""
    from sweeps.driver.cluster import connected

    with connected(None):
        yield


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the sweeps of all tests: a new MLflow store costs seconds."""
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="session")
def browser() -> Iterator[WebDriver]:
    """A real browser without a window; `get_log("browser")` gives what its console said."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if not all(found):
        pytest.skip("NOT TESTED: pages need a browser: apt install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(found[0])
    for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1300,900"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(found[1])))
    yield driver
    driver.quit()


@pytest.fixture
def namespaced(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a shell script in a PID namespace of its own; what it leaves running ends with it."""
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("NOT TESTED: kills need root and unshare for a PID namespace")

    def start(script: str) -> subprocess.Popen[str]:
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "bash", "-uc"]
        proc = f"mount -t proc proc /proc; export PATH={BIN}:$PATH\n"
        return subprocess.Popen(
            [*command, proc + script],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start
