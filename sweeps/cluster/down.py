"""Taking a cluster down: `ray down` ends the head alone at once; a lab's workers are told by us."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sweeps.cluster.file import ClusterFile
from sweeps.cluster.ssh import Machine
from sweeps.errors import ClusterError, SweepError

_STOP = "ray stop --grace-period 20 >/dev/null 2>&1"


def down(cluster: ClusterFile, say: Callable[[str], None]) -> int:
    """Stop Ray on every machine that the file names, then `ray down`; gives the exit status.

    Machines that do not answer are named, and make the status 3.
    """
    with ThreadPoolExecutor(8) as pool:
        stopped = {a: pool.submit(_stop, a, cluster) for a in cluster.workers}
    ray = str(Path(sys.executable).with_name("ray"))
    done = subprocess.run(
        [ray, "down", "-y", str(cluster.path)], capture_output=True, text=True, check=False
    )
    found = {address: answer.result() for address, answer in stopped.items()}
    found[cluster.head] = done.stderr.strip()[-300:] if done.returncode else _mlflow(cluster)
    for address, wrong in found.items():
        say(f"{address}: {wrong or 'stopped'}")
    return ClusterError.exit_status if any(found.values()) else 0


def _stop(address: str, cluster: ClusterFile) -> str:
    try:
        Machine(address, cluster).run(_STOP)
    except SweepError as error:
        return f"NOT stopped: {error}"
    return ""


def _mlflow(cluster: ClusterFile) -> str:
    """A lab's head stays up, so MLflow there is given its time to end with Ray."""
    if not cluster.workers:
        return ""
    wait = "for i in $(seq 40); do pgrep -f track.serve[r] >/dev/null || exit 0; sleep .5; done"
    try:
        still = Machine(cluster.head, cluster).run(f"{wait}; exit 1").returncode
    except SweepError as error:
        return f"NOT stopped: {error}"
    return "MLflow's server is still there" if still else ""
