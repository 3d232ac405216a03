"""The web pages of a cluster, MLflow's and Ray's, on our own loopback for as long as one looks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

from sweeps.cluster.file import ClusterFile
from sweeps.cluster.jobs import PORT
from sweeps.cluster.ssh import head
from sweeps.errors import ClusterError
from sweeps.track.ui import experiment_page


def look(cluster: ClusterFile, sweep: str, port: int | None, say: Callable[[str], None]) -> None:
    """Open the tunnels, print where they end, and close them at Ctrl-C or SIGTERM.

    Raises:
        ClusterError: the head cannot be reached or has no MLflow server; our `port` is taken.
    """
    machine = head(cluster)
    there = urlsplit(machine.run('echo "$MLFLOW_TRACKING_URI"').stdout.strip())
    if there.hostname not in ("127.0.0.1", "localhost") or not there.port:
        raise ClusterError(
            f"{cluster.head} names no MLflow server on its loopback (found "
            f"{there.geturl()!r}). Set MLFLOW_TRACKING_URI as in cluster-onprem.yaml"
        )
    with ExitStack() as tunnels:
        mlflow = f"http://127.0.0.1:{tunnels.enter_context(machine.tunnel(there.port, port or 0))}"
        try:
            page = experiment_page(mlflow, sweep)
        except OSError as error:
            raise ClusterError(
                f"{cluster.head}: MLflow does not answer ({error}). On the head: "
                "python -m sweeps.track.server"
            ) from None
        dashboard = tunnels.enter_context(machine.tunnel(PORT))
        say(f"MLflow         {page}")
        say(f"Ray dashboard  http://127.0.0.1:{dashboard} (it asks for the token)")
        say("Ctrl-C closes both")
        _until_told()


def _until_told() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
