"""The servers of benchmarks/chaos.py: MLflow's, which is killed, and an object store."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A real MLflow server on loopback with a sqlite store."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder, self.database = folder, folder / "mlflow.db"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.due = 0.0
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it; it answers some seconds later."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.database}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, pause: float) -> None:
        """Kill it with its children; `tend` starts it again after the pause."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process, self.due = None, time.monotonic() + pause

    def tend(self) -> None:
        """Start it again when it is time."""
        if self.process is None and time.monotonic() >= self.due:
            self.start()


class Store:
    """A local S3 server that lives as long as the benchmark, and caches that may be lost.

    Making it sets this process's environment, and so that of all that it starts.
    """

    def __init__(self, folder: Path):
        from sweeps.storage.client import client

        folder.mkdir(parents=True)
        client.cache_clear()  # one made for the store of another arm
        self.caches, self.port = folder / "cache", free_port()
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "chaos",
            "AWS_SECRET_ACCESS_KEY": "chaos",
            "AWS_DEFAULT_REGION": "us-east-1",
            "XDG_CACHE_HOME": str(self.caches),
        }
        with (folder / "log").open("wb") as log:
            command = [sys.executable, "-m", "moto.server", "--port", str(self.port)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def address(self, bucket: str) -> str:
        """A new bucket, as `--storage` takes it."""
        from sweeps.storage.client import call

        call(bucket, lambda s3: s3.create_bucket(Bucket=bucket))
        return f"s3://{bucket}/sweeps"

    def another_machine(self) -> None:
        """Lose all working copies, as a driver on another machine would find it."""
        shutil.rmtree(self.caches, ignore_errors=True)

    def stop(self) -> None:
        """End the server, and with it all that it held."""
        self.process.terminate()
        self.process.wait()
