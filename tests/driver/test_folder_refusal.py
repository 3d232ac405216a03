"""A sweep that is refused for what it borrows leaves nothing behind."""

from __future__ import annotations

import shutil

import pytest
import yaml
from click.testing import CliRunner
from test_conductor import SPACE, drive, spec

from sweeps.cli import main
from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.errors import SpecError
from sweeps.reading import load
from sweeps.spec import SweepSpec


def test_a_missing_earlier_sweep_is_refused_before_a_folder_is_made(tmp_path) -> None:
    one = SweepSpec.model_validate({"name": "s", "search": {"from": ["gone"]}})
    with (
        pytest.raises(SpecError, match=r"search\.from: there is no such sweep"),
        opened(one, tmp_path / "s"),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["check", "preview", "run"])
def test_a_look_beforehand_refuses_it_as_a_run_does(tmp_path, monkeypatch, verb) -> None:
    monkeypatch.chdir(tmp_path)
    text = "space: {training.optimizer.lr: {uniform: [0.1, 1]}}\nsearch: {from: [gone]}\n"
    (tmp_path / "s.yaml").write_text(text)
    done = CliRunner().invoke(main, [verb, "s.yaml"])
    assert (done.exit_code, done.stdout) == (2, "")
    place = f"{tmp_path}/sweep-data (found gone)"
    assert done.stderr == f"error: s.yaml: line 2: search.from: there is no such sweep in {place}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


def test_check_looks_where_it_is_told_and_asks_no_more_once_begun(tmp_path) -> None:
    tree = {"space": SPACE, "training": {"epochs": 9}, "search": {"trials": 3, "from": ["old"]}}
    (file := tmp_path / "s.yaml").write_text(yaml.safe_dump(tree))
    place = tmp_path / "there"

    def status() -> int:
        return CliRunner().invoke(main, ["check", str(file), "--storage", str(place)]).exit_code

    found = []
    for name, one in (("old", spec(name="old")), ("s", load(file))):
        found.append(status())
        with opened(one, place / name) as journal:
            drive(Conductor(journal))
    for gone in ("old", "s"):
        shutil.rmtree(place / gone)
        found.append(status())
    assert found == [2, 0, 0, 2]
