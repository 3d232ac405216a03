"""The verbs that run trials. No logic: each calls a Python function of the same meaning."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sweeps.cli import options
from sweeps.cli.elsewhere import AnywhereAsJob
from sweeps.errors import SweepError, SweepStopped


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "start_from",
    metavar="CHECKPOINT",
    help="Start every trial from these weights: a checkpoint's path, or the id of an MLflow run.",
)
@options.running
@options.clear_errors
def run(file: Path, as_json: bool, storage: str | None, **more: str | None) -> None:
    """Run the sweep of a spec; if its folder is there already, go on with it."""
    import sweeps

    spec = options.checked(file, storage)
    _drive(
        lambda view: sweeps.run(spec, storage=storage, observe=view, **more),
        as_json,
        spec.name,
        storage or spec.storage,
    )


@click.command()
@click.argument("name", required=False)
@click.option("--smoke", is_flag=True, help="Try it in a minute on a CPU; figures mean nothing.")
@click.option("--data", metavar="DIR", help="Folder that holds the data [default: the spec's].")
@options.running
@options.clear_errors
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


@click.command(cls=AnywhereAsJob)
@click.argument("name")
@options.running
@options.clear_errors
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


@click.command(cls=AnywhereAsJob)
@click.argument("name")
@click.option("--trials", type=click.IntRange(min=0), default=0, help="So many more.")
@click.option("--epochs", type=click.IntRange(min=1), help="The new last epoch.")
@click.option(
    "--restart-schedule",
    is_flag=True,
    help="Each trial trained in full goes on as a new one to --epochs, its cosine begun anew; "
    "one without a cosine as it was.",
)
@click.option("--max-trials", type=click.IntRange(min=1), help="New budget: trials.")
@click.option("--max-epochs", type=click.IntRange(min=1), help="New budget: epochs in all.")
@click.option("--max-hours", type=float, help="New budget: hours by the clock.")
@click.option("--max-gpu-hours", type=float, help="New budget: GPU-hours.")
@options.running
@options.clear_errors
def extend(name: str, storage: str | None, as_json: bool, **more: Any) -> None:
    """Add trials, epochs or budget to a sweep, then go on with it.

    Trials that had failed before stay as they are (see `retry`) and do not count for the exit
    status.
    """
    import sweeps

    place = storage or sweeps.STORAGE
    _drive(
        lambda view: sweeps.extend(name, storage=place, observe=view, say=view.note, **more),
        as_json,
        name,
        place,
    )


@click.command(cls=AnywhereAsJob)
@click.argument("name")
@click.option("--failed", is_flag=True, help="The trials that raised or died.")
@click.option("--gpus", is_flag=True, help="GPUs that were left out, once they are mended.")
@options.running
@options.clear_errors
def retry(name: str, storage: str | None, as_json: bool, **what: Any) -> None:
    """Run failed trials once more, from their last checkpoints; or use GPUs again."""
    import sweeps

    if not (what["failed"] or what["gpus"]):
        raise click.UsageError("say what: --failed, --gpus or both")
    place = storage or sweeps.STORAGE
    _drive(
        lambda view: sweeps.retry(name, storage=place, observe=view, **what),
        as_json,
        name,
        place,
    )


def _drive(start: Callable[[Any], Any], as_json: bool, name: str, storage: str) -> None:
    """Run with the view that suits the output; then the table, or how to go on."""
    from sweeps.driver.views import view

    try:
        with view(as_json) as shown:
            sweep = start(shown)
    except (KeyboardInterrupt, SweepStopped) as end:
        word = "Stopped" if isinstance(end, SweepStopped) else "Interrupted"
        click.echo(f"\n{word}{_how_to_go_on(name, storage)}", err=True)
        sys.exit(options.INTERRUPTED)
    if not as_json:
        from sweeps.report.tables import show

        show(sweep)
    from sweeps.progress import failed

    sys.exit(options.SOME_FAILED if failed(sweep.state) else 0)


def _how_to_go_on(name: str, storage: str) -> str:
    """What is kept, and the command that goes on."""
    import sweeps

    try:
        finished = sweeps.load(name, storage=storage).state.finished
    except SweepError:  # before the first record
        finished = False
    verb = "report" if finished else "resume"
    again = shlex.join(["sweeps", verb, name, *options.place(storage)])
    if finished:
        return f" after the last trial; all is kept. The report: {again}"
    return f"; all finished epochs are kept. Go on with: {again}"
