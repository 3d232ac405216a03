"""A short form of benchmarks/chaos.py: TPE and ASHA, one trial at a time, three kills."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root
CHAOS = Path(__file__).parents[2] / "benchmarks" / "chaos.py"


def test_a_killed_sweep_is_the_undisturbed_one() -> None:
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("NOT TESTED: kills need root and unshare for a PID namespace")
    size = ["--arms", "b", "--trials", "10", "--epochs", "9", "--kills", "3"]
    command = [sys.executable, str(CHAOS), *size, "--without-server"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "metric streams identical: 10; whole records identical: 10" in done.stdout
    assert "3 kills" in done.stdout
