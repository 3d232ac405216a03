"""The verbs. No logic: each calls a Python function of the same meaning."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from sweeps.errors import UNWRITABLE, SweepError, SweepStopped

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
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            click.echo(f"error: {error.filename or 'a file'}: {error.strerror}", err=True)
            sys.exit(SweepError.exit_status)

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
@click.argument("name", required=False)
@click.option("--smoke", is_flag=True, help="Try it in a minute on a CPU; figures mean nothing.")
@click.option("--data", metavar="DIR", help="Folder that holds the data [default: the spec's].")
@_running
@_clear_errors
def reproduce(
    name: str | None, smoke: bool, data: str | None, as_json: bool, **place: str | None
) -> None:
    """List the published experiments, or run one by NAME."""
    import sweeps
    from sweeps import experiments

    if name is None:
        click.echo(experiments.listing())
        return
    spec = experiments.spec_of(name, smoke=smoke, data=data)
    if smoke:
        click.echo(experiments.note(spec), err=True)
    _drive(
        lambda view: sweeps.run(spec, observe=view, **place),
        as_json,
        spec.name,
        place["storage"] or spec.storage,
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


@main.command()
@click.argument("name")
@click.option("--trials", type=click.IntRange(min=0), default=0, help="So many more.")
@click.option("--epochs", type=click.IntRange(min=1), help="The new last epoch.")
@click.option("--max-trials", type=click.IntRange(min=1), help="New budget: trials.")
@click.option("--max-epochs", type=click.IntRange(min=1), help="New budget: epochs in all.")
@click.option("--max-hours", type=float, help="New budget: hours by the clock.")
@click.option("--max-gpu-hours", type=float, help="New budget: GPU-hours.")
@_running
@_clear_errors
def extend(name: str, storage: str | None, as_json: bool, **options: Any) -> None:
    """Add trials, epochs or budget to a sweep, then go on with it."""
    import sweeps

    place = storage or sweeps.STORAGE
    _drive(
        lambda view: sweeps.extend(name, storage=place, observe=view, **options),
        as_json,
        name,
        place,
    )


@main.command()
@click.argument("name")
@click.option("--failed", is_flag=True, required=True, help="The trials that raised or died.")
@_running
@_clear_errors
def retry(name: str, failed: bool, storage: str | None, address: str | None, as_json: bool) -> None:
    """Run failed trials once more, from their last checkpoints."""
    import sweeps

    place = storage or sweeps.STORAGE
    _drive(
        lambda view: sweeps.retry(name, storage=place, address=address, observe=view),
        as_json,
        name,
        place,
    )


@main.command()
@click.argument("name")
@_storage
@_clear_errors
def stop(name: str, storage: str | None) -> None:
    """Have a running sweep write its checkpoints and end; `resume` goes on."""
    import sweeps

    place = storage or sweeps.STORAGE
    if not sweeps.stop(name, storage=place):
        click.echo(f"{name} is not running")
        return
    again = shlex.join(["sweeps", "resume", name, *_place(place)])
    click.echo(f"{name} has stopped; all is kept. Go on with: {again}")


@main.command()
@click.argument("name")
@_storage
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@_clear_errors
def status(name: str, storage: str | None, as_json: bool) -> None:
    """Say where a sweep stands, and what failed where and why."""
    import sweeps
    from sweeps.report.status import status

    click.echo(status(sweeps.load(name, storage=storage or sweeps.STORAGE), as_json), nl=False)


def _place(storage: str) -> list[str]:
    from sweeps import STORAGE

    return [] if storage == STORAGE else ["--storage", storage]


def _drive(start: Callable[[Any], Any], as_json: bool, name: str, storage: str) -> None:
    """Run with the view that suits the output; then the table, or how to go on."""
    from sweeps.driver.views import view

    try:
        with view(as_json) as shown:
            sweep = start(shown)
    except (KeyboardInterrupt, SweepStopped) as end:
        word = "Stopped" if isinstance(end, SweepStopped) else "Interrupted"
        click.echo(f"\n{word}{_how_to_go_on(name, storage)}", err=True)
        sys.exit(INTERRUPTED)
    if not as_json:
        from sweeps.report.tables import show

        show(sweep)
    failed = any(trial.status == "failed" for trial in sweep.state.trials.values())
    sys.exit(SOME_FAILED if failed else 0)  # a diverged trial is a finding, not a failure


def _how_to_go_on(name: str, storage: str) -> str:
    """What is kept, and the command that goes on."""
    import sweeps

    try:
        finished = sweeps.load(name, storage=storage).state.finished
    except SweepError:  # before the first record
        finished = False
    verb = "report" if finished else "resume"
    again = shlex.join(["sweeps", verb, name, *_place(storage)])
    if finished:
        return f" after the last trial; all is kept. The report: {again}"
    return f"; all finished epochs are kept. Go on with: {again}"


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
