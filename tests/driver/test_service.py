"""The service on a real Ray, from Python: results, failures, the user's own parts."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

import sweeps
from sweeps.driver import cluster
from sweeps.errors import PreflightError
from sweeps.report.status import status
from sweeps.spec import ResourcesSpec

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]

TINY = {
    "model": {"options": {"depth": 1, "width": 16}, "noise": {}},
    "training": {"epochs": 3, "batch_size": 64},
    "space": {
        "model.noise.strength": {"uniform": [0, 2]},
        "training.optimizer.lr": {"loguniform": [0.01, 1]},
    },
    "search": {"trials": 5, "sampler": "random"},
    "stopping": {"reduction": 2},
}

OWN = """
import numpy as np, torch
from sweeps.trial.loop import EpochResult

def images():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    images = rng.integers(0, 99, (400, 1, 4, 4)) + 100 * labels[:, None, None, None]
    return {"train_images": images[:300].astype(np.uint8), "train_labels": labels[:300],
            "test_images": images[300:].astype(np.uint8), "test_labels": labels[300:]}

def network(in_channels, image_size, classes, width=4):
    size = in_channels * image_size**2
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, width),
                               torch.nn.BatchNorm1d(width), torch.nn.ReLU(),
                               torch.nn.Linear(width, classes))

def loop(trial, data, *, device="cpu", resume=None):
    done = resume["epoch"] if resume else 0
    for epoch in range(done + 1, trial.training.epochs + 1):
        if trial.seed == 1:
            raise RuntimeError("seed one is unlucky")
        state = {"epoch": epoch}
        yield EpochResult(epoch, {"score": epoch * trial.training.optimizer.lr}, lambda s=state: s)
"""


OWN += """
import pathlib, time

def hungry(trial, data, *, device="cpu", resume=None):
    lr = trial.training.optimizer.lr
    seen = pathlib.Path(__file__).with_name(f"seen {lr}")
    if lr == 0.3 or (lr == 0.2 and not seen.exists()):
        seen.touch()
        raise torch.OutOfMemoryError("out of memory")
    yield from loop(trial, data, device=device, resume=resume)

def full(trial, data, *, device="cpu", resume=None):
    seen = pathlib.Path(__file__).with_name("seen full")
    if not seen.exists():
        seen.touch()
        raise OSError(28, "No space left on device", "there.pt")
    yield from loop(trial, data, device=device, resume=resume)

def silent(trial, data, *, device="cpu", resume=None):
    if trial.training.optimizer.lr == 0.1:
        time.sleep(600)
    yield from loop(trial, data, device=device, resume=resume)
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> None:
    """A module of the user's own in the folder where the sweep is started."""
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("own_parts", None)


def test_a_sweep_from_python(storage) -> None:
    seen = []
    spec = {"name": "tiny", "storage": str(storage), **TINY}
    sweep = sweeps.run(spec, observe=lambda record, state: seen.append(record["kind"]))
    frame = sweep.frame()
    assert list(frame["trial"]) == list(range(5))
    assert set(frame["status"]) <= {"finished", "pruned", "diverged"}
    assert seen.count("end") == 5 and seen[-1] == "session"
    assert sweep.best.value == frame[frame.status == "finished"]["value"].max()
    again = sweeps.load("tiny", storage=str(storage))
    assert again.frame().equals(frame)
    described = (ROOT / "docs" / "folder.md").read_text()
    assert [p.name for p in sweep.folder.iterdir() if f"`{p.name}" not in described] == []
    logits = again.best_model()(__import__("torch").zeros(2, 1, 8, 8))
    assert logits.shape == (2, 10)


def test_a_finished_sweep_is_only_loaded(storage) -> None:
    spec = {"name": "one", "storage": str(storage), **TINY, "search": {"trials": 1}}
    first = sweeps.run(spec)
    journal = (first.folder / "journal.jsonl").read_bytes()
    sweeps.run(spec)
    assert (first.folder / "journal.jsonl").read_bytes() == journal


@pytest.mark.usefixtures("own")
def test_the_users_own_model_and_data(storage) -> None:
    spec = {"name": "own", "storage": str(storage), **TINY, "data": {"name": "own_parts:images"}}
    spec["model"] = {"name": "own_parts:network", "options": {"width": 8}, "noise": {}}
    sweep = sweeps.run(spec)
    assert {t.status for t in sweep.state.trials.values()} <= {"finished", "pruned"}
    assert sweep.best.value > 0.9


@pytest.mark.usefixtures("own")
def test_the_users_own_loop_and_a_trial_that_raises(storage) -> None:
    spec = {"name": "loop", "storage": str(storage), **TINY, "search": {"trials": 3}}
    spec["training"] = {"epochs": 3, "batch_size": 64, "loop": "own_parts:loop"}
    spec["space"] = {"training.optimizer.lr": 0.5}
    spec["objective"] = {"metric": "score"}
    sweep = sweeps.run(spec)
    first, second, third = sweep.state.trials.values()
    assert (first.status, first.values("score")) == ("finished", {1: 0.5, 2: 1.0, 3: 1.5})
    assert second.status == "failed" and second.seed == 1
    assert second.end["error"]["type"] == "RuntimeError"
    assert second.end["reason"] == "seed one is unlucky"
    assert "own_parts.py" in second.end["error"]["traceback"]
    assert third.status == "finished"


