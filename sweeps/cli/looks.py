"""The verbs that run no trials. No logic: each calls a Python function of the same meaning."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sweeps.cli import options
from sweeps.cli.elsewhere import Anywhere, AnywhereUi
from sweeps.errors import SweepError
from sweeps.report.exports import FORMATS

if TYPE_CHECKING:
    from sweeps.report.results import Sweep


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.storage
@options.clear_errors
def check(file: Path, storage: str | None) -> None:
    """Check a spec and print what it would run, starting nothing.

    Earlier sweeps that it learns from (`search.from`) are looked for in the storage, as by `run`.
    """
    from sweeps.preview import preview

    click.echo(preview(options.checked(file, storage)))


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
@click.option("--watch", is_flag=True, help="Show NAME's progress until it ends, or Ctrl-C.")
@options.clear_errors
def status(name: str | None, storage: str | None, as_json: bool, watch: bool) -> None:
    """Say where a sweep stands, and what failed where and why; without NAME, list all sweeps."""
    import sweeps
    from sweeps.driver.folder import folder_of
    from sweeps.report.status import listing, status

    place = storage or sweeps.STORAGE
    if watch and as_json:
        raise click.UsageError("--watch is for people and --json for programs: use one of them")
    if name is None:
        if watch or as_json:
            raise click.UsageError(f"{'--watch' if watch else '--json'} needs NAME")
        click.echo(listing(folder_of(".", place)), nl=False)
        return
    if watch:
        from sweeps.report.watch import watch as follow

        follow(folder_of(name, place))
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
@click.option("--format", "form", type=click.Choice(FORMATS), help="Export instead of a report.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The export's file.")
@options.clear_errors
def report(name: str, storage: str | None, form: str | None, output: Path | None) -> None:
    """Write a sweep's page, tables and figures, and print its summary, finished or not.

    With --format, print the results (or write them to --output) for another program instead.
    """
    import sweeps
    from sweeps.driver.folder import folder_of
    from sweeps.report.tables import show
    from sweeps.report.write import write

    place = storage or sweeps.STORAGE
    if form:
        _export(sweeps.load(name, storage=place), form, output)
        return
    if output:
        raise click.UsageError("--output goes with --format")
    begun = time.monotonic()
    write(folder_of(name, place))
    took = time.monotonic() - begun
    show(sweeps.load(name, storage=place))
    click.echo(f"written in {took:.1f} s")


def _export(sweep: Sweep, form: str, output: Path | None) -> None:
    from sweeps.report.exports import exported

    if form == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("parquet is not for a terminal; say where with --output FILE")
    content = exported(sweep, form)
    if output:
        try:
            output.write_bytes(content)
        except OSError as error:
            raise SweepError(f"{output} cannot be written: {error.strerror}") from None
    else:
        sys.stdout.buffer.write(content)


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
@click.option("--optuna", is_flag=True, help="Optuna's dashboard over the study instead.")
@options.clear_errors
def ui(name: str, storage: str | None, port: int | None, optuna: bool) -> None:
    """Serve the MLflow UI over a sweep's store, on loopback."""
    import sweeps

    sweep = sweeps.load(name, storage=storage or sweeps.STORAGE)
    if optuna:
        from sweeps.report import dashboard

        dashboard.serve(sweep, port)
        return
    from sweeps.track.ui import serve

    serve(sweep.folder, port)
