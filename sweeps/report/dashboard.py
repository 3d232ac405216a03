"""optuna-dashboard over a sweep's study, on loopback and nowhere else."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from sweeps.errors import PreflightError
from sweeps.report.results import Sweep
from sweeps.report.study import write_study
from sweeps.track.ui import HOST, choose_port


def serve(sweep: Sweep, port: int | None = None, announce: Callable[[str], None] = print) -> None:
    """Show the study, as the journal has it now, until Ctrl-C.

    It is a copy: what is changed in the dashboard does not reach the sweep.

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
    from optuna_dashboard import run_server

    port = choose_port(port)
    storage = JournalStorage(JournalFileBackend(str(write_study(sweep))))
    announce(f"http://{HOST}:{port}/dashboard/studies/0")
    run_server(storage, host=HOST, port=port)
