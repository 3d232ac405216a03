"""What is shipped with a sweep: its spec, and the user's own modules that the spec names.

A module is named by import path (`data.name`, `model.name`, `training.loop`, also as a value of the
space or an arm) and lies in the current directory; what it imports from there comes with it. What
is installed on the cluster (this service, torch, …) stays.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

from sweeps.errors import PreflightError
from sweeps.spec import SweepSpec
from sweeps.values import values_of

SPEC = "spec.yaml"
LIMIT = 100 * 2**20
"""Bytes that Ray's job server takes."""
_NAMED_AT = ("data.name", "model.name", "training.loop")
_OURS = {"gni", "models", "sweeps"}
_LEFT = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")


def modules_of(spec: SweepSpec, here: Path) -> list[Path]:
    """Files and package folders in `here` that the spec needs, by name."""
    named = (value for path in _NAMED_AT for value in values_of(spec, path) if value)
    pending = [str(value).split(":")[0].split(".")[0] for value in named if ":" in str(value)]
    found: dict[str, Path] = {}
    while pending:
        name = pending.pop()
        place = _place(name, here)
        if place is None or name in found or name in _OURS:
            continue
        found[name] = place
        for file in [place] if place.is_file() else place.rglob("*.py"):
            pending += _imported(file)
    return [found[name] for name in sorted(found)]


def pack(file: Path, spec: SweepSpec, here: Path, target: Path) -> tuple[list[str], int]:
    """Copy the spec's file and its modules into the empty folder `target`: names and bytes.

    Raises:
        PreflightError: together they are more than the job server takes.
    """
    shutil.copy(file, target / SPEC)
    names = [SPEC]
    for module in modules_of(spec, here):
        names.append(module.name + ("/" if module.is_dir() else ""))
        if module.is_dir():
            shutil.copytree(module, target / module.name, ignore=_LEFT)
        else:
            shutil.copy(module, target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > LIMIT:
        raise PreflightError(
            f"{', '.join(names)} are {size / 2**20:.0f} MiB, above the {LIMIT // 2**20} MiB that a "
            "cluster takes. Keep data out of the package's folder"
        )
    return names, size


def _place(name: str, here: Path) -> Path | None:
    """The module's file or its package's folder, where that is the user's own."""
    if (here / f"{name}.py").is_file():
        return here / f"{name}.py"
    folder = here / name
    return folder if folder.is_dir() and any(folder.glob("*.py")) else None


def _imported(file: Path) -> Iterator[str]:
    """First names of what a file imports; none of one that is no Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
