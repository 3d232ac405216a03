from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import journals
import pytest
import store_reader
from selenium.common.exceptions import TimeoutException, WebDriverException

from sweeps.errors import PreflightError
from sweeps.track import tracker, ui

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def serving(tmp_path_factory, empty_store):
    """The UI in a process of its own over a sweep of two trials: the process, page, storage."""
    storage = tmp_path_factory.mktemp("storage")
    shutil.copy(empty_store, storage / "mlflow.db")
    folder = storage / "digits"
    journals.write_sweep(folder, trials=2, fails=(1,))
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("<p>the whole report</p>")
    assert tracker.sync(folder)
    code = "import sys, pathlib; from sweeps.track import ui; ui.serve(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-u", "-c", code, str(folder)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    with running.stdout:
        yield running, running.stdout.readline().strip(), storage
        running.send_signal(signal.SIGINT)
        running.wait(20)


def seen(browser, *words: str) -> str:
    """The text that the browser shows, once it has all these words."""
    from selenium.webdriver.support.wait import WebDriverWait

    def text(_) -> str:
        found = browser.find_element("css selector", "body").text
        return found if all(word in found for word in words) else ""

    waiting = WebDriverWait(browser, 60, ignored_exceptions=[WebDriverException])
    try:
        return waiting.until(text)
    except TimeoutException:
        raise AssertionError(browser.find_element("css selector", "body").text) from None


def test_it_shows_the_sweep_and_its_files(serving):
    _, page, storage = serving
    address, _, experiment = page.partition("/#/experiments/")
    experiment, _, view = experiment.partition("/")
    assert view == "runs?workflowType=machine_learning"
    assert b"<div id=" in get(address)
    found = get(f"{address}/api/2.0/mlflow/experiments/get?experiment_id={experiment}")
    assert json.loads(found)["experiment"]["name"] == "digits"
    run = next(p.parent for p in (storage / "mlflow-artifacts").glob("*/artifacts/checkpoints"))
    query = f"run_uuid={run.parent.name}&path=checkpoints/last.pt"
    assert get(f"{address}/get-artifact?{query}").startswith(b"trial ")


def test_a_browser_sees_parent_children_and_artifacts(serving, browser):
    _, page, storage = serving
    browser.get(page)
    seen(browser, "digits", "Run Name")
    query = "SELECT run_uuid FROM runs WHERE name = 'digits'"
    ((parent,),) = store_reader.rows(storage / "mlflow.db", query)
    run = f"{page.partition('/runs?')[0]}/runs/{parent}"
    browser.get(run)
    text = seen(
        browser, "2 of 12 trials, finished", "trial-0000", "trial-0001", "best_val_accuracy"
    )
    assert "1 failed; last: trial 1: ValueError: boom" in text
    browser.get(f"{run}/artifacts/report/index.html")
    seen(browser, "spec.yaml", "report", "index.html")
    complaints = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert [m for m in complaints if "users/current" not in m] == []  # asked of no login


def test_it_ends_at_ctrl_c(serving):
    running, page, _ = serving
    port = int(page.removeprefix("http://127.0.0.1:").partition("/")[0])
    assert listens(port)
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
