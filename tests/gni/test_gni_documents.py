"""The examples run: those of the docstrings and that of the method card."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import gni

MODULES = [f"gni.{module.name}" for module in pkgutil.iter_modules(gni.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch})
    assert found.failed == 0
    if name == "gni._noise_layers":
        assert found.attempted >= 3


def test_the_example_of_the_method_card() -> None:
    text = (Path(gni.__file__).parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["sites"] == 20


def test_every_public_name_is_documented() -> None:
    for name in (*gni.__all__, *(f"functional.{n}" for n in gni.functional.__all__)):
        value = gni
        for part in name.split("."):
            value = getattr(value, part)
        assert value.__doc__, name
