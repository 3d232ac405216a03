"""The S3 client, and what is done when a call fails: told, tried again, or given up.

Address, region and credentials are boto3's own: AWS_ENDPOINT_URL, AWS_PROFILE, `~/.aws`, the role
of the machine. Errors that waiting may mend are tried again with growing pauses for `PATIENCE_S`
(60, or the environment's SWEEPS_STORE_PATIENCE); after that a call is tried once only, until the
store answers again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from sweeps.errors import StorageError

PATIENCE_S = float(os.environ.get("SWEEPS_STORE_PATIENCE", "60"))
"""Seconds for which a call that fails is tried again."""
FIRST_PATIENCE_S = 10.0
"""The same, for the first call of a driver: a mistyped address is to be told soon."""
HANDS = 16
"""Calls at a time, where there are many."""
_LONGEST_PAUSE_S = 8.0
_PASSING = {"RequestTimeout", "SlowDown", "ConditionalRequestConflict", "OperationAborted"}
"""Codes of errors below 500 that pass."""
_MISSING = {"NoSuchKey", "404", "NotFound"}

T = TypeVar("T")


class _Health:
    lost = False
    """Whether the last call was given up: the next ones then do not wait as long again."""


@cache
def client() -> Any:
    """One client a process; safe in threads.

    Raises:
        StorageError: boto3 is not installed, or its configuration is none.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        message = "storage in s3:// needs boto3: pip install 'ghost-noise-sweeps[s3]'"
        raise StorageError(message) from None
    waits = {"retries": {"total_max_attempts": 1}, "connect_timeout": 5, "read_timeout": 30}
    try:
        return boto3.client("s3", config=Config(**waits, max_pool_connections=HANDS))
    except (BotoCoreError, ValueError) as error:
        raise StorageError(f"the S3 client cannot be made: {error}") from None


def call(place: object, work: Callable[[Any], T], patience: float | None = None) -> T:
    """What `work` gives with the client; `place` is for messages.

    Args:
        place: what the call is about.
        work: called again after an error that may pass, so twice done must be as once.
        patience: seconds; default `PATIENCE_S`.

    Raises:
        FileNotFoundError: no such object.
        FileExistsError: the object that was to be created is there.
        StorageError: the store refuses, or has not answered for so long.
    """
    s3 = client()
    patience = PATIENCE_S if patience is None else patience
    until = time.monotonic() + (0.0 if _Health.lost else patience)
    pause = 0.1
    while True:
        try:
            result = work(s3)
        except Exception as error:
            _raise_if_lasting(error, place)
            if time.monotonic() + pause > until:
                _Health.lost = _Health.lost or patience > 0
                raise StorageError(f"{place}: the store does not answer: {error}") from None
        else:
            _Health.lost = False
            return result
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _raise_if_lasting(error: Exception, place: object) -> None:
    """Raise what waiting would not mend, in our words; give back what may pass."""
    from boto3.exceptions import S3UploadFailedError
    from botocore import exceptions as boto

    lost = boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError
    if isinstance(error, (*lost, S3UploadFailedError)):
        return
    if isinstance(error, boto.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or status == 429 or code in _PASSING:
            return
        if code in _MISSING:
            raise FileNotFoundError(f"there is no {place}") from None
        if status == 412:
            raise FileExistsError(f"{place} is there already") from None
        raise StorageError(f"{place}: {_told(code, error)}") from None
    if isinstance(error, boto.BotoCoreError):
        raise StorageError(f"{place}: {error}. Credentials are looked for as boto3 does") from None
    raise error


def _told(code: str, error: Exception) -> str:
    """The store's refusal, with what to do about the usual ones."""
    if code == "NoSuchBucket":
        return "there is no such bucket. Make it, or choose another with --storage or `storage:`"
    if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return (
            f"the store refuses these credentials ({code}). "
            "They are looked for as boto3 does: AWS_ACCESS_KEY_ID, AWS_PROFILE, ~/.aws, a role"
        )
    return f"the store refuses: {error}"
