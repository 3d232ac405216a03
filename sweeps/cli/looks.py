"""The verbs that run no trials. No logic: each calls a Python function of the same meaning."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from sweeps.cli import options
from sweeps.cli.elsewhere import Anywhere, AnywhereUi


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.clear_errors
def check(file: Path) -> None:
    """Check a spec and print what it would run, starting nothing."""
    from sweeps.preview import preview
    from sweeps.reading import load

    click.echo(preview(load(file)))


@click.command(cls=Anywhere)
@click.argument("name")
@options.storage
@options.clear_errors
def stop(name: str, storage: str | None) -> None:
    """Have a running sweep write its checkpoints and end; `resume` goes on."""
    import sweeps

    place = storage or sweeps.STORAGE
    if not sweeps.stop(name, storage=place):
        click.echo(f"{name} is not running")
        return
    again = shlex.join(["sweeps", "resume", name, *options.place(place)])
    click.echo(f"{name} has stopped; all is kept. Go on with: {again}")


@click.command(cls=Anywhere)
@click.argument("name", required=False)
@options.storage
@click.option("--json", "as_json", is_flag=True, help="As one JSON object; needs NAME.")
@options.clear_errors
def status(name: str | None, storage: str | None, as_json: bool) -> None:
    """Say where a sweep stands, and what failed where and why; without NAME, list all sweeps."""
    import sweeps
    from sweeps.driver.folder import folder_of
    from sweeps.report.status import listing, status

    place = storage or sweeps.STORAGE
    if name is None:
        click.echo(listing(folder_of(".", place)), nl=False)
        return
    click.echo(status(sweeps.load(name, storage=place), as_json), nl=False)


@click.command(cls=Anywhere)
@click.argument("name")
@click.argument("trial", required=False, type=click.IntRange(min=0))
@options.storage
@options.clear_errors
def logs(name: str, trial: int | None, storage: str | None) -> None:
    """Print the end of a sweep's logs, or all there is to know of one TRIAL by its number."""
    import sweeps
    from sweeps.report.logs import of_sweep, of_trial

    sweep = sweeps.load(name, storage=storage or sweeps.STORAGE)
    click.echo(of_sweep(sweep.folder) if trial is None else of_trial(sweep, trial))


@click.command(cls=Anywhere)
@click.argument("name")
@options.storage
@options.clear_errors
def report(name: str, storage: str | None) -> None:
    """Write and print a sweep's table and figures, finished or not."""
    import sweeps
    from sweeps.report.tables import show
    from sweeps.report.write import write

    sweep = sweeps.load(name, storage=storage or sweeps.STORAGE)
    write(sweep.folder)
    show(sweep)


@click.command(cls=Anywhere)
@click.argument("name")
@options.storage
@options.clear_errors
def sync(name: str, storage: str | None) -> None:
    """Bring MLflow up to date from a sweep's folder, also when its store was lost."""
    import sweeps
    from sweeps.track import tracker

    if not tracker.sync(sweeps.load(name, storage=storage or sweeps.STORAGE).folder):
        click.echo("error: MLflow did not take everything; see the log above", err=True)
        sys.exit(options.SOME_FAILED)


@click.command(cls=AnywhereUi)
@click.argument("name")
@options.storage
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on loopback [default: 5000, or a free one]."
)
@options.clear_errors
def ui(name: str, storage: str | None, port: int | None) -> None:
    """Serve the MLflow UI over a sweep's store, on loopback."""
    import sweeps
    from sweeps.track.ui import serve

    serve(sweeps.load(name, storage=storage or sweeps.STORAGE).folder, port)
