"""Objects of a store with the few methods of `pathlib.Path` that we use."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from sweeps.errors import StorageError
from sweeps.storage.client import call

SCHEME = "s3://"
_IN_PARTS = 64 * 2**20
"""Bytes from which an object is sent in parts, several at a time."""
_REMOVED_AT_ONCE = 1000


@dataclass(frozen=True, order=True)
class ObjectPath:
    """One object, or the prefix of several. Methods raise StorageError; see `client.call`."""

    bucket: str
    key: str = ""

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(self.bucket, f"{self.key}/{name}".lstrip("/"))

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of the key."""
        return PurePosixPath(self.key).name

    @property
    def parent(self) -> ObjectPath:
        """The prefix that it stands under."""
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    @property
    def _where(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.key}

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a prefix needs no making."""

    def read_bytes(self, patience: float | None = None) -> bytes:
        """The content; FileNotFoundError when there is none."""
        return call(self, lambda s3: s3.get_object(**self._where)["Body"].read(), patience)

    def write_bytes(self, content: bytes) -> None:
        """Put the object, over what is there; it appears whole or not at all."""
        if len(content) < _IN_PARTS:
            call(self, lambda s3: s3.put_object(**self._where, Body=content))
        else:
            call(self, lambda s3: s3.upload_fileobj(io.BytesIO(content), self.bucket, self.key))

    def create(self, content: bytes) -> None:
        """Put the object unless there is one; of two at once, one gets FileExistsError.

        When the answer to a put is lost and it is tried again, its own object is in the way: the
        caller has to know it by its content.
        """
        call(self, lambda s3: s3.put_object(**self._where, Body=content, IfNoneMatch="*"))

    def exists(self) -> bool:
        """Whether it is there; one look: False as well when the store does not answer."""
        try:
            call(self, lambda s3: s3.head_object(**self._where), patience=0)
        except (FileNotFoundError, StorageError):
            return False
        return True

    def age(self) -> float | None:
        """Seconds since it was written, by the store's own clock alone; None: it is not there."""
        try:
            head = call(self, lambda s3: s3.head_object(**self._where))
        except FileNotFoundError:
            return None
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
        return (now - head["LastModified"]).total_seconds()

    def unlink(self, missing_ok: bool = True) -> None:
        """Remove it; a store does not say whether it was there."""
        call(self, lambda s3: s3.delete_object(**self._where))

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Objects right under this prefix whose names match, by name."""
        found = (self / key for key in self._under() if "/" not in key)
        return (each for each in found if fnmatchcase(each.name, pattern))

    def folders(self) -> list[str]:
        """Names right under this prefix that have objects under them, in order."""
        prefix = f"{self.key}/".lstrip("/")
        where = {"Bucket": self.bucket, "Prefix": prefix, "Delimiter": "/"}

        def listed(s3: Any) -> list[str]:
            pages = s3.get_paginator("list_objects_v2").paginate(**where)
            return [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]

        return [found[len(prefix) : -1] for found in call(self, listed)]

    def remove_all(self) -> None:
        """Remove every object under this prefix."""
        remove(self.bucket, [f"{self.key}/{key}" for key in self._under()])

    def _under(self) -> list[str]:
        """The rest of every key under this prefix, in order."""
        prefix = f"{self.key}/".lstrip("/")

        def listed(s3: Any) -> list[str]:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

        return [key[len(prefix) :] for key in call(self, listed)]


def remove(bucket: str, keys: list[str]) -> None:
    """Remove many objects with few calls."""
    for first in range(0, len(keys), _REMOVED_AT_ONCE):
        some = keys[first : first + _REMOVED_AT_ONCE]
        listed = {"Objects": [{"Key": key} for key in some], "Quiet": True}
        call(f"{SCHEME}{bucket}", lambda s3, listed=listed: _remove(s3, bucket, listed))


def _remove(s3: Any, bucket: str, listed: dict[str, Any]) -> None:
    s3.delete_objects(Bucket=bucket, Delete=listed)
