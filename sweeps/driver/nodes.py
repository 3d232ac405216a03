"""The machines of a cluster: whether all see a sweep's folder as the driver does."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from pathlib import Path
from typing import Any

from sweeps.errors import PreflightError

_PROBE = ".probe"
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
