"""The command line, and what survives it being killed: each in a PID namespace of its own."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from sweeps.journal import read

pytestmark = pytest.mark.root

WORKER = "ray::(TrialActor|ResourceTrainable)"
"""For pgrep: a worker's title while it is idle, and while it trains."""

SPEC = """
name: tiny
model: {options: {depth: 1, width: 16}, noise: {}}
training: {epochs: 12, batch_size: 32}
space:
  model.noise.strength: {uniform: [0, 1]}
  training.optimizer.lr: {loguniform: [0.01, 0.3]}
search: {trials: 4, sampler: random}
stopping: {name: none}
"""
WAIT = "until [ $(grep -c {what} sweep-data/tiny/journal.jsonl) -ge {count} ]; do sleep 0.05; done"


def wait(what: str, count: int) -> str:
    return WAIT.format(what=f"'{what}'", count=count) + " 2>/dev/null"


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    out, _ = process.communicate(timeout=600)
    assert process.returncode == status, out
    return out


def streams(folder: Path) -> dict:
    """Each trial's metrics by epoch, timings left out."""
    timed = {"seconds", "images_per_second"}
    return {
        n: [
            (r["epoch"], {k: v for k, v in r["metrics"].items() if k not in timed})
            for r in trial.results
        ]
        for n, trial in read(folder).trials.items()
    }


def check_mlflow(storage: Path, trials: int, epochs: int = 12) -> None:
    """One run per trial and one parent, all closed, each metric row once."""
    with sqlite3.connect(storage / "mlflow.db") as db:
        statuses = [row[0] for row in db.execute("select status from runs")]
        rows = db.execute("select run_uuid, key, step from metrics where key='val_loss'").fetchall()
    assert len(statuses) == trials + 1
    assert "RUNNING" not in statuses
    assert len(rows) == len(set(rows)) == trials * epochs


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    return run_through(SPEC, tmp_path_factory)


def run_through(text: str, tmp_path_factory) -> dict:
    """The metric streams of the sweep run through, in one process and without Ray."""
    from sweeps.reading import parse
    from sweeps.search.search import Search
    from sweeps.trial import datasets
    from sweeps.trial.session import train

    spec = parse(text)
    data, search, found = datasets.load(spec.data), Search(spec), {}
    for number in range(search.total):
        trial = spec.trial(*search.propose(number))
        folder = tmp_path_factory.mktemp("trial")
        found[number] = [
            (
                r.epoch,
                {k: v for k, v in r.metrics.items() if k not in ("seconds", "images_per_second")},
            )
            for r in train(trial, data, folder, device="cpu")
        ]
    return found


def test_killed_interrupted_and_resumed(namespaced, tmp_path, undisturbed) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    out = finish(
        namespaced(f"""
        set -m  # else bash has its children ignore SIGINT
        mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray  # what a dead `ray start` leaves
        echo 192.0.2.2:6390 > /tmp/ray/ray_current_cluster
        sweeps run tiny.yaml & driver=$!
        {wait('"result"', 5)}
        kill -9 $driver; wait $driver
        echo "killed with $?"
        sweeps resume tiny & driver=$!
        {wait('"result"', 16)}
        kill -9 $(pgrep -f '{WORKER}' | head -1) && echo 'a worker was killed'
        {wait('"result"', 30)}
        kill -INT $driver; wait $driver
        echo "interrupted with $?"
        mv sweep-data moved
        sweeps resume tiny --storage moved
    """)
    )
    assert "killed with 137" in out
    assert "a worker was killed" in out
    assert "interrupted with 130" in out
    assert "Interrupted; all finished epochs are kept. Go on with: sweeps resume tiny" in out
    assert "Traceback" not in out
    assert streams(tmp_path / "moved" / "tiny") == undisturbed
    check_mlflow(tmp_path / "moved", trials=4)


