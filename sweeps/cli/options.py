"""What several verbs share: their options, and how our own errors are printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sweeps.errors import UNWRITABLE, SweepError

if TYPE_CHECKING:
    from sweeps.spec import SweepSpec

SOME_FAILED = 1
INTERRUPTED = 130


def storage(command: Callable) -> Callable:
    """The option of every verb that looks for a sweep by its name."""
    text = "Folder of all sweeps, or s3://BUCKET/PREFIX [default: the spec's, or sweep-data]."
    return click.option("--storage", metavar="PLACE", help=text)(command)


def checked(file: Path, storage: str | None) -> SweepSpec:
    """The spec in `file`, also with a look at the earlier sweeps that it learns from.

    Raises:
        SpecError: all mistakes found, each with its line.
    """
    from sweeps.driver.folder import check_lenders, folder_of
    from sweeps.reading import load, placed_in

    spec = load(file)
    folder = folder_of(spec.name, storage or spec.storage)
    with placed_in(file):
        check_lenders(spec, folder)
    return spec


def running(command: Callable) -> Callable:
    """Options of the verbs that run trials."""
    for option in (
        click.option(
            "--json", "as_json", is_flag=True, help="Print each new record as a JSON line."
        ),
        click.option("--address", metavar="HOST:PORT", help="Ray cluster [default: this machine]."),
    ):
        command = option(command)
    return storage(command)


def clear_errors(command: Callable) -> Callable:
    """Print our own errors as one message a line and exit with their status."""

    @wraps(command)
    def wrapped(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except SweepError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            sys.exit(error.exit_status)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            click.echo(f"error: {error.filename or 'a file'}: {error.strerror}", err=True)
            sys.exit(SweepError.exit_status)

    return wrapped


def place(storage: str) -> list[str]:
    """The option that names `storage`, for a command to print; none for the default."""
    from sweeps import STORAGE

    return [] if storage == STORAGE else ["--storage", storage]


def echo(text: str) -> None:
    """Pass on what comes from elsewhere, its line ends included."""
    click.echo(text, nl=False)


class Detaching:
    """A context in which Ctrl-C prints `text` and ends the command: work goes on elsewhere."""

    def __init__(self, text: str):
        self._text = text

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is KeyboardInterrupt:
            click.echo(f"\n{self._text}", err=True)
            sys.exit(0)
