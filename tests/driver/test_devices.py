"""A GPU that fails gets no more trials. GPUs are logical here and the failures are made."""

from __future__ import annotations

import json
import weakref
from contextlib import nullcontext

import pytest
import torch
from click.testing import CliRunner

from sweeps.cli import main
from sweeps.driver import changes, trainable
from sweeps.driver.conductor import Conductor
from sweeps.driver.devices import Devices
from sweeps.driver.folder import opened
from sweeps.errors import SpecError
from sweeps.journal import Journal, read
from sweeps.reading import parse
from sweeps.report.page.facts import failed
from sweeps.report.results import Sweep
from sweeps.report.status import in_brief, status

ONE, TWO = ("lab", "1"), ("lab", "2")
ECC = "CUDA error: uncorrectable ECC error encountered"
LOOP = """
import os
import pathlib
import time
import uuid

from sweeps.trial.loop import EpochResult

here = pathlib.Path(os.environ["MEETING"])

def seen(what, count):
    while len(list(here.glob(what + "*"))) < count:
        time.sleep(0.01)

def loop(trial, data, *, device, resume=None):
    broken = os.environ["BROKEN"].split()
    gpu = os.environ["CUDA_VISIBLE_DEVICES"]
    if gpu in broken:
        (here / f"bad-{uuid.uuid4()}").touch()
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
    for epoch in range(1 + (resume or {"epoch": 0})["epoch"], trial.training.epochs + 1):
        if epoch == 2:
            seen("bad", 2)  # no trial ends before the broken one was tried twice
        yield EpochResult(epoch, {"val_accuracy": 0.5, "gpu": float(gpu)}, lambda: {"epoch": epoch})
"""
SWEEP = """
import json, os, pathlib, ray
from sweeps.driver import cluster
import sweeps

for name, value in cluster.ENVIRONMENT.items():
    os.environ.setdefault(name, value)
with cluster._one_machine():
    ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", num_gpus=4, num_cpus=9)
said = []
try:
    sweeps.run({
        "name": "broken", "training": {"epochs": 2, "loop": "looped:loop"},
        "search": {"trials": 8}, "stopping": {"name": "none"},
        "space": {"training.optimizer.lr": {"uniform": [0.1, 1]}},
        "resources": {"gpus_per_trial": 1},
    }, storage="sweeps", observe=lambda record, state: said.append(record))
except Exception as error:
    said.append(f"{type(error).__name__}: {error}")
pathlib.Path("found").write_text(json.dumps(said))
"""


@pytest.fixture
def devices(tmp_path):
    spec = parse("name: broken\nresources: {gpus_per_trial: 1}\n")
    with Journal(tmp_path) as journal:
        journal.write("sweep", spec=spec.model_dump(mode="json"), identity="x", versions={})
        yield Devices(Conductor(journal), lambda: 2)


def test_one_on_which_trials_fail_in_a_row_while_another_works_is_left_out(devices, tmp_path):
    devices.well(TWO)
    assert not devices.failed(ONE, 3, ECC)
    devices.well(ONE)
    assert not devices.failed(ONE, 4, ECC)
    assert not devices.left_out
    assert not devices.failed(ONE, 5, ECC)
    assert devices.left_out == [ONE]
    told = f"left out lab GPU 1: failed 2 times in a row (trials 4, 5): {ECC}"
    assert told in status(Sweep(tmp_path))


def test_what_a_trial_does_to_a_second_device_too_is_the_trials_doing(devices):
    devices.well(TWO)
    devices.failed(ONE, 3, ECC)
    devices.failed(ONE, 3, ECC)
    assert devices.left_out == [ONE]
    devices.failed(TWO, 3, ECC)
    assert not devices.left_out


def test_the_last_one_is_not_left_out_but_ends_the_sweep(devices):
    for trial in (1, 2):  # nothing went well anywhere so far
        assert not devices.failed(ONE, trial, ECC)
    assert devices.left_out == [ONE]
    assert not devices.failed(TWO, 3, ECC)
    assert not devices.failed(TWO, 3, ECC)
    assert devices.failed(TWO, 4, ECC) == (f"lab GPU 2 failed 3 times, and no other is left: {ECC}")
    assert devices.left_out == [ONE]


def test_it_is_told_everywhere_and_taken_back_when_asked(devices, tmp_path):
    for trial in (1, 2):
        devices.failed(ONE, trial, ECC)
    sweep = Sweep(tmp_path)
    line = f"lab GPU 1: failed 2 times in a row (trials 1, 2): {ECC}. "
    line += "Once mended: sweeps retry broken --gpus"
    assert failed(sweep).text == [f"Left out: {line}"]
    assert in_brief(sweep) == [f"left out {line}"]
    assert f"left out {line}\n" in status(sweep)


