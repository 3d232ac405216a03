"""The verbs. No logic: each calls a Python function of the same meaning."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from sweeps.errors import SweepError

SOME_FAILED = 1
INTERRUPTED = 130


def _storage(command: Callable) -> Callable:
    text = "Folder of all sweeps [default: the spec's, or sweep-data]."
    return click.option("--storage", metavar="DIR", help=text)(command)


def _running(command: Callable) -> Callable:
    """Options of the verbs that run trials."""
    for option in (
        click.option(
            "--json", "as_json", is_flag=True, help="Print each new record as a JSON line."
        ),
        click.option("--address", metavar="HOST:PORT", help="Ray cluster [default: this machine]."),
    ):
        command = option(command)
    return _storage(command)


def _clear_errors(command: Callable) -> Callable:
    """Print our own errors as one message a line and exit with their status."""

    @wraps(command)
    def wrapped(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except SweepError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            sys.exit(error.exit_status)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ghost-noise-sweeps")
def main() -> None:
    """Find out how much ghost noise a network wants: search, stop early, record, resume."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # the user's own models, data and loops


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@_clear_errors
def check(file: Path) -> None:
    """Check a spec and print what it would run, starting nothing."""
    from sweeps.preview import preview
    from sweeps.reading import load

    click.echo(preview(load(file)))


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@_running
@_clear_errors
def run(file: Path, storage: str | None, address: str | None, as_json: bool) -> None:
    """Run the sweep of a spec; if its folder is there already, go on with it."""
    import sweeps
    from sweeps.reading import load

    spec = load(file)
    _drive(
        lambda view: sweeps.run(spec, storage=storage, address=address, observe=view),
        as_json,
        spec.name,
        storage or spec.storage,
    )


@main.command()
@click.argument("name")
@_running
@_clear_errors
def resume(name: str, storage: str | None, address: str | None, as_json: bool) -> None:
    """Go on with a sweep from its journal and checkpoints."""
    import sweeps

    place = storage or sweeps.STORAGE
    sweeps.load(name, storage=place)
    _drive(
        lambda view: sweeps.resume(name, storage=place, address=address, observe=view),
        as_json,
        name,
        place,
    )


def _drive(start: Callable[[Any], Any], as_json: bool, name: str, storage: str) -> None:
    """Run with the view that suits the output; then the table, or how to go on."""
    from sweeps import STORAGE
    from sweeps.driver.views import view

    place = [] if storage == STORAGE else ["--storage", storage]
    try:
        with view(as_json) as shown:
            sweep = start(shown)
    except KeyboardInterrupt:
        click.echo(f"\n{_interrupted(name, storage, place)}", err=True)
        sys.exit(INTERRUPTED)
    if not as_json:
        from sweeps.report.tables import show

        show(sweep)
    failed = any(trial.status == "failed" for trial in sweep.state.trials.values())
    sys.exit(SOME_FAILED if failed else 0)  # a diverged trial is a finding, not a failure


def _interrupted(name: str, storage: str, place: list[str]) -> str:
    """What is kept, and how to go on."""
    import sweeps

    try:
        finished = sweeps.load(name, storage=storage).state.finished
    except SweepError:  # before the first record
        finished = False
    if finished:
        again = shlex.join(["sweeps", "report", name, *place])
        return f"Interrupted after the last trial; all is kept. The report: {again}"
    again = shlex.join(["sweeps", "resume", name, *place])
    return f"Interrupted; all finished epochs are kept. Go on with: {again}"


@main.command()
@click.argument("name")
@_storage
@_clear_errors
def report(name: str, storage: str | None) -> None:
    """Write and print a sweep's table and figures, finished or not."""
    import sweeps
    from sweeps.report.tables import show
    from sweeps.report.write import write

    sweep = sweeps.load(name, storage=storage or sweeps.STORAGE)
    write(sweep.folder)
    show(sweep)


@main.command()
@click.argument("name")
@_storage
@_clear_errors
def sync(name: str, storage: str | None) -> None:
    """Bring MLflow up to date from a sweep's folder, also when its store was lost."""
    import sweeps
    from sweeps.track import tracker

    if not tracker.sync(sweeps.load(name, storage=storage or sweeps.STORAGE).folder):
        click.echo("error: MLflow did not take everything; see the log above", err=True)
        sys.exit(SOME_FAILED)


@main.command()
@click.argument("name")
@_storage
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on loopback [default: 5000, or a free one]."
)
@_clear_errors
def ui(name: str, storage: str | None, port: int | None) -> None:
    """Serve the MLflow UI over a sweep's store, on loopback."""
    import sweeps
    from sweeps.track.ui import serve

    serve(sweeps.load(name, storage=storage or sweeps.STORAGE).folder, port)
