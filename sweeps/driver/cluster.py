"""Ray, started or joined, and what it has to give."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sweeps.driver.autoscaling import to_come
from sweeps.errors import PreflightError
from sweeps.spec import ResourcesSpec

LOOPBACK = "127.0.0.1"
MOST = 10_000
"""Trials at a time, however large the cluster."""
_PATIENCE_S = 10.0
_LOOK_S = 5.0
CHDIR = "RAY_CHDIR_TO_TRIAL_DIR"
ENVIRONMENT = {
    # tensors of 32 MiB and more are otherwise mapped and page-faulted anew at each use
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    # idle workers import these while Ray is still starting
    "RAY_preload_python_modules": "torch,ray.tune,sweeps.trial.session",
    "RAY_enable_worker_prestart": "1",  # at once, not when the driver has joined
    CHDIR: "0",
    "PL_DISABLE_FORK": "1",
    "RAY_worker_niceness": "0",  # at the default of 15, any other process starves training
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Send what Ray and Tune print in this process to the file `log`; our views keep the screen."""
    ray_logger = logging.getLogger("ray")
    before = ray_logger.handlers[:]
    with log.open("a", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        import ray  # noqa: F401 - its logger gets its handlers now

        ray_logger.handlers = [logging.StreamHandler(file)]
        try:
            yield
        finally:
            ray_logger.handlers = before


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end a preempted job as Ctrl-C would; the main thread alone can arrange it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A Ray of our own on this machine, or the cluster at `address`; shut down or left at the end.

    Without an address, that of the environment variable RAY_ADDRESS counts; `local` is none.

    A Ray that this process has joined already is used and left alone.

    Raises:
        PreflightError: no cluster answers at `address`, or Ray does not come up here.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    address = _joined(address)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    try:
        if address:
            _answers(address)
            ray.init(address=address, runtime_env={"env_vars": ENVIRONMENT}, **options)
        else:
            with _one_machine():
                # "local": else Ray joins, or waits minutes for, what `ray start` left here last
                ray.init("local", include_dashboard=False, _node_ip_address=LOOPBACK, **options)
            _use_the_workers_that_wait()
    except (ConnectionError, ValueError) as error:
        raise PreflightError(f"no Ray cluster answers at {address}: {error}") from None
    except Exception as error:
        if type(error) is not Exception:  # what Ray raises when its node does not come up in time
            raise
        rule = f"Ray did not start: {str(error).partition('. ')[0]}"
        remedy = "Nothing is lost; run it again when the machine is less busy"
        raise PreflightError(f"{rule}. {remedy}") from error
    try:
        with terminated_as_interrupted():  # again: Ray's own handler would abort the process
            yield
    finally:
        ray.shutdown()


def _joined(address: str | None) -> str | None:
    found = address or os.environ.get("RAY_ADDRESS")
    return None if found == "local" else found


def _answers(address: str) -> None:
    """Ray itself tries an address that nobody listens at for minutes, without a word.

    Raises:
        PreflightError: it is no HOST:PORT, or nothing listens there.
    """
    if address == "auto" or "://" in address:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise PreflightError(f"a Ray address is HOST:PORT or ray://HOST:PORT (found {address!r})")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise PreflightError(f"no Ray cluster answers at {address}: {error}") from None


@contextmanager
def _one_machine() -> Iterator[None]:
    """Start a Ray that listens on loopback alone, with neither autoscaler nor dashboard head.

    Ray would turn 127.0.0.1 into the machine's address and listen on all of them. The other two
    have nothing to do here, and cost 1 s of the start and 1 s of the end.
    """
    from ray._private import node, services

    with (
        patch.object(services, "resolve_ip_for_localhost", lambda host: host),
        patch.object(node.Node, "start_monitor", lambda self: None),
        patch.object(node.Node, "start_api_server", _no_dashboard),
    ):
        yield


def _no_dashboard(node: Any, **options: Any) -> None:
    node._webui_url = None


def _use_the_workers_that_wait() -> None:
    """Let Tune's actors run in the workers that Ray has started and that have imported torch.

    Tune gives each actor a runtime environment of its own, of variables that ours inherit already;
    Ray would end the waiting workers and start others, 6 s of imports each.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()
    os.environ.pop(CHDIR, None)


class Places:
    """Trials that fit the cluster at a time, looked at anew every few seconds: machines come and
    go."""

    def __init__(self, resources: ResourcesSpec, now: int, address: str | None):
        self._resources, self._address = resources, address
        self._now, self._held = now, 0
        self._next = time.monotonic() + _LOOK_S

    def __call__(self, held: int = 0) -> int:
        """So many; as many as before while not even one fits, since that may be a moment's.

        `held`: workers that only keep others off a device; `concurrency` does not count them.
        """
        if time.monotonic() >= self._next or held != self._held:
            self._next, self._held = time.monotonic() + _LOOK_S, held
            with suppress(PreflightError):
                self._now = places(self._resources, self._address)
                if held:
                    without = self._resources.model_copy(update={"concurrency": None})
                    self._now = min(self._now, places(without, self._address) - held)
        return self._now


def gpus() -> int:
    """GPUs that Ray has, of all machines."""
    import ray

    return int(ray.cluster_resources().get("GPU", 0))


def places(resources: ResourcesSpec, address: str | None = None) -> int:
    """Trials that fit the cluster at a time, with the machines that one at `address` may start.

    Raises:
        PreflightError: not even one fits.
    """
    import ray

    found = ray.cluster_resources()
    later = to_come(resources) if _joined(address) else 0
    most = [resources.concurrency] if resources.concurrency else []
    fits = []
    for kind, need in (("CPU", resources.cpus_per_trial), ("GPU", resources.gpus)):
        have = found.get(kind, 0.0)
        if need > have and not later:
            name = f"resources.{kind.lower()}s_per_trial"
            raise PreflightError(f"{name}: a trial asks for {need:g} {kind}s (found {have:g} here)")
        if need:
            fits.append(int(have / need + 1e-9))
    return min([MOST, max(min(fits), later), *most])