def test_retry_takes_gpus_back_and_nothing_else(tmp_path):
    spec = parse("name: broken\nsearch: {trials: 1}\n")
    with opened(spec, tmp_path / "broken") as journal:
        conductor = Conductor(journal)
        conductor.failed(conductor.next().trial, {"type": "OSError", "message": "disk"})
        conductor.device(ONE, "failed")
        conductor.device(TWO, "failed")
    assert changes.retry(tmp_path / "broken", failed=False, gpus=True) == []
    state = read(tmp_path / "broken")
    assert not state.left_out and state.trials[0].status == "failed"


@pytest.mark.parametrize(
    ("failed", "gpus", "lack"),
    [
        (True, False, "no trial failed"),
        (False, True, "no GPU is left out"),
        (True, True, "no trial failed and no GPU is left out"),
    ],
)
def test_retry_of_nothing_names_what_was_asked_alone(tmp_path, failed, gpus, lack):
    with opened(parse("name: whole\nsearch: {trials: 1}\n"), tmp_path / "whole") as journal:
        if not gpus:
            Conductor(journal).device(ONE, "failed")
    with pytest.raises(SpecError, match=f"nothing to try again: {lack}\\. "):
        changes.retry(tmp_path / "whole", failed=failed, gpus=gpus)


def test_retry_wants_to_know_what(tmp_path):
    done = CliRunner().invoke(main, ["retry", "broken"])
    assert done.exit_code == 2 and "say what: --failed, --gpus or both" in done.output


@pytest.mark.root
@pytest.mark.heavy
@pytest.mark.parametrize("broken", ["2", "0 1 2 3"])
def test_a_sweep_goes_on_without_a_broken_gpu_and_ends_where_all_are(namespaced, tmp_path, broken):
    (tmp_path / "looped.py").write_text(LOOP)
    (tmp_path / "sweep.py").write_text(SWEEP)
    words = f"mkdir meeting; export MEETING=$PWD/meeting BROKEN='{broken}' PYTHONPATH=."
    script = namespaced(f"{words}; python sweep.py")
    output = script.communicate()[0]
    assert script.returncode == 0, output
    said = json.loads((tmp_path / "found").read_text())
    if broken != "2":
        assert said[-1].startswith("PreflightError"), said[-1]
        assert "and no other is left: CUDA error: uncorrectable ECC" in said[-1]
        assert "then resume broken" in said[-1]
        return
    assert [r["gpu"] for r in said if r["kind"] == "device"] == ["2"]
    assert {r["metrics"]["gpu"] for r in said if r["kind"] == "result"} <= {0, 1, 3}
    assert [r["status"] for r in said if r["kind"] == "end"] == ["finished"] * 8


class Raises(trainable.TrialActor):
    """A worker whose trial raises, and keeps something large in a frame of the error."""

    def __init__(self, error: Exception):
        self._holds, self._broken = False, None
        self._spec = parse("name: raises\nresources: {gpus_per_trial: 0.5}\n")
        self._stop, self._watchdog = nullcontext(), nullcontext()
        self._epochs = self._training(error)

    def _training(self, error: Exception):
        held = torch.zeros(1)
        self.held = weakref.ref(held)
        yield 1, {}
        raise error


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "memory"),
        (RuntimeError("CUDA error: out of memory"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublas"), "memory"),
        (RuntimeError(ECC), "broken"),
    ],
)
def test_what_lacked_memory_is_no_broken_device(error, found, monkeypatch):
    monkeypatch.setattr(trainable, "_gpus", lambda: "3")
    monkeypatch.setattr(trainable.gc, "collect", lambda: 0)  # seconds, and it frees too much
    worker = Raises(error)
    worker.step()
    report = json.loads(worker.step()["report"])
    assert found in report
    assert (worker.held() is None) == (found == "memory")


def test_a_gpu_that_torch_cannot_use_is_not_passed_over_in_silence(tmp_path):
    spec = parse("name: old\nresources: {gpus_per_trial: 1}\n")
    assert trainable._device(spec, tmp_path) == ("cuda" if torch.cuda.is_available() else "cpu")
    (tmp_path / "nvidia0").touch()
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match=r"CUDA error: torch .* sees no GPU here"):
            trainable._device(spec, tmp_path)
    assert trainable._device(parse("name: cpu\n"), tmp_path) == "cpu"
