"""On the head: a verb that runs trials, on this cluster and with the modules shipped for it.

    python -m sweeps.cluster.job run spec.yaml [--storage DIR]     beside the shipped files
    python -m sweeps.cluster.job preview spec.yaml                 which keeps nothing
    python -m sweeps.cluster.job resume NAME [--storage DIR]

Shipped files are kept in STORAGE/NAME/source, which every machine mounts, so that a later resume
has them when Ray has forgotten the job. There the verb itself is run, in the place of this process.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from sweeps.cluster.package import SPEC
from sweeps.errors import SweepError
from sweeps.journal import held
from sweeps.reading import load

SOURCE = "source"


def main(arguments: list[str]) -> None:
    """Go to the sweep's source and become `sweeps VERB ... --address auto`."""
    verb, name, *rest = arguments
    if verb == "preview":
        _become(arguments)
    storage = _storage(rest)
    if verb == "run":
        try:
            name = load(SPEC, checked=False).name
        except SweepError as error:
            sys.exit(f"error: {error}")
        arguments[1] = SPEC
    if "://" not in storage:
        folder = Path(os.path.expandvars(storage)).expanduser() / name
        source = _keep(folder) if verb == "run" else folder / SOURCE
        if source.is_dir():
            os.chdir(source)
    if "--storage" not in rest:
        arguments += ["--storage", storage]
    _become(arguments)


def _become(arguments: list[str]) -> NoReturn:
    sweeps = str(Path(sys.executable).with_name("sweeps"))
    os.execv(sweeps, [sweeps, *arguments, "--address", "auto"])


def _storage(rest: list[str]) -> str:
    """Where the sweeps of this cluster are: as asked, else where its file says."""
    if "--storage" in rest:
        return rest[rest.index("--storage") + 1]
    try:
        return os.environ["SWEEPS_STORAGE"]
    except KeyError:
        sys.exit(
            "error: the head names no SWEEPS_STORAGE. Give --storage, or set it as in "
            "cluster-onprem.yaml"
        )


def _keep(folder: Path) -> Path:
    """Copy what was shipped into the sweep's folder; a sweep that is running keeps its own."""
    source = folder / SOURCE
    if held(folder):
        return Path.cwd()
    try:
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(Path.cwd(), source)
    except OSError as error:
        sys.exit(f"error: storage {folder} cannot be written: {error.strerror}")
    return source


if __name__ == "__main__":
    main(sys.argv[1:])
