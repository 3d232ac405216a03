"""Addresses: a path, or `s3://BUCKET/PREFIX`; and the working copy of what is in a store.

A driver works in a local folder in any case: MLflow's tracker, the report and the logs are there.
Of a sweep in a store that folder is a cache, `CACHE/s3/BUCKET/PREFIX/NAME`, and may be lost: its
path alone says where the truth is, so whoever is given the folder finds the store.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sweeps.errors import Mistake, SpecError
from sweeps.storage.objects import SCHEME, ObjectPath

Place = Path | ObjectPath
"""A file or folder, or an object or prefix, with the methods that both have."""

_SCHEMED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def cache() -> Path:
    """Folder of all working copies: `$XDG_CACHE_HOME/ghost-noise-sweeps`, else in `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser().absolute() / "ghost-noise-sweeps"


def working_folder(storage: str) -> Path:
    """The local folder for the sweeps in `storage`, absolute; `~` and variables are expanded.

    Raises:
        SpecError: the address is of no kind that we know.
    """
    storage = os.path.expandvars(storage)
    if storage.strip() and "\0" not in storage and not _SCHEMED.match(storage):
        return Path(storage).expanduser().absolute()
    parts = storage.removeprefix(SCHEME).rstrip("/").split("/")
    if not storage.startswith(SCHEME) or any(part in ("", ".", "..") for part in parts):
        rule = "is a folder, or s3://BUCKET or s3://BUCKET/PREFIX"
        raise SpecError([Mistake("storage", rule, repr(storage), "Write one of these")])
    return cache().joinpath("s3", *parts)


def origin(folder: Path) -> ObjectPath | None:
    """Where the truth of a working copy is; None of a folder that is itself the truth."""
    root = (cache() / "s3").resolve()
    folder = folder.resolve()
    if root not in folder.parents:
        return None
    bucket, *key = folder.relative_to(root).parts
    return ObjectPath(bucket, "/".join(key))


def truth(folder: Path) -> Place:
    """Where journal and checkpoints of the sweep worked on in `folder` are: often `folder`."""
    return origin(folder) or folder


def trial_folder(sweep: Place, number: int) -> Place:
    """Where the worker of trial `number` keeps its checkpoints, below the sweep's own place."""
    return sweep / "trials" / f"{number:05d}"


def at(address: str) -> Place:
    """The place of an absolute path or of `s3://BUCKET/KEY`, as `str` of a place gives it."""
    if address.startswith(SCHEME):
        bucket, _, key = address.removeprefix(SCHEME).partition("/")
        return ObjectPath(bucket, key)
    return Path(address)
