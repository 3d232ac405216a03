from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import journals
import pytest

from sweeps.errors import PreflightError
from sweeps.report import dashboard
from sweeps.report.results import Sweep


def test_optunas_dashboard_shows_the_study(tmp_path):
    state = journals.write_sweep(tmp_path / "digits", trials=4, fails=(1,))
    command = [Path(sys.executable).parent / "sweeps", "ui", "digits", "--optuna"]
    running = subprocess.Popen(
        [*command, "--storage", str(tmp_path)], env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    with running.stdout:
        page = running.stdout.readline().strip()
        address, _, study = page.partition("/dashboard/studies/")
        assert address.startswith("http://127.0.0.1:")
        try:
            with urllib.request.urlopen(f"{address}/api/studies/{study}", timeout=30) as answer:
                found = json.load(answer)
        finally:
            running.send_signal(signal.SIGINT)
            assert running.wait(20) == 0
    states = {"finished": "Complete", "pruned": "Pruned", "failed": "Fail"}
    assert found["name"] == "digits"
    assert [t["state"] for t in found["trials"]] == [
        states[t.status] for t in state.trials.values()
    ]


def test_without_the_dashboard_it_says_how_to_get_it(tmp_path, monkeypatch):
    journals.write_sweep(tmp_path / "digits", trials=1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PreflightError, match="pip install optuna-dashboard"):
        dashboard.serve(Sweep(tmp_path / "digits"))
    assert not (tmp_path / "digits" / "report").exists()
