"""What is shipped with a sweep, and where the head keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.cluster import job, package
from sweeps.errors import PreflightError
from sweeps.reading import validate


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of a user's own modules, some of which a spec names."""
    folder = tmp_path / "here"
    (folder / "mine" / "__pycache__").mkdir(parents=True)
    (folder / "mine" / "__init__.py").write_text("")
    (folder / "mine" / "loops.py").write_text("import numpy\nfrom helper import rate\n")
    (folder / "mine" / "__pycache__" / "loops.pyc").write_bytes(b"x" * 1000)
    (folder / "helper.py").write_text("import other_helper, torch\nrate = 1\n")
    (folder / "other_helper.py").write_text("import helper\n")
    (folder / "unrelated.py").write_text("")
    (folder / "spec.yaml").write_text("name: shipped")
    return folder


def _spec(**training):
    return validate({"name": "shipped", "data": {"name": "digits"}, "training": training})


def test_only_what_the_spec_names_and_what_that_imports(here: Path, tmp_path: Path):
    target = tmp_path / "target"
    target.mkdir()
    spec = _spec(loop="mine.loops:loop")
    names, size = package.pack(here / "spec.yaml", spec, here, target)
    assert names == ["spec.yaml", "helper.py", "mine/", "other_helper.py"]
    shipped = {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()}
    assert shipped == {
        "spec.yaml", "helper.py", "other_helper.py", "mine/__init__.py", "mine/loops.py"
    }  # fmt: skip
    assert size == sum((target / name).stat().st_size for name in shipped)


def test_a_spec_without_own_modules_ships_alone(here: Path):
    assert package.modules_of(_spec(), here) == []


def test_values_of_the_space_name_modules_too(here: Path):
    spec = validate(
        {
            "name": "shipped",
            "data": {"name": "digits"},
            "space": {"model.name": {"choice": ["mlp", "unrelated:net", "torchvision:resnet18"]}},
        }
    )
    assert package.modules_of(spec, here) == [here / "unrelated.py"]


def test_more_than_the_cluster_takes_is_refused(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(package, "LIMIT", 60)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(PreflightError, match="Keep data out"):
        package.pack(here / "spec.yaml", _spec(loop="mine.loops:loop"), here, target)


class _Replaced(Exception):
    """In the place of a process that would be another from here on."""


def test_the_head_keeps_the_source_and_a_resume_goes_there(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    became: list[list[str]] = []

    def execv(program: str, words: list[str]) -> None:
        became.append(words[1:])
        raise _Replaced

    storage = tmp_path / "storage"
    monkeypatch.setattr("os.execv", execv)
    monkeypatch.setenv("SWEEPS_STORAGE", str(storage))
    monkeypatch.chdir(here)
    for words in (["run", "spec.yaml"], ["resume", "shipped"]):
        with pytest.raises(_Replaced):
            job.main(words)
        assert Path.cwd() == storage / "shipped" / "source"
        assert (Path.cwd() / "helper.py").exists()
        monkeypatch.chdir(tmp_path)
        monkeypatch.chdir(here)
    place = ["--storage", str(storage), "--address", "auto"]
    assert became == [["run", "spec.yaml", *place], ["resume", "shipped", *place]]
