"""Writing whole or not at all, wherever the place is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from sweeps.storage.addresses import Place
from sweeps.storage.objects import ObjectPath

Bytes = bytes | memoryview


def write_whole(place: Place, *parts: Bytes) -> None:
    """Write a file beside its place, sync it, move it there; or put an object.

    File and folder are synced, so once this returns a power cut does not undo it.

    Raises:
        OSError: it could not be written; what was there is as it was.
        StorageError: the store does not take it.
    """
    if isinstance(place, ObjectPath):
        place.write_bytes(b"".join(parts))
        return
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(place)
        _sync(place.parent)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(place)) from error
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    """Sync the folder itself, where its file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
