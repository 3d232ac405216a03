"""Sweeps as jobs of a cluster: handed in through Ray's job server, followed, left to themselves."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweeps.cluster import package
from sweeps.cluster.file import ClusterFile
from sweeps.cluster.ssh import head, token_file
from sweeps.errors import ClusterError, PreflightError, SpecError
from sweeps.reading import load
from sweeps.spec import SweepSpec

PORT = 8265
"""Of the job server, on the head's loopback."""
_SPEC_ELSEWHERE = ("data.root",)
"""Mistakes that only the cluster's own disks can tell."""


@contextmanager
def server(cluster: ClusterFile | None, address: str | None) -> Iterator[Any]:
    """Ray's job client: through a tunnel to the cluster's head, or at `address` (HOST:PORT).

    Raises:
        PreflightError: there is no token here, or others can read it.
        ClusterError: nothing answers there, or it refuses the token.
    """
    check_token()
    with _quiet():
        if cluster is None:
            assert address
            yield _client(address, address)
        else:
            with head(cluster).tunnel(PORT) as port:
                yield _client(f"127.0.0.1:{port}", cluster.head)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the client's own notes (uploads, closed sockets) off the screen."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def check_token() -> None:
    """See that there is a token here for Ray to show, and that nobody else can read it.

    Raises:
        PreflightError: not so.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = token_file()
    if not path.is_file():
        raise PreflightError(
            f"there is no token in {path}. Copy the head's there, or before `ray up` make one: "
            f"ray get-auth-token --generate && chmod 600 {path}"
        )
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise PreflightError(
            f"the token {path} can be read by others (mode {mode:04o}). chmod 600 {path}"
        )


def submit(client: Any, file: Path, storage: str | None, say: Callable[[str], None]) -> str:
    """Check a spec, ship it with the modules that it names, start it; gives the job's name.

    Raises:
        SpecError: the spec has mistakes; nothing was sent.
    """
    spec = _checked(file)
    own = spec.storage if "storage" in spec.model_fields_set else None
    with _packed(file, spec, say) as folder:
        words = [package.SPEC]
        return start(client, spec.name, "run", words, storage=storage or own, folder=folder)


def preview(client: Any, file: Path, say: Callable[[str], None]) -> str:
    """Check and ship a spec as `submit` does, to be tried out there; gives the job's name.

    Raises:
        SpecError: the spec has mistakes; nothing was sent.
    """
    spec = _checked(file)
    with _packed(file, spec, say) as folder:
        return start(client, f"preview-{spec.name}", "preview", [package.SPEC], folder=folder)


@contextmanager
def _packed(file: Path, spec: SweepSpec, say: Callable[[str], None]) -> Iterator[Path]:
    """A folder with what is to be shipped."""
    with tempfile.TemporaryDirectory(prefix="sweeps-") as folder:
        names, size = package.pack(file, spec, Path.cwd(), Path(folder))
        say(f"{spec.name}: shipping {', '.join(names)} ({size / 1024:.1f} KiB)")
        yield Path(folder)


def start(
    client: Any,
    sweep: str,
    verb: str,
    arguments: list[str],
    *,
    storage: str | None = None,
    folder: Path | None = None,
) -> str:
    """Start a verb that runs trials as a job on the head; gives the job's name."""
    place = ["--storage", storage] if storage else []
    words = ["python", "-m", "sweeps.cluster.job", verb, *arguments, *place]
    return client.submit_job(
        entrypoint=shlex.join(words),
        submission_id=f"{sweep}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}",
        metadata={"sweep": sweep},
        runtime_env={"working_dir": str(folder)} if folder else None,
    )


def follow(client: Any, job: str, say: Callable[[str], None]) -> int:
    """Pass on what a job prints until it ends; gives its exit status.

    Raises:
        ClusterError: the job server went away; whether the job did too, its sweep's status says.
    """
    try:
        asyncio.run(_tail(client, job, say))
        info = client.get_job_info(job)
    except Exception as error:  # aiohttp's and requests' own, and RuntimeError
        raise ClusterError(
            f"the cluster does not answer any more ({type(error).__name__}). When it does: "
            "sweeps status, then sweeps resume"
        ) from error
    if info.driver_exit_code is None:
        say(f"{info.message}\n")
        return ClusterError.exit_status
    return info.driver_exit_code


async def _tail(client: Any, job: str, say: Callable[[str], None]) -> None:
    async for lines in client.tail_job_logs(job):
        say(lines)


def _checked(file: Path) -> SweepSpec:
    """The spec; where its data is, the cluster knows better."""
    try:
        return load(file)
    except SpecError as error:
        rest = [m for m in error.mistakes if m.path not in _SPEC_ELSEWHERE]
        if rest:
            raise SpecError(rest, error.source) from None
        return load(file, checked=False)


def _client(address: str, machine: str) -> Any:
    """Connect to the job server at `address`; `machine` is what the user knows it by."""
    os.environ["RAY_AUTH_MODE"] = "token"  # Ray shows its token only when told to
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(f"http://{address}")
    except AuthenticationError:
        raise ClusterError(
            f"{machine} refuses the token in {token_file()}. Copy the one that the cluster was "
            f"started with from its ~/.ray/auth_token, and chmod 600 it"
        ) from None
    except (ConnectionError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ClusterError(
            f"{machine}: no job server of Ray answers ({reason}). Start the cluster: ray up"
        ) from None
