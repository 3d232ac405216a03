"""A few steps of a sweep's smallest and largest configurations, where the sweep would run.

As many copies at once as trials would run at a time on that machine, since they slow each other
down, each in a process of its own.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sweeps.driver.cluster import ENVIRONMENT, connected, places
from sweeps.errors import PreflightError, SweepError
from sweeps.forecast import Forecast, Size, forecast
from sweeps.spec import Scalar, SweepSpec, trial_count

SECONDS = 5.0
"""Trained of each configuration."""


def try_out(spec: SweepSpec, seconds: float = SECONDS) -> Forecast:
    """Train both extremes of the space for some seconds each on this machine, and reckon.

    Raises:
        PreflightError: no trial fits here, or one of the two does not run.
    """
    smallest, largest, at_once = _extremes(spec, seconds)
    return forecast(spec, smallest, largest, at_once)


def try_out_on(spec: SweepSpec, address: str | None, seconds: float = SECONDS) -> Forecast:
    """The same on a machine of the Ray cluster at `address`, the first with room for a trial.

    Trials that ask for GPUs are tried on as many whole ones as the task is given, one as a rule.
    The figures of the whole sweep are for all places of the cluster. With an autoscaler this starts
    a machine, if need be.

    Raises:
        PreflightError: no such cluster; no trial fits there, or one of the two does not run.
    """
    import ray

    need = spec.resources
    with connected(address):
        places(need, address)
        task = ray.remote(_there).options(
            num_cpus=need.cpus_per_trial, num_gpus=math.ceil(need.gpus), max_retries=0
        )
        found = ray.get(task.remote(spec.model_dump(mode="json"), str(Path.cwd()), seconds))
        at_once = min(places(need, address), trial_count(spec))
    if isinstance(found, str):
        raise PreflightError(found)
    return forecast(spec, *found, at_once)


def _there(content: dict[str, Any], path: str, seconds: float) -> tuple[Size, Size] | str:
    """In a worker of the cluster; gives why it cannot be, as a message, since Ray adds to errors.

    `path` holds the user's modules where the machines share it; else Ray has brought them here.
    """
    if Path(path).is_dir():
        os.chdir(path)
    try:
        smallest, largest, _ = _extremes(SweepSpec.model_validate(content), seconds)
    except SweepError as error:
        return str(error)
    return smallest, largest


def _extremes(spec: SweepSpec, seconds: float) -> tuple[Size, Size, int]:
    """Both as tried on this machine, and how many copies ran at a time."""
    import torch

    from sweeps.trial.datasets import load
    from sweeps.trial.extremes import extremes
    from sweeps.trial.rehearse import rehearse

    gpus = torch.cuda.device_count() if spec.resources.gpus else 0
    at_once = places_here(spec, gpus)
    data = load(spec.data)
    rehearse(spec, data)
    small, large = extremes(spec, data)
    del data
    smallest = _tried(spec, small, at_once, gpus, seconds)
    largest = smallest if small == large else _tried(spec, large, at_once, gpus, seconds)
    return smallest, largest, at_once


def places_here(spec: SweepSpec, gpus: int) -> int:
    """Trials at a time on this machine with `gpus` GPUs.

    Raises:
        PreflightError: not even one fits.
    """
    need, cpus = spec.resources, len(os.sched_getaffinity(0))
    fits = [int(cpus / need.cpus_per_trial + 1e-9)]
    if need.gpus:
        fits.append(int(gpus / need.gpus + 1e-9))
    if not min(fits):
        asks = f"{need.cpus_per_trial:g} CPUs and {need.gpus:g} GPUs"
        raise PreflightError(f"resources: a trial asks for {asks} (found {cpus} and {gpus} here)")
    return min([*fits, trial_count(spec), *([need.concurrency] if need.concurrency else [])])


def _tried(
    spec: SweepSpec, params: dict[str, Scalar], places: int, gpus: int, seconds: float
) -> Size:
    """As many copies of one configuration as there are places, each in a process of its own."""
    trial = spec.trial(params, seed=0).model_dump(mode="json")
    asked = {"trial": trial, "device": "cuda" if gpus else "cpu", "seconds": seconds}
    with ThreadPoolExecutor(places) as pool:
        copies = list(pool.map(lambda place: _probe(json.dumps(asked), place, gpus), range(places)))
    for copy in copies:
        if copy.returncode:
            where = ", ".join(f"{path} = {value}" for path, value in params.items()) or "the spec"
            last = (copy.stderr.strip().splitlines() or [f"exit status {copy.returncode}"])[-1]
            raise PreflightError(f"a trial does not run here: {last} (at {where})")
    found = [json.loads(copy.stdout) for copy in copies]
    return Size(params, **{key: max(probe[key] for probe in found) for key in found[0]})


def _probe(asked: str, place: int, gpus: int) -> subprocess.CompletedProcess[str]:
    """One copy, on the GPU of its turn, with the environment that the sweep's workers have."""
    environment = {**os.environ, **ENVIRONMENT}
    if gpus:
        shown = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        environment["CUDA_VISIBLE_DEVICES"] = shown.split(",")[place % gpus]
    command = [sys.executable, "-m", "sweeps.trial.probe"]
    return subprocess.run(
        command, input=asked, env=environment, capture_output=True, text=True, check=False
    )
