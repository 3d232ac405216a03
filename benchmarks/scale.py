"""Claim: a sweep's driver takes as long over its last trials as over its first, 10,000 or not.

    python benchmarks/scale.py [--trials 10000] [--sampler random | tpe] [--out FILE]

A simulated sweep, that is a training loop of the user's own that computes a formula, in the real
tuner, searcher, ASHA and tracker: at most two epochs and a checkpoint for each. Then `sweeps sync`,
since trials this short leave MLflow behind; then `sweeps resume` on the folder as a kill -9 just
before the driver's last record leaves it: the journal is opened, study and rungs are rebuilt, and
no trial is left to run.

Prints, for each tenth of the trials: seconds a trial, the driver's CPU time a trial, the runs that
MLflow had closed, and the memory (RSS) of driver, tracker and largest worker at its end; the growth
from the first tenth to the last; what `sync` and `resume` took. Exit status 1 when the driver's
time a trial more than doubles (random search alone), `resume` takes longer than 60 s, or MLflow
does not hold every run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SWEEPS = str(Path(sys.executable).with_name("sweeps"))
NAME = "scale"
EPOCHS = 2
GROWTH, RESUME_S = 2.0, 60.0
TICK = os.sysconf("SC_CLK_TCK")


def data() -> tuple:
    """Sixty images of 4 x 4 pixels, which nothing looks at."""
    import numpy as np

    images, labels = np.zeros((60, 4, 4), np.uint8), np.arange(60) % 2
    return images[:40], labels[:40], images[40:], labels[40:]


def loop(trial: Any, data: Any, *, device: str = "cpu", resume: Any = None) -> Iterator[Any]:
    """A training loop that computes a formula: best at learning rate 0.1 without noise."""
    from sweeps.trial.loop import EpochResult

    lr, strength = trial.training.optimizer.lr, trial.model.noise.strength
    best = math.exp(-(math.log10(lr / 0.1) ** 2) - strength**2)
    for epoch in range((resume["epoch"] if resume else 0) + 1, trial.training.epochs + 1):
        metrics = {"val_accuracy": best * epoch / (epoch + 1), "val_loss": 1 / (epoch + best)}
        yield EpochResult(epoch, metrics, lambda epoch=epoch: {"epoch": epoch})


def spec(trials: int, sampler: str) -> dict:
    """The sweep, as its YAML file holds it."""
    return {
        "name": NAME,
        "data": {"name": "scale:data"},
        "model": {"options": {"depth": 1, "width": 4}, "noise": {}},
        "training": {"epochs": EPOCHS, "batch_size": 8, "loop": "scale:loop"},
        "space": {
            "model.noise.strength": {"uniform": [0, 1]},
            "training.optimizer.lr": {"loguniform": [0.001, 1]},
        },
        "search": {"sampler": sampler, "trials": trials},
        "stopping": {"name": "asha", "grace": 1, "reduction": 2},
    }


def sweeps(*arguments: str) -> subprocess.Popen:
    """Start the command line; `scale:loop` is found in its working directory."""
    command = [SWEEPS, *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(command, cwd=HERE, env=environment, stdout=subprocess.DEVNULL)


class Counter:
    """Ended trials in a growing journal."""

    def __init__(self, path: Path):
        self.path, self.offset, self.ended = path, 0, 0

    def look(self) -> int:
        """Read on; gives how many there are."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self.offset)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self.offset, self.ended = self.offset + len(whole), self.ended + whole.count(b'"end"')
        return self.ended


def processes(driver: int) -> dict[str, list[int]]:
    """The driver, its tracker and its workers, by pid."""
    parents, commands = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            commands[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")")[-1].split()[1])
        except (OSError, ValueError):
            continue
    mine = {driver}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    found: dict[str, list[int]] = {"driver": [driver], "tracker": [], "workers": []}
    for pid in sorted(mine - {driver}):
        if b"sweeps.track" in commands[pid]:
            found["tracker"].append(pid)
        elif commands[pid].startswith(b"ray::"):
            found["workers"].append(pid)
    return found


