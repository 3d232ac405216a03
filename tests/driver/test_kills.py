"""The command line, and what survives it being killed: each in a PID namespace of its own."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from sweeps.journal import read

pytestmark = pytest.mark.root

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


def check_mlflow(storage: Path, trials: int) -> None:
    """One run per trial and one parent, all closed, each metric row once."""
    with sqlite3.connect(storage / "mlflow.db") as db:
        statuses = [row[0] for row in db.execute("select status from runs")]
        rows = db.execute("select run_uuid, key, step from metrics where key='val_loss'").fetchall()
    assert len(statuses) == trials + 1
    assert "RUNNING" not in statuses
    assert len(rows) == len(set(rows)) == trials * 12


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict:
    """The metric streams of the sweep run through, in one process and without Ray."""
    from sweeps.reading import parse
    from sweeps.search.search import Search
    from sweeps.trial import datasets
    from sweeps.trial.session import train

    spec = parse(SPEC)
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
        sweeps run tiny.yaml & driver=$!
        {wait('"result"', 5)}
        kill -9 $driver; wait $driver
        echo "killed with $?"
        sweeps resume tiny & driver=$!
        {wait('"result"', 16)}
        kill -9 $(pgrep -f ray::TrialActor | head -1)
        {wait('"result"', 30)}
        kill -INT $driver; wait $driver
        echo "interrupted with $?"
        mv sweep-data moved
        sweeps resume tiny --storage moved
    """)
    )
    assert "killed with 137" in out
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
    ],
)
def test_bad_input_is_exit_status_two(namespaced, tmp_path, arguments, message) -> None:
    (tmp_path / "bad.yaml").write_text("training: {epoch: 3}")
    (tmp_path / "good.yaml").write_text("training: {epochs: 3}")
    (tmp_path / "many.yaml").write_text("resources: {gpus_per_trial: 64}")
    out = finish(namespaced(f"sweeps {arguments}"), status=2)
    assert message in out
    assert "Traceback" not in out