def test_a_terminated_driver_says_how_to_go_on(namespaced, tmp_path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    out = finish(
        namespaced(f"""
        sweeps run tiny.yaml & driver=$!
        {wait('"session"', 1)}
        kill -TERM $driver; wait $driver
        """),
        status=130,
    )
    assert "Go on with: sweeps resume tiny" in out
    assert read(tmp_path / "sweep-data" / "tiny").sessions[-1]["state"] == "interrupted"


def test_json_is_json_and_failures_are_exit_status_one(namespaced, tmp_path) -> None:
    (tmp_path / "own.py").write_text(
        "def data():\n    raise OSError('no images today')\n"
        "def network(**shape):\n    raise OSError('no net today')\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        SPEC.replace("model: {", "model: {name: 'own:network', ").replace(
            "options: {depth: 1, width: 16}, ", ""
        )
    )
    out = finish(
        namespaced("sweeps run --json tiny.yaml 2>errors; code=$?; cat errors >&2; exit $code"),
        status=1,
    )
    records = [json.loads(line) for line in out.splitlines()]
    ends = [r for r in records if r["kind"] == "end"]
    assert [r["reason"] for r in ends] == ["no net today"] * 4


def test_a_diverged_trial_is_a_finding_and_no_failure(namespaced, tmp_path) -> None:
    loop = """
import math
from sweeps.trial.loop import EpochResult

def loop(trial, data, *, device="cpu", resume=None):
    yield EpochResult(1, {"val_accuracy": math.nan}, lambda: {})
"""
    (tmp_path / "own.py").write_text(loop)
    spec = SPEC.replace("epochs: 12", "loop: 'own:loop', epochs: 12")
    (tmp_path / "tiny.yaml").write_text(spec.replace("trials: 4", "trials: 1"))
    out = finish(namespaced("sweeps run tiny.yaml"), status=0)
    assert "trial   0  diverged" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run nowhere.yaml", "the spec cannot be read"),
        ("check bad.yaml", "line 1: training.epoch: unknown field. Did you mean epochs?"),
        ("run bad.yaml", "line 1: training.epoch: unknown field. Did you mean epochs?"),
        ("resume nothing", "no sweep at"),
        ("report nothing", "no sweep at"),
        ("run many.yaml", "a trial asks for 64 GPUs (found 0 here)"),
        ("run good.yaml --storage /proc/nowhere", "cannot be written"),
        ("run good.yaml --address 127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9"),
        ("run good.yaml --address nonsense", "a Ray address is HOST:PORT or ray://HOST:PORT"),
    ],
)
def test_bad_input_is_exit_status_two(namespaced, tmp_path, arguments, message) -> None:
    (tmp_path / "bad.yaml").write_text("training: {epoch: 3}")
    (tmp_path / "good.yaml").write_text("training: {epochs: 3}")
    (tmp_path / "many.yaml").write_text("resources: {gpus_per_trial: 64}")
    out = finish(namespaced(f"sweeps {arguments}"), status=2)
    assert message in out
    assert "Traceback" not in out


def test_preempted_stopped_and_resumed_inside_an_epoch(
    namespaced, tmp_path, tmp_path_factory
) -> None:
    """A worker gets SIGTERM, then `sweeps stop`: no checkpoint but those two stops'.

    The signal may come between two epochs, where it ends the process: that counts as a death.
    """
    text = SPEC.replace("epochs: 12", "checkpoint_every: 60 minutes, epochs: 80")
    text = text.replace("trials: 4", "trials: 3").replace("width: 16", "width: 64")
    (tmp_path / "tiny.yaml").write_text(text)
    out = finish(
        namespaced(f"""
        sweeps run tiny.yaml & driver=$!
        {wait('"result"', 5)}
        kill -TERM $(pgrep -f '{WORKER}' | head -1) && echo 'a worker was preempted'
        {wait('"attempt"', 3)}
        ls sweep-data/tiny/trials/*
        {wait('"result"', 40)}
        sweeps stop tiny; echo "stop said $?"
        wait $driver; echo "stopped with $?"
        sweeps stop tiny
        sweeps status tiny
        ls sweep-data/tiny/trials/*
        sweeps resume tiny >/dev/null; echo "resumed with $?"
    """)
    )
    assert "tiny has stopped; all is kept. Go on with: sweeps resume tiny" in out
    assert "a worker was preempted" in out
    assert "stop said 0" in out and "stopped with 130" in out and "resumed with 0" in out
    assert "tiny is not running" in out
    assert "tiny: stopped (on request)" in out
    assert "Traceback" not in out
    assert "-step-0" in out
    state = read(tmp_path / "sweep-data" / "tiny")
    assert sum(len(t.attempts) for t in state.trials.values()) >= 3 + 1 + 2
    assert streams(tmp_path / "sweep-data" / "tiny") == run_through(text, tmp_path_factory)
    check_mlflow(tmp_path / "sweep-data", trials=3, epochs=80)


