"""Claim: every published experiment smoke-runs in under a minute on a CPU.

    python benchmarks/smoke.py [--out benchmarks/results/smoke.txt] [NAME ...]

Each is a whole command, `sweeps reproduce NAME --smoke`, in a fresh folder, wall time from start to
exit. What a smoke run is, sweeps/experiments.py says: the published network, two points of the
space, an update or two, on the data set if it is in `data/`, else on random images.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sweeps.experiments import experiments

GOAL_S = 60.0


def smoke(name: str) -> tuple[float, str, str]:
    """Wall seconds of one whole command, on what data it ran, and how it ended."""
    command = [str(Path(sys.executable).with_name("sweeps")), "reproduce", name, "--smoke"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "--storage", folder],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    data = "synthetic" if "-synthetic" in done.stdout else "real"
    trials = next((line for line in done.stdout.splitlines() if line.startswith("trials")), "")
    ended = trials.removeprefix("trials").strip()
    return seconds, data, ended if not done.returncode else f"FAILED: {ended}"


def main() -> None:
    """Run and print; with --out also keep. Exits with 1 if one failed or took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    hardware = f"{os.cpu_count()} cores ({platform.machine()}), no GPU used"
    others = f"load average {os.getloadavg()[0]:.1f} at the start"
    lines = [f"{datetime.now(UTC):%Y-%m-%d}, {hardware}, n = 1, {others}"]
    print(lines[0])
    late: list[str] = []
    for name in options.names or experiments():
        seconds, data, ended = smoke(name)
        lines.append(f"{name:<34}{seconds:6.1f} s  {data:<11}{ended}")
        print(lines[-1], flush=True)
        late += [name] if seconds > GOAL_S or ended.startswith("FAILED") else []
    verdict = f"goal {GOAL_S:g} s each: " + (
        f"NOT reached by {', '.join(late)}" if late else "reached"
    )
    print(verdict)
    if options.out:
        options.out.write_text("\n".join([*lines, verdict]) + "\n")
    sys.exit(1 if late else 0)


if __name__ == "__main__":
    main()
