from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import journals
import pytest

from sweeps.errors import PreflightError
from sweeps.track import tracker, ui

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_shows_the_sweep_and_its_files_until_ctrl_c(storage):
    folder = storage / "digits"
    journals.write_sweep(folder, trials=1, fails=())
    assert tracker.sync(folder)
    code = "import sys, pathlib; from sweeps.track import ui; ui.serve(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-u", "-c", code, str(folder)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    with running.stdout:
        page = running.stdout.readline().strip()
        address, _, experiment = page.partition("/#/experiments/")
        experiment, _, view = experiment.partition("/")
        assert view == "runs?workflowType=machine_learning"
        port = int(address.removeprefix("http://127.0.0.1:"))
        assert b"<div id=" in get(address)
        found = get(f"{address}/api/2.0/mlflow/experiments/get?experiment_id={experiment}")
        assert json.loads(found)["experiment"]["name"] == "digits"
        run = next(p.parent for p in (storage / "mlflow-artifacts").glob("*/artifacts/checkpoints"))
        query = f"run_uuid={run.parent.name}&path=checkpoints/last.pt"
        assert get(f"{address}/get-artifact?{query}").startswith(b"trial 0 epoch ")
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
    assert not listens(port)


def test_a_taken_port_is_said_before_anything_starts(storage):
    journals.write_sweep(storage / "digits", trials=1)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PreflightError, match=f"port {port} is taken"):
            ui.start(storage / "digits", port)


def test_a_tracking_server_has_its_own_ui(tmp_path: Path):
    spec = journals.made_up_spec(tracking={"uri": "http://127.0.0.1:9"})
    journals.write_sweep(tmp_path / "digits", spec, trials=1)
    said: list[str] = []
    assert ui.serve(tmp_path / "digits", announce=said.append) == "http://127.0.0.1:9"
    assert said == ["http://127.0.0.1:9"]
