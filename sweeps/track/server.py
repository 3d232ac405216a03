"""One MLflow server for all sweeps of a cluster, on its head's loopback.

    SWEEPS_STORAGE=/shared/sweeps MLFLOW_TRACKING_URI=http://127.0.0.1:5000 \\
        python -m sweeps.track.server

returns when the server answers, and the server ends by itself when Ray's head does. It alone opens
the sqlite store, STORAGE/mlflow.db; artifacts pass through it to STORAGE/mlflow-artifacts. Imports
no MLflow itself.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from sweeps.errors import PreflightError, SweepError
from sweeps.track.store import QUIET, prepare
from sweeps.track.ui import Server, is_free, wait_until_it_answers

RAY_PORT = 6379
_UP = "MLflow answers"
_LOOK_S = 2.0
_MISSED = 3
"""Looks at Ray's port in a row without an answer after which its head is gone."""


def start(storage: Path, uri: str) -> Server:
    """Start the server at `uri` and wait until it answers.

    Raises:
        PreflightError: `uri` is not on loopback, its port is taken, or nothing answers in time.
    """
    place = urlsplit(uri)
    if place.hostname not in ("127.0.0.1", "localhost") or not place.port:
        raise PreflightError(f"the MLflow server listens on loopback alone (found {uri!r})")
    if not is_free(place.port):
        raise PreflightError(f"port {place.port}, for MLflow, is taken. Change MLFLOW_TRACKING_URI")
    store = f"sqlite:///{storage / 'mlflow.db'}"
    prepare(store)
    options = {
        "--backend-store-uri": store,
        "--artifacts-destination": str(storage / "mlflow-artifacts"),
        "--host": "127.0.0.1",
        "--port": str(place.port),
        "--workers": "1",
    }
    log = storage / "mlflow.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *(w for o in options.items() for w in o)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    server = Server(process, uri)
    try:
        wait_until_it_answers(server, 90.0, log)
    except BaseException:
        server.stop()
        raise
    return server


def _keep(server: Server) -> None:
    """Wait until the server dies or Ray's head is gone; then end the server."""
    missed = 0
    while missed < _MISSED and server.process.poll() is None:
        time.sleep(_LOOK_S)
        try:
            socket.create_connection(("127.0.0.1", RAY_PORT), timeout=_LOOK_S).close()
            missed = 0
        except OSError:
            missed += 1
    server.stop()


def _serve() -> str:
    """In a process of its own: start the server, say so on standard output, and keep it."""
    storage, uri = Path(os.environ["SWEEPS_STORAGE"]), os.environ["MLFLOW_TRACKING_URI"]
    storage.mkdir(parents=True, exist_ok=True)
    with (storage / "mlflow.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return f"{_UP}: {uri} has outlived a restart of Ray"
        server = start(storage, uri)
        print(f"{_UP} at {uri}", flush=True)
        _keep(server)
    return ""


def main() -> None:
    """Start the process that keeps the server, pass on what it says, and return."""
    if sys.argv[1:] == ["--keep"]:
        try:
            print(_serve())
        except KeyError as error:
            print(f"error: the environment names no {error.args[0]}; see cluster-onprem.yaml")
        except (SweepError, OSError) as error:
            print(f"error: {error}")
        return
    keeper = subprocess.Popen(
        [sys.executable, "-m", "sweeps.track.server", "--keep"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert keeper.stdout
    said = keeper.stdout.readline().strip()
    print(said)
    sys.exit(0 if said.startswith(_UP) else 2)


if __name__ == "__main__":
    main()