def megabytes(pid: int) -> float:
    """Resident memory; 0 for one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(s.split()[1]) / 1024 for s in status.splitlines() if "VmRSS" in s), 0.0)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, in its own code and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def delivered(database: Path) -> int:
    """Trials whose run MLflow has closed; the tracker writes on meanwhile."""
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5) as db:
            return db.execute("select count(*) from runs where status != 'RUNNING'").fetchone()[0]
    except sqlite3.Error:
        return 0


def watch(driver: subprocess.Popen, storage: Path, trials: int) -> list[dict]:
    """A sample at the first ended trial, at each tenth, and when the driver has ended."""
    counter, samples = Counter(storage / NAME / "journal.jsonl"), []
    due = [1, *(round(trials * tenth / 10) for tenth in range(1, 11))]
    while driver.poll() is None:
        time.sleep(0.2)
        if counter.look() >= due[len(samples)]:
            found = processes(driver.pid)
            memory = {k: max(map(megabytes, pids), default=0.0) for k, pids in found.items()}
            samples.append(
                {
                    "trials": counter.ended,
                    "time": time.time(),
                    "cpu": cpu_seconds(driver.pid),
                    "delivered": delivered(storage / "mlflow.db"),
                    **memory,
                }
            )
            print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
            if len(samples) == len(due):
                break
    driver.wait()
    if driver.returncode or len(samples) < len(due):
        raise SystemExit(f"the sweep failed, status {driver.returncode}")
    return [*samples, {"time": time.time(), "delivered": delivered(storage / "mlflow.db")}]


def timed(*arguments: str) -> float:
    """Seconds of a whole command."""
    start = time.perf_counter()
    if status := sweeps(*arguments).wait():
        raise SystemExit(f"sweeps {arguments[0]} failed, status {status}")
    return time.perf_counter() - start


def lose_the_last_record(folder: Path) -> int:
    """Leave the journal as a kill -9 just before its end would; gives the number of records."""
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert json.loads(lines[-1])["state"] == "finished"
    journal.write_bytes(b"".join(lines[:-1]))
    return len(lines) - 1


def table(samples: list[dict]) -> tuple[str, float]:
    """A line for each tenth, and how much the driver's time a trial grew."""
    head = f"{'trials':>8}{'s/trial':>10}{'driver ms':>11}{'in MLflow':>11}"
    lines = [head + "".join(f"{name + ' MB':>12}" for name in ("driver", "tracker", "worker"))]
    wall, cpu = [], []
    for before, after in itertools.pairwise(samples):
        count = after["trials"] - before["trials"]
        wall.append((after["time"] - before["time"]) / count)
        cpu.append(1000 * (after["cpu"] - before["cpu"]) / count)
        memory = "".join(f"{after[name]:>12.0f}" for name in ("driver", "tracker", "workers"))
        line = f"{after['trials']:>8}{wall[-1]:>10.3f}{cpu[-1]:>11.1f}{after['delivered']:>11}"
        lines.append(line + memory)
    growth = cpu[-1] / cpu[0]
    lines.append(
        f"last tenth / first tenth: {growth:.2f}x the driver's time a trial (goal {GROWTH:g}x), "
        f"{wall[-1] / wall[0]:.2f}x by the clock"
    )
    return "\n".join(lines), growth


def measure(trials: int, sampler: str, storage: Path) -> tuple[str, bool]:
    """Run, resume, and say whether the claims hold."""
    file = storage / "spec.json"  # JSON is YAML
    file.write_text(json.dumps(spec(trials, sampler)))
    begun = time.time()
    *samples, end = watch(sweeps("run", str(file), "--storage", str(storage)), storage, trials)
    text, growth = table(samples)
    place = ("--storage", str(storage))
    sync, late = timed("sync", NAME, *place), delivered(storage / "mlflow.db")
    records = lose_the_last_record(storage / NAME)
    resume = timed("resume", NAME, *place)
    wait = end["time"] - samples[-1]["time"]
    grew = sampler == "random" and growth > GROWTH
    lines = [
        text,
        f"whole command {end['time'] - begun:.0f} s, {wait:.0f} s of it after the last trial; "
        f"runs closed in MLflow by then: {end['delivered']}",
        f"sync: {sync:.0f} s, then {late}",
        f"resume of its folder ({records} records): {resume:.1f} s (goal {RESUME_S:.0f} s)",
    ]
    return "\n".join(lines), not grew and resume <= RESUME_S and late == trials + 1


def main() -> None:
    """Measure and print; with --out also keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--sampler", choices=["random", "tpe"], default="random")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    storage = Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        text, holds = measure(options.trials, options.sampler, storage)
    finally:
        shutil.rmtree(storage)
    hardware = f"{os.cpu_count()} cores ({platform.machine()}), no GPU used"
    what = f"{options.trials} trials, {options.sampler} search"
    text = f"{datetime.now(UTC):%Y-%m-%d}, {hardware}, n = 1, {what}\n{text}"
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
