"""Claim: `sweeps run` on digits.yaml takes a fraction of what plain Ray Tune takes.

    python benchmarks/sweep.py [--repeats 3] [--peers optuna] [--out benchmarks/results/sweep.txt]

Whole commands, interleaved, each in a fresh folder, wall time from start to exit. Prints per arm
the median and range of seconds, epochs, seconds per epoch, best accuracy and where the time went,
then the ratios. Arms: ours; Ray Tune and Optuna alone with our training (`ours`) and with training
written by hand (`own`). The number of epochs differs between arms, since ASHA decides with what has
arrived: look at both columns. `--peers` leaves out the other scheduler's arms; `--out` appends.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
CONFIG = HERE.parent / "sweeps" / "configs" / "digits.yaml"
PEERS = [("ray", "ours"), ("optuna", "ours"), ("ray", "own"), ("optuna", "own")]
GOALS = {"ray ours": 0.25, "optuna ours": 1.3, "ray own": 0.2, "optuna own": 0.7}


def run(command: list[str]) -> tuple[float, str]:
    """Wall seconds and standard output of one whole command."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return seconds, done.stdout


def run_ours(folder: Path) -> dict:
    """`sweeps run`, and from its journal what it did."""
    from sweeps.journal import FILE, read, tail

    begun = time.time()
    sweeps = Path(sys.executable).with_name("sweeps")
    seconds, _ = run([str(sweeps), "run", str(CONFIG), "--storage", str(folder)])
    state = read(folder / "digits")
    records, _ = tail(folder / "digits" / FILE)
    first = {
        kind: next(r["time"] for r in records if r["kind"] == kind)
        for kind in ("sweep", "attempt", "result")
    }
    phases = {
        "journal": first["sweep"] - begun,
        "first attempt": first["attempt"] - begun,
        "first epoch": first["result"] - begun,
        "last trial": records[-1]["time"] - begun,
    }
    best = state.best()
    return {
        "seconds": seconds,
        "epochs": sum(t.epoch for t in state.trials.values()),
        "best": best.end["value"] if best and best.end else None,
        "phases": {name: round(value, 2) for name, value in phases.items()},
    }


def run_peer(kind: str, training: str, folder: Path) -> dict:
    """One peer; its last line of output says what it did."""
    script = str(HERE / "sweep_peers.py")
    seconds, out = run([sys.executable, script, kind, training, str(folder)])
    return {**json.loads(out.strip().splitlines()[-1]), "seconds": seconds}


def measure(repeats: int, peers: list[str]) -> dict[str, list[dict]]:
    """All arms of these peers and ours in turn, `repeats` times over."""
    found: dict[str, list[dict]] = {}
    for index in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            found.setdefault("sweeps run", []).append(run_ours(Path(folder)))
        for kind, training in PEERS:
            if kind not in peers:
                continue
            with tempfile.TemporaryDirectory() as folder:
                done = run_peer(kind, training, Path(folder))
            found.setdefault(f"{kind} {training}", []).append(done)
            print(f"{kind} {training}: {done['seconds']:.1f} s", file=sys.stderr)
        print(f"round {index + 1} of {repeats} done", file=sys.stderr)
    return found


def table(found: dict[str, list[dict]]) -> str:
    """The arms, then the ratios against their goals."""
    lines = [f"{'arm':<14}{'seconds (min-max)':<22}{'epochs':<8}{'s/epoch':<9}{'best':<8}phases"]
    for arm, runs in found.items():
        seconds = [r["seconds"] for r in runs]
        middle = statistics.median(seconds)
        epochs = statistics.median(r["epochs"] for r in runs)
        spread = f"{middle:.1f} ({min(seconds):.1f}-{max(seconds):.1f})"
        phases = "  ".join(f"{k} {v}" for k, v in runs[-1]["phases"].items())
        best = statistics.median(r["best"] for r in runs)
        lines.append(
            f"{arm:<14}{spread:<22}{epochs:<8g}{middle / epochs:<9.3f}{best:<8.4f}{phases}"
        )
    for arm, goal in GOALS.items():
        if arm not in found:
            continue
        ratios = [
            a["seconds"] / b["seconds"]
            for a, b in zip(found["sweeps run"], found[arm], strict=True)
        ]
        middle = statistics.median(ratios)
        verdict = "reached" if middle <= goal else "NOT reached"
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        lines.append(f"sweeps run / {arm:<12} {middle:.2f}x ({spread})  goal {goal}x: {verdict}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print; with --out also keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=["ray", "optuna"], default=["ray", "optuna"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    hardware = f"{os.cpu_count()} cores ({platform.machine()}), no GPU used"
    head = f"{datetime.now(UTC):%Y-%m-%d}, {hardware}, n = {options.repeats}, interleaved"
    text = f"{head}\n{table(measure(options.repeats, options.peers))}"
    print(text)
    if options.out:
        with options.out.open("a") as out:
            print(text, file=out)


if __name__ == "__main__":
    main()