@pytest.mark.heavy
def test_a_full_disk_is_told_and_the_sweep_goes_on_when_there_is_room(
    namespaced, tmp_path, undisturbed
) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    out = finish(
        namespaced(f"""
        mkdir sweep-data && mount -t tmpfs -o size=9M tmpfs sweep-data
        sweeps run tiny.yaml & driver=$!
        {wait('"result"', 3)}
        head -c 20M /dev/zero > sweep-data/filler 2>/dev/null
        wait $driver; echo "ended with $?"
        rm sweep-data/filler; mount -o remount,size=200M sweep-data
        sweeps retry tiny --failed >/dev/null || sweeps resume tiny >/dev/null
        echo "resumed with $?"
        cp -r sweep-data kept
    """)
    )
    assert "No space left on device" in out
    assert "ended with 0" not in out and "resumed with 0" in out
    assert streams(tmp_path / "kept" / "tiny") == undisturbed
    check_mlflow(tmp_path / "kept", trials=4)


def test_more_epochs_and_failed_trials_again(namespaced, tmp_path, tmp_path_factory) -> None:
    text = SPEC.replace("epochs: 12", "schedule: {name: constant}, epochs: 4")
    text = text.replace("trials: 4", "trials: 2")
    (tmp_path / "tiny.yaml").write_text(text)
    out = finish(
        namespaced("""
        sweeps run tiny.yaml >/dev/null
        sweeps extend tiny --epochs 6 --trials 1 >/dev/null; echo "extended with $?"
        sweeps retry tiny --failed | tail -1
        sweeps extend tiny --epochs 5; echo "refused with $?"
    """)
    )
    assert "extended with 0" in out and "refused with 2" in out
    assert "must be above the sweep's epochs (found 5; the sweep has 6)" in out
    longer = text.replace("epochs: 4", "epochs: 6").replace("trials: 2", "trials: 3")
    assert streams(tmp_path / "sweep-data" / "tiny") == run_through(longer, tmp_path_factory)
    check_mlflow(tmp_path / "sweep-data", trials=3, epochs=6)


@pytest.mark.heavy
def test_a_node_that_vanishes_gives_its_trial_to_another(
    namespaced, tmp_path, tmp_path_factory
) -> None:
    """A Ray of two nodes that was there before; the raylet of one is killed in mid-trial."""
    text = SPEC.replace("batch_size: 32", "batch_size: 8")  # a worker outlives its raylet a little
    (tmp_path / "tiny.yaml").write_text(text)
    out = finish(
        namespaced(f"""
        mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray
        export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 RAY_enable_metrics_collection=0
        options="--num-cpus=1 --node-ip-address"
        ray start --head --port=6390 --include-dashboard=false $options=127.0.0.1 >log 2>&1
        ray start --address=127.0.0.1:6390 $options=127.0.0.2 >>log 2>&1
        sweeps run tiny.yaml --address 127.0.0.1:6390 & driver=$!
        {wait('"result","trial":0', 1)}
        {wait('"result","trial":1', 1)}
        pkill -9 -f 'raylet.*127.0.0.2'
        wait $driver; echo "ended with $?"
    """)
    )
    assert "ended with 0" in out
    state = read(tmp_path / "sweep-data" / "tiny")
    assert sum(len(t.attempts) for t in state.trials.values()) == 5
    assert streams(tmp_path / "sweep-data" / "tiny") == run_through(text, tmp_path_factory)
