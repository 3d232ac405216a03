"""Claim: whatever is killed and whenever, a resumed sweep loses and doubles nothing.

    python benchmarks/chaos.py [--kills 30] [--seed 0] [--out benchmarks/results/chaos.txt]

A sweep of 24 trials (digits, a small MLP) under kill -9 of its driver, its workers and the MLflow
server that it tracks to, at random moments (also while a driver starts), with `sweeps resume` after
each driver's death, at once or when its Ray has gone; against the undisturbed sweep. With --store
the killed sweep is in an object store (moto's S3 server), and every second driver finds no working
copy, as on another machine: it waits until the dead one's lease has run out.

    a   two trials at a time, random search, no early stopping
    b   one trial at a time, TPE and ASHA

Prints for each arm: kills; trials whose metric stream (timings left out) and whose whole record
(proposal, decisions and end as well) are identical; epochs trained again, at most one for each
killed process and trial running on it; doubled journal records, runs and metric rows; runs left
RUNNING; orphans, that is Ray processes alive 30 s after their driver's death (Ray's dashboard and
environment agents are counted apart: they try for 60 s to tell a dead server that their node died,
`publish_error_to_driver` in ray/_private/utils.py); seconds. Exit status 1 when something does not
hold. Runs in a PID namespace of its own, so it needs root.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TURN = ("driver", "worker", "driver", "worker", "server")


def loop(
    trial: Any, data: Any, *, device: str = "cpu", resume: Any = None, at_step: Any = None
) -> Iterator[Any]:
    """Our own training loop; each epoch that it begins leaves a line in the file of marks."""
    from sweeps.trial.loop import fit

    results = fit(trial, data, device=device, resume=resume, at_step=at_step)
    key = hashlib.sha256(trial.model_dump_json().encode()).hexdigest()[:12]
    for epoch in range((resume["epoch"] if resume else 0) + 1, trial.training.epochs + 1):
        with Path(os.environ["CHAOS_MARKS"]).open("a") as marks:
            marks.write(f"{key} {epoch}\n")
        yield next(results)


def spec(arm: str, options: argparse.Namespace, uri: str | None) -> dict:
    """The sweep of an arm, as its YAML file holds it."""
    return {
        "name": f"arm-{arm}",
        "model": {"options": {"depth": 3, "width": 128}, "noise": {}},
        "training": {"epochs": options.epochs, "batch_size": 4, "loop": "chaos:loop"},
        "space": {
            "model.noise.ghost_size": {"logint": [2, 16]},
            "model.noise.strength": {"uniform": [0, 2]},
            "training.optimizer.lr": {"loguniform": [0.01, 1]},
        },
        "search": {
            "sampler": "random" if arm == "a" else "tpe",
            "trials": options.trials,
            "seed": options.seed,
            "startup_trials": min(10, options.trials // 2),
        },
        "stopping": {"name": "none" if arm == "a" else "asha"},
        "resources": {"concurrency": 2 if arm == "a" else 1, "max_attempts": 1000},
        "tracking": {"uri": uri},
    }


def measure(arm: str, options: argparse.Namespace, folder: Path) -> tuple[str, bool]:
    """The undisturbed sweep, the disturbed one, and what is to hold between them."""
    from chaos_servers import Server, Store
    from chaos_victim import Victim

    begun = time.perf_counter()
    calm = Victim(made(folder / "calm"), spec(arm, options, None), None, options.seed)
    calm.finish()
    calm_s = time.perf_counter() - begun

    server = None if options.without_server else Server(folder / "server")
    turn = [kind for kind in TURN if server or kind != "server"]
    kinds = [turn[i % len(turn)] for i in range(options.kills)]
    random.Random(options.seed).shuffle(kinds)
    begun = time.perf_counter()
    if server:
        server.start()
    content = spec(arm, options, server.uri if server else None)
    store = Store(folder / "store") if options.store else None
    victim = Victim(made(folder / "killed"), content, server, options.seed, store)
    victim.disturb(kinds, calm.results())
    victim.finish()
    database = server.database if server else victim.folder / "mlflow.db"
    text, holds = compare(arm, calm, victim, database, options)
    if server and server.process:
        os.killpg(server.process.pid, signal.SIGTERM)
        server.process.wait()
    if store:
        store.stop()
    return (
        f"{text}\n  seconds: undisturbed {calm_s:.0f}, killed {time.perf_counter() - begun:.0f}",
        holds,
    )


def compare(
    arm: str, calm: Any, victim: Any, database: Path, options: argparse.Namespace
) -> tuple[str, bool]:
    """The figures of an arm, and whether all are as claimed."""
    import chaos_proof as proof

    from sweeps.journal import read

    wanted, found = read(calm.journal.parent), read(victim.journal.parent)
    held, before = proof.mlflow(database, found), proof.contents(database)
    synced = victim.sync()
    streams = proof.same(wanted, found, proof.stream)
    records = proof.same(wanted, found, proof.whole)
    again, doubled = victim.trained_again(), proof.doubled_results(found)
    holds = {
        f"{options.kills} kills": victim.kills.total() == options.kills,
        "every trial": len(wanted.trials) == len(found.trials) == options.trials,
        "identical": streams == records == options.trials,
        "at most one epoch lost": again <= victim.allowed,
        "one run a trial": held.runs == options.trials + 1 and not held.faults,
        "nothing doubled": not (doubled or held.doubled_runs or held.doubled_rows),
        "none RUNNING": not held.running,
        "sync changes nothing": not synced and proof.contents(database) == before,
        "no orphans": not any(victim.orphans.values()),
    }
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(victim.kills.items()))
    kills = f"{victim.kills.total()} kills ({kinds})"
    delivery = "changes nothing" if holds["sync changes nothing"] else "DOES CHANGE IT"
    gone, agents_gone = victim.gone_after[False], victim.gone_after[True]
    lines = [
        f"arm {arm}: {options.trials} trials, {found.epochs} epochs, {kills}",
        f"  metric streams identical: {streams}; whole records identical: {records}",
        f"  epochs lost (trained again): {again}, of at most {victim.allowed}",
        f"  doubled: {doubled} journal results, {held.doubled_runs} runs, {held.doubled_rows} rows",
        f"  MLflow: {held.runs} runs, {held.running} RUNNING; a second delivery {delivery}",
        f"  orphans: {victim.orphans[False]}; after a driver's death Ray's processes were gone in "
        f"at most {gone:.1f} s, its agents in {agents_gone:.0f} s",
        *(f"  FAULT: {fault}" for fault in held.faults),
        *(f"  DOES NOT HOLD: {claim}" for claim, true in holds.items() if not true),
    ]
    return "\n".join(lines), all(holds.values())


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def namespaced(arguments: list[str]) -> int:
    """This script again in a PID namespace of its own; all that it leaves running ends with it."""
    if os.geteuid() or not shutil.which("unshare"):
        sys.exit("NOT MEASURED: killing needs root and unshare, for a PID namespace of its own")
    # bash is the namespace's first process: it collects those that lost their parents
    inside = 'mount -t proc proc /proc; "$@" --inside; exit $?'
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "bash", "-c", inside]
    return subprocess.run([*command, "bash", sys.executable, *arguments], check=False).returncode


def main() -> None:
    """Measure and print; with --out also keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", choices=["a", "b"], default=["a", "b"])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--without-server", action="store_true", help="track to sqlite alone")
    parser.add_argument("--store", action="store_true", help="the killed sweep is in an S3 store")
    parser.add_argument("--keep", type=Path, help="leave the sweeps in this new folder")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.store and options.without_server:
        parser.error("--store needs the server: the store that MLflow has beside a sweep is local")
    if not options.inside:
        sys.exit(namespaced(sys.argv))
    hardware = f"{os.cpu_count()} cores ({platform.machine()}), no GPU used"
    where = ", in an S3 store" if options.store else ""
    text = [f"{datetime.now(UTC):%Y-%m-%d}, {hardware}, n = 1, seed {options.seed}{where}"]
    holds = []
    folder = made(options.keep) if options.keep else Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        for arm in options.arms:
            found, good = measure(arm, options, folder.resolve() / arm)
            text.append(found)
            holds.append(good)
            print(found, flush=True)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if options.out:
        options.out.write_text("\n".join(text) + "\n")
    sys.exit(0 if all(holds) else 1)


if __name__ == "__main__":
    main()
