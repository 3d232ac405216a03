"""The machines of a cluster: whether all see a sweep's folder as the driver does, and how many more
would be started if there were work for them."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from pathlib import Path
from typing import Any

import yaml

from sweeps.errors import PreflightError

_PROBE = ".probe"
_BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
_PATIENCE_S = 120.0
"""For the first worker process of a machine to start."""


def check_shared(folder: Path) -> None:
    """See that every machine reads what the driver writes in `folder`, and the other way round.

    Raises:
        PreflightError: one does not, or does not answer; the message names each.
    """
    import ray

    machines = [node for node in ray.nodes() if node["Alive"]]
    if len(machines) < 2:
        return
    probe, word = folder / _PROBE, uuid.uuid4().hex
    probe.mkdir(exist_ok=True)
    try:
        (probe / "driver").write_text(word)
        _judge(folder, word, _asked(machines, probe, word))
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def promised() -> dict[str, float]:
    """CPUs and GPUs of a cluster with all the machines that its autoscaler may start.

    Nothing where we are not on the head of a cluster that `ray up` started, or where its file does
    not say what a machine has (a lab's own).
    """
    import ray

    here = ray.get_runtime_context().gcs_address.startswith("127.")
    if here or not _BOOTSTRAP.expanduser().is_file():
        return {}
    return most(yaml.safe_load(_BOOTSTRAP.expanduser().read_text()))


def most(config: dict[str, Any]) -> dict[str, float]:
    """The same from the file that `ray up` leaves on the head."""
    total: dict[str, float] = {}
    for name, kind in config.get("available_node_types", {}).items():
        head = name == config.get("head_node_type")
        count = min(kind.get("max_workers", 0), config.get("max_workers", 0)) + head
        for resource in ("CPU", "GPU"):
            amount = float(kind.get("resources", {}).get(resource, 0))
            total[resource] = total.get(resource, 0.0) + count * amount
    return total


def _asked(machines: list[dict[str, Any]], probe: Path, word: str) -> dict[str, str]:
    """What each machine found wrong, by its name; empty where all is well."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_look)
    answers = {}
    for machine in machines:
        there = NodeAffinitySchedulingStrategy(machine["NodeID"], soft=False)
        name = f"{machine['NodeManagerHostname']} ({machine['NodeManagerAddress']})"
        answers[name] = task.options(scheduling_strategy=there).remote(str(probe), word, name)
    ray.wait(list(answers.values()), num_returns=len(answers), timeout=_PATIENCE_S)
    return {name: _answer(answer) for name, answer in answers.items()}


def _answer(answer: Any) -> str:
    import ray

    try:
        return ray.get(answer, timeout=0)
    except Exception as error:  # a machine that died, or that cannot import this module
        return f"did not answer ({type(error).__name__})"


def _look(probe: str, word: str, name: str) -> str:
    """On each machine: read the driver's file and leave one for it."""
    try:
        if Path(probe, "driver").read_text() != word:
            return "sees an older file than the driver wrote"
        Path(probe, name).write_text(word)
    except FileNotFoundError:
        return "does not see what the driver wrote"
    except OSError as error:
        return f"cannot use it: {error.strerror}"
    return ""


def _judge(folder: Path, word: str, found: dict[str, str]) -> None:
    os.listdir(folder / _PROBE)  # noqa: PTH208 - has a network file system look anew
    for name, wrong in found.items():
        there = folder / _PROBE / name
        if not wrong and not (there.is_file() and there.read_text() == word):
            found[name] = "wrote a file that the driver does not see"
    wrong = "; ".join(f"{name} {text}" for name, text in found.items() if text)
    if wrong:
        raise PreflightError(
            f"storage {folder.parent} is not shared by all machines: seen from the driver on "
            f"{socket.gethostname()}, {wrong}. Name a folder that every machine mounts at the same "
            "path (NFS, say), with --storage or `storage:`"
        )
