"""Shared by all tests: what is set for processes they start, one Ray, and PID namespaces."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("SWEEPS_STORE_PATIENCE", "5")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what we start would import seconds longer

# No deadline: a busy machine is no mistake. The same examples each time.
settings.register_profile("tests", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("tests")

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_ray(store_server) -> Iterator[None]:
    """One Ray for all tests of this process that need it; its workers find the S3 server."""
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


class Store:
    """A local S3 server on loopback; what it holds outlives `stop`."""

    def __init__(self) -> None:
        self.port, self._server = 0, None

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        self._server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What makes boto3 find it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@pytest.fixture(scope="session")
def store_server() -> Iterator[Store]:
    """One S3 server for all tests, and the environment in which this process uses it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = Store()
    server.start()
    os.environ.update(server.environment)
    yield server
    server.stop()


@pytest.fixture
def store(store_server, tmp_path, monkeypatch, request) -> str:
    """`s3://BUCKET/PREFIX` of a bucket of the test's own, with an empty cache."""
    from sweeps.storage.client import client

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bucket = f"bucket-{abs(hash(request.node.nodeid)) % 10**12}"
    client().create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/prefix"
