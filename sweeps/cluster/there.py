"""A verb run where the sweeps are: on the head of a cluster, with the same words as here."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from sweeps.cluster import jobs
from sweeps.cluster.file import ClusterFile
from sweeps.cluster.ssh import head

Say = Callable[[str], None]


def run(cluster: ClusterFile, verb: str, arguments: list[str]) -> int:
    """Run a verb that only looks or asks, over ssh, printing as it does; gives its exit status.

    Raises:
        ClusterError: the head cannot be reached.
    """
    place = "" if "--storage" in arguments else ' ${SWEEPS_STORAGE:+--storage "$SWEEPS_STORAGE"}'
    return head(cluster).stream(f"sweeps {shlex.join([verb, *arguments])}{place}")


def resources(cluster: ClusterFile) -> str:
    """Which machines Ray has, and how much of their CPUs, GPUs and memory is taken: its own words.

    Raises:
        ClusterError: the head cannot be reached.
    """
    said = head(cluster).run("ray status 2>&1").stdout
    known = said.find("Node status")
    return f"\n{said[known:]}" if known >= 0 else "\nRay does not answer on the head\n"


def start(cluster: ClusterFile, verb: str, arguments: list[str], sweep: str, say: Say) -> int:
    """Start a verb that runs trials as a job, and follow it; gives its exit status.

    Raises:
        PreflightError, ClusterError: no token here; no cluster there.
        KeyboardInterrupt: as it came; the job goes on.
    """
    with jobs.server(cluster, None) as client:
        job = jobs.start(client, sweep, verb, arguments)
        say(f"{sweep}: job {job}. Ctrl-C detaches, and the sweep goes on\n")
        return jobs.follow(client, job, say)
