"""Shared by the trial's tests: small specs, small data, modules of a user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeps.spec import SweepSpec, TrialSpec
from sweeps.trial.arrays import Dataset
from sweeps.trial.datasets import load

TIMINGS = {"seconds", "images_per_second"}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def trial():
    """Makes a trial: a narrow mlp on digits, 3 epochs, unless told otherwise."""

    def make(
        *, data=None, model=None, training=None, objective=None, seed=0, **params
    ) -> TrialSpec:
        spec = SweepSpec(
            name="test",
            data=data or {},
            model={"options": {"depth": 2, "width": 16}, **(model or {})},
            training={"epochs": 3, **(training or {})},
            objective=objective or {},
        )
        return spec.trial(params, seed)

    return make


@pytest.fixture
def small(trial):
    """Makes a trial of 3 epochs of 5 updates on the tiny colour images, augmented."""

    def make(*, model=None, training=None, **rest):
        training = {"batch_size": 8, "epochs": 3, **(training or {})}
        return trial(data={"crop_padding": 1, "flip": True}, model=model, training=training, **rest)

    return make


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load(SweepSpec(name="test").data)


@pytest.fixture
def tiny() -> Dataset:
    """50 random colour images of 6 by 6 in 2 classes: 40 to train on, 10 to validate."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 3, 6, 6), dtype=np.uint8)
    labels = np.arange(60) % 2
    return Dataset(images[:50], labels[:50], images[50:], labels[50:], classes=2)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a user's module into a current directory of its own; gives its folder."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, source: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path

    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None) or ""
        if origin.startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def untimed():
    """The metrics of results or entries without those that depend on the clock."""

    def strip(results) -> list[dict[str, float]]:
        return [{k: v for k, v in r.metrics.items() if k not in TIMINGS} for r in results]

    return strip


@pytest.fixture
def same():
    """Whether two trees of dicts, lists and tensors are equal bit for bit."""

    def equal(a, b) -> bool:
        if isinstance(a, torch.Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(map(equal, a, b))
        return a == b

    return equal
