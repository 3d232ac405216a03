"""Trials by torch.compile: they repeat themselves, stay compiled, and ask for a compiler first.

The type-checking hook of the other tests cannot be traced, so under it this file runs itself once
more in a process without.
"""

import functools
import os
import shutil
import subprocess
import sys

import pytest
import torch
from torch._dynamo.utils import counters

import gni
from sweeps.errors import PreflightError, TrialStopped
from sweeps.spec import SweepSpec, TrainingSpec
from sweeps.trial import checkpoint
from sweeps.trial.compiled import begin_pass, require_compiler
from sweeps.trial.loop import fit
from sweeps.trial.rehearse import rehearse
from sweeps.trial.session import train

HOOKED = hasattr(gni.functional.ghost_noise, "__wrapped__")
in_its_own_process = pytest.mark.skipif(HOOKED, reason="runs in a process of its own")


@pytest.fixture
def small(trial):
    def make(**training):
        training = {"batch_size": 8, "epochs": 2, **training}
        return trial(model={"noise": {"ghost_size": 4}}, training=training)

    return make


@pytest.fixture
def without_code(monkeypatch):
    """Traced and differentiated as ever, but not translated to C++."""
    compile_it = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", lambda model, mode: compile_it(model))


def of_this_file(*options: str) -> None:
    environment = {**os.environ, "JAXTYPING_DISABLE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", *options, __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not HOOKED, reason="this process can compile")
def test_without_the_hook() -> None:
    of_this_file("-m", "not heavy")


@pytest.mark.heavy
@pytest.mark.skipif(not HOOKED, reason="this process can compile")
def test_without_the_hook_by_the_default_backend() -> None:
    of_this_file("-m", "heavy")


def undisturbed(spec, data, folder, untimed, same) -> None:
    """Stopped in the midst of its first epoch and resumed, the trial is what it would have been."""
    whole = list(train(spec, data, folder / "whole", device="cpu"))
    asked = iter(range(100))
    with pytest.raises(TrialStopped):
        list(train(spec, data, folder / "cut", device="cpu", stop=lambda: next(asked) == 2))
    assert untimed(list(train(spec, data, folder / "cut", device="cpu"))) == untimed(whole)
    states = [checkpoint.newest(folder / name)["state"] for name in ("whole", "cut")]
    assert same(*states)


@in_its_own_process
@pytest.mark.usefixtures("without_code")
def test_stopped_and_resumed(small, tiny, tmp_path, untimed, same):
    undisturbed(small(compile=True), tiny, tmp_path, untimed, same)


@in_its_own_process
@pytest.mark.heavy
@pytest.mark.skipif(not shutil.which("g++"), reason="NOT TESTED: no g++")
def test_stopped_and_resumed_by_the_default_backend(small, tiny, tmp_path, untimed, same):
    spec = small(compile=True, cpu_precision="bfloat16")
    undisturbed(spec, tiny, tmp_path, untimed, same)


@in_its_own_process
@torch._dynamo.config.patch(recompile_limit=2)
@pytest.mark.usefixtures("without_code")
def test_every_trial_of_a_process_is_compiled(small, tiny):
    for _ in range(4):
        counters.clear()
        next(fit(small(compile=True, epochs=1), tiny))
        assert counters["stats"]["unique_graphs"] > 0


def test_the_second_pass_of_an_update_does_not_write_over_the_gradients_of_the_first():
    parameter, memory = torch.nn.Parameter(torch.zeros(2)), torch.zeros(2)
    for number in range(3):
        begin_pass(TrainingSpec(compile="cuda_graphs"), number, [parameter])
        memory.fill_(number + 1)  # as a captured backward does, which gives its own memory away
        if parameter.grad is None:
            parameter.grad = memory
        else:
            parameter.grad += memory
    assert parameter.grad.tolist() == [6, 6]


def test_a_machine_without_a_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    for on_gpu, name in ((False, r"(g|clang)\+\+"), (True, "gcc|clang")):
        with pytest.raises(PreflightError, match=rf"({name}) is not on .*compile: false"):
            require_compiler(on_gpu)


def test_it_is_asked_for_before_the_first_trial(digits, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "gone"))
    axis = {"training.compile": {"choice": [False, True]}}
    with pytest.raises(PreflightError, match=r"training\.compile needs a compiler"):
        rehearse(SweepSpec(name="test", space=axis), digits)
    rehearse(SweepSpec(name="test"), digits)
