"""The MLflow UI over a sweep's store, on loopback and nowhere else. Imports no MLflow itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from sweeps import journal
from sweeps.errors import PreflightError
from sweeps.spec import SweepSpec
from sweeps.track.store import QUIET, artifact_location, prepare, store_uri

HOST = "127.0.0.1"
_USUAL_PORT = 5000


class Server:
    """A running UI. `address` answers, `page` is the sweep's experiment there; `stop` ends it."""

    def __init__(self, process: subprocess.Popen[bytes], address: str):
        self.process = process
        self.address = address
        self.page = address

    def stop(self) -> None:
        """End the server and its workers, waiting up to 5 seconds for them to do so themselves."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(5)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


def serve(folder: Path, port: int | None = None, announce: Callable[[str], None] = print) -> str:
    """Show the UI of the sweep in `folder` until Ctrl-C or SIGTERM; returns the page's address.

    The address is announced once it answers. A sweep kept on a tracking server has its UI there:
    that address is announced, and nothing is started.

    Raises:
        SweepNotFound: there is no journal in `folder`.
        PreflightError: the port asked for is taken, or the server does not come up.
    """
    uri = store_uri(_spec(folder), folder)
    if uri.startswith(("http://", "https://")):
        announce(uri)
        return uri
    server = start(folder, port)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        announce(server.page)
        server.process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
    return server.page


def start(folder: Path, port: int | None = None, timeout: float = 90.0) -> Server:
    """Start the UI on `port` (default: 5000, or any free one) and wait until it answers.

    Raises:
        SweepNotFound: there is no journal in `folder`.
        PreflightError: the port is taken, or nothing answers within `timeout` seconds.
    """
    spec = _spec(folder)
    uri = store_uri(spec, folder)
    prepare(uri)
    port = choose_port(port)
    log = folder / "logs" / "ui.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "--backend-store-uri": uri,
        "--default-artifact-root": artifact_location(spec, folder) or "",
        "--host": HOST,
        "--port": str(port),
        "--workers": "1",
    }
    arguments = [word for pair in options.items() for word in pair]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--no-serve-artifacts", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    server = Server(process, f"http://{HOST}:{port}")
    try:
        wait_until_it_answers(server, timeout, log)
        server.page = experiment_page(server.address, spec.name)
    except BaseException:
        server.stop()
        raise
    return server


def _spec(folder: Path) -> SweepSpec:
    spec = journal.read(folder).spec
    assert spec is not None, "a journal begins with its spec"
    return spec


def experiment_page(address: str, name: str) -> str:
    """The experiment's page in the UI; the UI's front page when there is no experiment yet."""
    query = urllib.parse.urlencode({"experiment_name": name})
    call = f"{address}/api/2.0/mlflow/experiments/get-by-name?{query}"
    try:
        with urllib.request.urlopen(call, timeout=10) as answer:
            number = json.load(answer)["experiment"]["experiment_id"]
    except urllib.error.HTTPError:
        return address
    return f"{address}/#/experiments/{number}/runs?workflowType=machine_learning"


def choose_port(port: int | None) -> int:
    """The port asked for, else the usual one, else any that is free.

    Raises:
        PreflightError: the port asked for is taken.
    """
    if port is not None and not is_free(port):
        raise PreflightError(f"port {port} is taken. Choose another, or none for any free one")
    if port is None and is_free(_USUAL_PORT):
        return _USUAL_PORT
    if port is None:
        with socket.socket() as any_free:
            any_free.bind((HOST, 0))
            return any_free.getsockname()[1]
    return port


def is_free(port: int) -> bool:
    """Whether nothing listens at that port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def wait_until_it_answers(server: Server, timeout: float, log: Path) -> None:
    """Wait until the server is healthy.

    Raises:
        PreflightError: it has ended, or does not answer within `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise PreflightError(f"the MLflow UI ended at once; see {log}")
        try:
            with urllib.request.urlopen(f"{server.address}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise PreflightError(f"the MLflow UI does not answer after {timeout:.0f} s; see {log}")
