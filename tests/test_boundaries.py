"""What an import pulls in, which names are public, and that the README speaks of what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "ray", "optuna", "mlflow", "pandas", "matplotlib", "sklearn"}
HEAVY |= {"plotly", "scipy"}
README = (ROOT / "README.md").read_text()


def pulled_in(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()) & HEAVY


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import sweeps.cli", set()),
        ("from sweeps.reading import load; load('sweeps/configs/digits.yaml')", set()),
        ("import sweeps.experiments as e; e.listing(); e.spec_of('c100_gni', smoke=True)", set()),
        ("import sweeps.track.launcher", set()),
        ("import sweeps.report.results, sweeps.report.tables", set()),
        ("import sweeps.trial.datasets", set()),
        ("import sweeps.search.search", {"optuna"}),
        ("import gni", {"torch"}),
        ("import models", {"torch"}),
        ("import sweeps.trial.session", {"torch"}),
    ],
)
def test_an_import_pulls_in_no_more_than_it_needs(code, allowed, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    assert pulled_in(code) <= allowed


def test_public_names() -> None:
    import sweeps

    names = ["extend", "load", "reproduce", "resume", "retry", "run", "stop"]
    assert sorted(sweeps.__all__) == names
    assert all(callable(getattr(sweeps, name)) for name in sweeps.__all__)


def test_the_readmes_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readmes_commands_exist() -> None:
    from sweeps.cli import main

    verbs = set(re.findall(r"^(?:\.venv/bin/)?sweeps ([a-z]+)", README, re.MULTILINE))
    targets = set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"sweep", "test"} <= targets <= made
    assert verbs and verbs <= set(main.commands)


def test_each_ready_sweep_opens_with_its_cost_and_command() -> None:
    for config in (ROOT / "sweeps" / "configs").rglob("*.yaml"):
        head = re.match(r"(?:#.*\n)*", config.read_text())
        assert head and "# Cost:" in head[0] and "# Expect:" in head[0], config
        assert f"# Run:    sweeps run {config.relative_to(ROOT)}\n" in head[0], config
