"""Claim: a sweep's epoch metrics reach an MLflow server at 2,500 rows a second and more.

    python benchmarks/tracking.py [--trials 1000] [--epochs 27] [--out FILE]

Writes the journal of a made-up sweep, starts a real `mlflow server` (sqlite, loopback) and lets
`sweeps sync` deliver the whole of it, once; prints rows a second, then what a second `sync` of the
same folder takes and that it adds no row. No checkpoints: these are about metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

GOAL = 2500
WORKERS = 2
"""The server's processes: one a core; its default is 4."""
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")


def write_journal(folder: Path, uri: str, trials: int, epochs: int) -> None:
    """A sweep without early stopping whose every epoch reports `METRICS`."""
    from sweeps.spec import SweepSpec

    spec = SweepSpec.model_validate(
        {
            "name": folder.name,
            "training": {"epochs": epochs},
            "space": {"training.optimizer.lr": {"loguniform": [0.01, 1]}},
            "search": {"trials": trials},
            "tracking": {"uri": uri},
        }
    )
    tree = {"spec": spec.model_dump(mode="json"), "identity": spec.identity(), "versions": {}}
    records = [{"kind": "sweep", **tree}, {"kind": "session", "state": "started"}]
    for trial in range(trials):
        records.append(
            {"kind": "trial", "trial": trial, "seed": 0, "params": {"training.optimizer.lr": 0.1}}
        )
        records.append({"kind": "attempt", "trial": trial, "attempt": 1, "epoch": 0})
        for epoch in range(1, epochs + 1):
            metrics = dict.fromkeys(METRICS, trial + epoch / 100)
            place = {"trial": trial, "attempt": 1, "epoch": epoch, "rung": None, "node": "n"}
            decision = "finish" if epoch == epochs else "continue"
            records.append({"kind": "result", **place, "metrics": metrics, "decision": decision})
        end = {"trial": trial, "status": "finished", "epoch": epochs, "value": 0.5}
        records.append({"kind": "end", **end, "reason": "trained all", "error": None})
    records.append({"kind": "session", "state": "finished"})
    folder.mkdir()
    with (folder / "journal.jsonl").open("w") as file:
        for n, record in enumerate(records):
            file.write(json.dumps({"n": n, "time": 1.79e9 + n / 100, **record}) + "\n")


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A tracking server on loopback over sqlite; gives its address once it answers."""
    from sweeps.track.store import QUIET, prepare

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'store.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", str(WORKERS)]
    prepare(f"sqlite:///{folder / 'store.db'}")
    quiet = {**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=quiet, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                if time.monotonic() > until or process.poll() is not None:
                    raise
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def sync(folder: Path) -> float:
    """Seconds of one whole `sweeps sync`."""
    command = [str(Path(sys.executable).with_name("sweeps")), "sync", folder.name]
    start = time.perf_counter()
    subprocess.run([*command, "--storage", str(folder.parent)], check=True)
    return time.perf_counter() - start


def rows(store: Path) -> int:
    """Metric rows of epochs in the store."""
    with sqlite3.connect(store) as db:
        marks = ",".join("?" * len(METRICS))
        query = f"select count(*) from metrics where key in ({marks})"
        return db.execute(query, METRICS).fetchone()[0]


def main() -> None:
    """Measure and print; with --out also keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, mlflow_server(Path(name)) as address:
        folder = Path(name) / "tracked"
        write_journal(folder, address, options.trials, options.epochs)
        first = sync(folder)
        count = rows(Path(name) / "store.db")
        again = sync(folder)
        added = rows(Path(name) / "store.db") - count
    expected = options.trials * options.epochs * len(METRICS)
    verdict = "reached" if count / first >= GOAL and count == expected else "NOT reached"
    text = "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()}), n = 1",
            f"{options.trials} trials x {options.epochs} epochs x {len(METRICS)} metrics through "
            f"one mlflow server of {WORKERS} processes on loopback: "
            f"{count} rows of {expected} in {first:.1f} s",
            f"{count / first:.0f} rows a second, start of the command included; "
            f"goal {GOAL}: {verdict}",
            f"sync once more: {again:.1f} s, {added} rows added",
        ]
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
