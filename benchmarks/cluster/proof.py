"""Claim: a lab's own machines work as cluster-onprem.yaml says, and whatever dies, nothing is lost.

    make test-cluster        (root; twelve minutes or so on 2 cores)
    python benchmarks/cluster/proof.py [--out benchmarks/results/cluster.txt]

On three test hosts and a laptop (hosts.py): `ray up` of the shipped file with addresses, user and
paths filled in; a sweep on all of them; every listening port of every host tried by a stranger; a
storage that is not shared; a worker host killed mid-sweep; the head killed and started again;
`sweeps down` and what it leaves. Exit status 1 at the first thing that is not as it should be.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hosts import missing
from lab import Lab
from losses import Losses
from verbs import Verbs


class Proof(Losses, Verbs):
    """All the steps."""


STEPS = (
    "doctor",
    "up",
    "first_sweep",
    "not_shared",
    "verbs",
    "on_the_head",
    "worker_dies",
    "head_dies",
    "pace",
    "down",
)


def main() -> None:
    """Run the steps; write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path)
    parser.add_argument("steps", nargs="*", default=STEPS, help="of " + ", ".join(STEPS))
    asked = parser.parse_args()
    out = asked.out
    if os.geteuid() or missing():
        need = ", ".join(missing()) or "root"
        print(f"NOT TESTED: the cluster's proof needs {need} (Debian: openssh-server rsync)")
        return
    start = time.monotonic()
    with Lab() as lab:
        proof = Proof(lab)
        proof.say(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({_cpu()}), n = 1; three")
        proof.say("test hosts of namespaces on the one machine, which all share its cores")
        for step in asked.steps:
            getattr(proof, step)()
        proof.say(f"all of it: {(time.monotonic() - start) / 60:.1f} minutes")
    if out:
        out.write_text("\n".join(proof.lines) + "\n")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
