"""optuna-dashboard over a sweep's study, on loopback and nowhere else."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sweeps.errors import PreflightError
from sweeps.report.results import Sweep
from sweeps.track.ui import HOST, choose_port


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def serve(sweep: Sweep, port: int | None = None, announce: Callable[[str], None] = print) -> None:
    """Show the study, as the journal has it now, until Ctrl-C.

    The address is announced once it is listened at. The study is a copy: what is changed in the
    dashboard does not reach the sweep.

    Raises:
        PreflightError: optuna-dashboard is not installed, or the port asked for is taken.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise PreflightError(
            "optuna-dashboard is not installed. Get it with: pip install optuna-dashboard "
            "(or install ghost-noise-sweeps[dashboard])"
        )
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna_dashboard import wsgi

    from sweeps.report.study import write_study

    storage = JournalStorage(JournalFileBackend(str(write_study(sweep))))
    with make_server(HOST, choose_port(port), wsgi(storage), _Server, _Quiet) as server:
        announce(f"http://{HOST}:{server.server_port}/dashboard/studies/0")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
