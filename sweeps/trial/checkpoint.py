"""Checkpoints: one file or object each, written whole or not at all, checked when read.

`epoch-000012.pt`, made after epoch 12, or `epoch-000012-step-000345.pt`, made 345 updates later, is
what `torch.save` writes, then a line with the SHA-256 of it; `torch.load`
reads the file as it is and passes over that line. The content is a dict, plain all the way down:

    format       1
    epoch        whole epochs done
    step         updates done of the next epoch
    best_epoch   the best epoch so far, whose file is kept; absent if unknown
    …            whatever the writer adds; sweeps/trial/session.py says what a trial adds
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from typing import Any

import torch
from torch import nn

from sweeps.errors import LOST, CheckpointError, StorageError
from sweeps.storage import Place, write_whole

FORMAT = 1
KEPT = 2
"""Newest checkpoints kept, besides the best."""
_LABEL = b"\nsweeps-checkpoint sha256 "
_TRAILER = len(_LABEL) + 65
_PLAIN = frozenset({torch.Tensor, nn.Parameter, int, float, bool, str, bytes, type(None)})

Content = dict[str, Any]


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint cannot be read; the one before is used."""


Position = tuple[int, int]
"""Whole epochs done, and updates done of the next one."""

_NAME = re.compile(r"epoch-(\d+)(?:-step-(\d+))?\.pt")


def positions(folder: Place) -> dict[Position, Place]:
    """The checkpoints in a folder by position, oldest first; none if there is no folder."""
    named = ((_NAME.fullmatch(p.name), p) for p in folder.glob("epoch-*.pt"))
    return dict(sorted(((int(m[1]), int(m[2] or 0)), path) for m, path in named if m))


def files(folder: Place) -> dict[int, Place]:
    """The checkpoints made at the end of an epoch, by epoch, oldest first."""
    return {epoch: path for (epoch, step), path in positions(folder).items() if not step}


def save(folder: Place, epoch: int, content: Content, *, step: int = 0) -> Place:
    """Write a checkpoint whole or not at all, synced; then drop the ones not kept.

    Raises:
        OSError: it could not be written; the folder's checkpoints are as they were.
        StorageError: the folder that is to hold this one is gone, or the store does not answer.
        TypeError: the content holds something that `weights_only` loading would refuse.
    """
    _require_plain(content, "checkpoint")
    path = folder / (f"epoch-{epoch:06d}" + (f"-step-{step:06d}" if step else "") + ".pt")
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "epoch": epoch, "step": step, **content}, buffer)
    payload = buffer.getbuffer()
    trailer = _LABEL + hashlib.sha256(payload).hexdigest().encode() + b"\n"
    try:
        folder.mkdir(exist_ok=True)  # not those above it: a sweep that is gone is not made anew
        write_whole(path, payload, trailer)
    except OSError as error:
        if error.errno not in LOST:
            raise
        raise StorageError(f"{folder} is gone, or its storage: {error.strerror}") from error
    _drop_old(folder, content.get("best_epoch"))
    return path


def load(path: Place) -> Content:
    """Read and check one checkpoint; tensors come to the CPU.

    Raises:
        CheckpointError: it is missing, damaged or of another format.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return parsed(raw, path)


def digest(raw: bytes) -> str:
    """The SHA-256 of a checkpoint's content, from its bytes."""
    return hashlib.sha256(memoryview(raw)[:-_TRAILER]).hexdigest()


def ends_as_one(raw: bytes) -> bool:
    """Whether bytes end with a checkpoint's label; else they are none, or one cut short."""
    return raw[-_TRAILER:].startswith(_LABEL)


def parsed(raw: bytes, path: object) -> Content:
    """The content of a checkpoint's bytes; `path` is for messages.

    Raises:
        CheckpointError: it is damaged or of another format.
    """
    payload, trailer = memoryview(raw)[:-_TRAILER], raw[-_TRAILER:]
    if trailer != _LABEL + digest(raw).encode() + b"\n":
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    content = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    if content.get("format") != FORMAT:
        found = content.get("format")
        raise CheckpointError(f"{path} is of format {found}; this version reads format {FORMAT}")
    return content


def newest(folder: Place) -> Content | None:
    """The newest checkpoint that can be read, with a warning for each damaged one; None if none."""
    for path in reversed(positions(folder).values()):
        try:
            return load(path)
        except CheckpointError as error:
            warnings.warn(f"skipped: {error}", DamagedCheckpointWarning, stacklevel=2)
    return None


def best(folder: Place) -> Place | None:
    """The file of the best epoch, as the newest readable checkpoint knows it; None if none."""
    content = newest(folder)
    return None if content is None else files(folder).get(content.get("best_epoch", -1))


def _require_plain(value: Any, where: str) -> None:
    """Refuse now what could not be read back later; subclasses, such as numpy's floats, too."""
    if isinstance(value, dict):
        for key, entry in value.items():
            _require_plain(key, f"{where} (a key)")
            _require_plain(entry, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for i, entry in enumerate(value):
            _require_plain(entry, f"{where}[{i}]")
    elif type(value) not in _PLAIN:
        rule = "must hold tensors, numbers, strings, None, dicts, lists and tuples alone"
        raise TypeError(f"{where} {rule}; found {type(value).__name__}")


def _drop_old(folder: Place, best_epoch: int | None) -> None:
    kept = positions(folder)
    for position in list(kept)[:-KEPT]:
        if position != (best_epoch, 0):
            kept[position].unlink(missing_ok=True)
    # What a killed writer left aside; a folder has one writer at a time, a store holds no halves.
    for aside in folder.glob(".epoch-*.pt.*"):
        aside.unlink(missing_ok=True)
