"""A short form of benchmarks/confirmation.py: nothing is found where there is nothing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scipy.stats import binomtest

FILE = Path(__file__).parents[2] / "benchmarks" / "confirmation.py"
SWEEPS = 40


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("confirmation_benchmark", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks for itself there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_where_all_is_equal_a_difference_is_found_in_one_sweep_of_twenty_at_most(benchmark) -> None:
    found = [each for each, _ in benchmark.findings(benchmark.World(), SWEEPS)]
    false = sum(map(benchmark.better, found))
    assert binomtest(false, SWEEPS, 0.05, alternative="greater").pvalue > 0.01, false
    silent = [c for c in found if not benchmark.better(c)]
    assert all("no difference found" in c.verdict or "worse" in c.verdict for c in silent)


def test_a_large_difference_is_found(benchmark) -> None:
    found = [each for each, _ in benchmark.findings(benchmark.World(gain=1.0), 5)]
    assert all(map(benchmark.better, found))
    assert all("beat" in each.verdict for each in found)
