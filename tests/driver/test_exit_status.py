"""What the verbs that run trials return; Ray is left out: a made driver trains the journal."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from test_children import begin
from test_conductor import drive, spec

import sweeps
from sweeps.cli import main
from sweeps.driver import changes
from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.journal import read
from sweeps.report.results import Sweep


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a verb on the sweep `s`, of whose new trials so many fail; gives status and output."""
    folder, failing = tmp_path / "s", 0

    def go_on(name, observe, **_) -> Sweep:
        with opened(read(folder).spec, folder) as journal:
            conductor = Conductor(journal)
            conductor.session("started")
            for _ in range(failing):
                conductor.failed(conductor.next().trial, {"type": "OSError", "message": "no disk"})
            drive(conductor)
            conductor.session("finished")
        return Sweep(folder)

    monkeypatch.setattr(sweeps, "resume", go_on)

    def run(*words: str, fails: int = 0) -> tuple[int, str]:
        nonlocal failing
        failing = fails
        done = CliRunner().invoke(main, [*words, "--storage", str(tmp_path)])
        return done.exit_code, done.output

    return run


def test_an_extension_answers_for_what_failed_since(tmp_path, command) -> None:
    short = {"training": {"epochs": 1}, "stopping": {"name": "none"}}
    with opened(spec(search={"trials": 2, "sampler": "random"}, **short), tmp_path / "s"):
        pass
    assert command("resume", "s", fails=1)[0] == 1
    assert command("resume", "s")[0] == 1  # it is still the sweep that was begun
    status, output = command("extend", "s", "--trials", "2")
    assert status == 0 and "1 failed" in output
    assert output.startswith("search.trials: 2 -> 4\n")
    assert command("resume", "s")[0] == 0
    status, output = command("extend", "s", "--trials", "1", fails=1)
    assert status == 1 and "2 failed" in output
    assert changes.retry(tmp_path / "s") == [0, 4]
    assert command("resume", "s", fails=1)[0] == 1  # trial 0, once more
    assert changes.retry(tmp_path / "s") == [0]
    assert command("resume", "s")[0] == 0


def test_so_does_one_by_children_alone(tmp_path, command) -> None:
    begin(tmp_path / "s", search={"trials": 2}, stopping={"name": "none"})
    with opened(read(tmp_path / "s").spec, tmp_path / "s") as journal:
        journal.write("reopen", trial=0, status="finished", value=0.0)
    assert command("resume", "s", fails=1)[0] == 1
    more = ("extend", "s", "--restart-schedule", "--epochs")
    status, output = command(*more, "12", "--json")
    assert status == 0 and all(json.loads(line) for line in output.splitlines())


def test_the_help_says_so() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    assert "  1    a trial failed since the sweep was begun or, if it was, last extended" in text