def test_more_than_the_cluster_has_is_refused() -> None:
    with pytest.raises(PreflightError, match=r"gpus_per_trial: a trial asks for 64 GPUs \(found"):
        cluster.places(ResourcesSpec(gpus_per_trial=64))


def test_what_runs_out_of_memory_is_tried_once_more_alone(storage, own) -> None:
    spec = {
        "name": "memory",
        "storage": str(storage),
        "training": {"epochs": 2, "loop": "own_parts:hungry"},
        "space": {"training.optimizer.lr": {"choice": [0.1, 0.2, 0.3]}},
        "search": {"sampler": "grid"},
        "objective": {"metric": "score"},
        "stopping": {"name": "none"},
    }
    trials = sweeps.run(spec).state.trials
    assert [t.status for t in trials.values()] == ["finished", "finished", "failed"]
    assert [[a["alone"] for a in t.attempts] for t in trials.values()] == [
        [False],
        [False, True],
        [False, True],
    ]
    error = trials[2].end["error"]
    assert error["type"] == "OutOfMemoryError" and ", in hungry" in error["traceback"]
    assert error["node"] and error["device"] == "cpu"


def test_a_silent_trial_is_ended_where_it_hangs(storage, own) -> None:
    spec = {
        "name": "silent",
        "storage": str(storage),
        "training": {"epochs": 2, "loop": "own_parts:silent"},
        "space": {"training.optimizer.lr": {"choice": [0.1, 0.2]}},
        "search": {"sampler": "grid"},
        "objective": {"metric": "score"},
        "stopping": {"name": "none"},
        "resources": {"silent_minutes": 0.1},
    }
    trials = sweeps.run(spec).state.trials
    assert [t.status for t in trials.values()] == ["failed", "finished"]
    assert trials[0].end["reason"] == "nothing was reported for 0.1 minutes"
    assert ", in silent" in trials[0].end["error"]["traceback"]


def test_a_worker_that_cannot_write_stops_the_sweep_which_then_goes_on(storage, own) -> None:
    spec = {
        "name": "full",
        "storage": str(storage),
        "training": {"epochs": 2, "loop": "own_parts:full"},
        "space": {"training.optimizer.lr": {"choice": [0.1, 0.2]}},
        "search": {"sampler": "grid"},
        "objective": {"metric": "score"},
        "stopping": {"name": "none"},
        "resources": {"concurrency": 1},
    }
    with pytest.raises(PreflightError, match=r"No space left on device: 'there.pt'. Make room"):
        sweeps.run(spec)
    state = sweeps.load("full", storage=str(storage)).state
    assert (state.sessions[-1]["state"], state.ended) == ("interrupted", 0)
    trials = sweeps.resume("full", storage=str(storage)).state.trials
    assert [t.status for t in trials.values()] == ["finished", "finished"]


def test_a_write_that_fails_once_is_told_in_its_own_words(storage) -> None:
    """Tune wraps what its scheduler raises; the next record, the session's end, has room again."""

    def full(record, state) -> None:
        if record["kind"] == "result":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(PreflightError, match=r"cannot be written: .*No space left on device"):
        sweeps.run({**TINY, "name": "full-once"}, storage=str(storage), observe=full)
    assert (
        sweeps.load("full-once", storage=str(storage)).state.sessions[-1]["state"] == "interrupted"
    )
    sweep = sweeps.resume("full-once", storage=str(storage))
    assert len(sweep.state.trials) == 5 and sweep.state.finished


def test_a_network_that_cannot_be_is_refused_and_the_name_stays_free(storage) -> None:
    spec = {**TINY, "name": "refused", "storage": str(storage)}
    bad = {**spec, "model": {"options": {"depth": 1, "width": -16}, "noise": {}}}
    with pytest.raises(PreflightError, match="width must be an integer of at least 1, got -16"):
        sweeps.run(bad)
    assert not sweeps.load("refused", storage=str(storage)).state.finished
    assert sweeps.run({**spec, "search": {"trials": 1, "sampler": "random"}}).best


def test_a_batch_larger_than_the_users_own_images_is_refused(storage, own) -> None:
    own_data = {"data": {"name": "own_parts:images"}, "training": {"batch_size": 4096}}
    spec = {"name": "big", "storage": str(storage), **TINY, **own_data}
    with pytest.raises(PreflightError, match="an epoch needs at least one batch"):
        sweeps.run(spec)
    text = status(sweeps.load("big", storage=str(storage)))
    assert "big: refused" in text and "an epoch needs at least one batch" in text
    assert sweeps.run({**spec, "training": TINY["training"], "search": {"trials": 1}}).best


def test_two_objectives_under_rungs_in_seconds(storage) -> None:
    changes = {"stopping": {"seconds": [1e-6, 1e-5], "reduction": 2}}
    spec = TINY | changes | {"name": "two", "objective": {"second": "seconds"}}
    sweep = sweeps.run(spec | {"storage": str(storage)})
    trials = sweep.searched()
    assert {t.status for t in trials} <= {"finished", "pruned"} and len(trials) == 5
    assert all(t.results[0]["rung"] == 1e-5 for t in trials)
    assert all(t.epoch == (1 if t.status == "pruned" else 3) for t in trials)
    assert sweep.front and sweep.front[0].trial == sweep.best.trial
    assert (sweep.folder / "report" / "pareto_front.png").exists()
