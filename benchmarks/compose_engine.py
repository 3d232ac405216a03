"""What benchmarks/compose.py asks of the engine: commands, containers, nodes, events, HTTP."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMPOSE = ("docker", "compose", "--progress", "quiet", "--file", "docker/compose.yaml")
SERVICE = "com.docker.compose.service"
PATIENCE_S = 600.0
NODES = """
import ray
ray.init("auto", logging_level="error", log_to_driver=False)
print(sum(node["Alive"] for node in ray.nodes()))
"""


class Report:
    """The lines, each printed at once; `good` while all is as promised."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.good = True

    def see(self, label: str, found: object, right: bool = True) -> None:
        """Print what was found; `right`: it is as promised."""
        self.lines.append(f"{label:<18}{found}{'' if right else '   NOT as promised'}")
        print(self.lines[-1], flush=True)
        self.good &= right


def done(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def run(*command: str) -> str:
    """What a command prints.

    Raises:
        ChildProcessError: it failed; with all it said.
    """
    result = done(*command)
    if result.returncode:
        raise ChildProcessError(f"{' '.join(command)}: {result.stdout}{result.stderr}")
    return result.stdout.strip()


def compose(*arguments: str) -> str:
    return run(*COMPOSE, *arguments)


def inside(service: str, *command: str) -> str:
    return compose("exec", "-T", service, *command)


def took(act: Callable[[], object]) -> str:
    start = time.monotonic()
    act()
    return f"{time.monotonic() - start:.0f} s"


def wait(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE_S:g} s")
        time.sleep(1)


def containers() -> list[dict[str, Any]]:
    """`docker inspect` of all of them, by service."""
    ids = run("docker", "ps", "--all", "--quiet").split()
    return sorted(json.loads(run("docker", "inspect", *ids)), key=service_of) if ids else []


def service_of(container: dict[str, Any]) -> str:
    return container["Config"]["Labels"][SERVICE]


def health() -> list[str]:
    return [f"{service_of(c)} {c['State']['Health']['Status']}" for c in containers()]


def nodes() -> int:
    """Nodes of the Ray cluster that live; 0 while its head does not answer."""
    found = done(*COMPOSE, "exec", "-T", "head", "timeout", "60", "python", "-c", NODES)
    return 0 if found.returncode else int(found.stdout.split()[-1])


def status(url: str, *options: str) -> int:
    """The HTTP status; 0 where nobody answers."""
    curl = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "30")
    return int(done(*curl, *options, url).stdout or 0)


@contextmanager
def events(file: Path) -> Iterator[None]:
    """Keep in the file, in their order, each container's start and change of health."""
    name = f'{{{{index .Actor.Attributes "{SERVICE}"}}}} {{{{.Action}}}}'
    kinds = ("--filter", "event=start", "--filter", "event=health_status")
    with file.open("w") as out:
        process = subprocess.Popen(["docker", "events", *kinds, "--format", name], stdout=out)
        try:
            yield
        finally:
            process.terminate()
            process.wait()
