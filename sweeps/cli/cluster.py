"""The verbs for clusters alone. No logic: each calls a Python function of the same meaning."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sweeps.cli import options
from sweeps.cli.elsewhere import detaching


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cluster", metavar="FILE", help="The file that `ray up` took.")
@click.option("--address", metavar="HOST:PORT", help="Ray's job server, such as 127.0.0.1:8265.")
@click.option(
    "--storage", metavar="DIR", help="Folder of all sweeps there [default: as set there]."
)
@click.option("--detach", is_flag=True, help="Return when it has been handed in.")
@options.clear_errors
def submit(
    file: Path, cluster: str | None, address: str | None, storage: str | None, detach: bool
) -> None:
    """Run the sweep of a spec on a cluster, and follow it; Ctrl-C lets it go on alone."""
    from sweeps.cluster import file as files
    from sweeps.cluster import jobs

    if bool(cluster) == bool(address):
        raise click.UsageError("give either --cluster FILE or --address HOST:PORT")
    with jobs.server(files.read(cluster) if cluster else None, address) as client:
        job = jobs.submit(client, file, storage, click.echo)
        name = job.rsplit("-", 3)[0]
        click.echo(f"{name}: job {job}. Ctrl-C detaches, and the sweep goes on")
        if detach:
            return
        with detaching(name, f"--cluster {cluster}" if cluster else ""):
            sys.exit(jobs.follow(client, job, options.echo))


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cluster", metavar="FILE", help="Try it on this cluster [default: here].")
@click.option("--address", help="Ray cluster to try it on [default: this machine without Ray].")
@options.clear_errors
def preview(file: Path, cluster: str | None, address: str | None) -> None:
    """Train a few steps of the smallest and the largest trial, and print what all will take."""
    if cluster and address:
        raise click.UsageError("--address and --cluster each name a cluster. Give one")
    if cluster:
        from sweeps.cluster import file as files
        from sweeps.cluster import jobs

        with jobs.server(files.read(cluster), None) as client:
            sys.exit(jobs.follow(client, jobs.preview(client, file, click.echo), options.echo))
    from sweeps.preview import in_words

    spec = options.checked(file, None)
    from sweeps.tryout import try_out, try_out_on  # here: imports Ray, which asks no token of jobs

    click.echo(in_words(spec, try_out_on(spec, address) if address else try_out(spec)))


@click.command()
@click.argument("cluster", metavar="FILE")
@options.clear_errors
def down(cluster: str) -> None:
    """Take a cluster down: Ray on every machine, then `ray down`. Sweeps can be resumed later."""
    from sweeps.cluster import file as files
    from sweeps.cluster.down import down

    sys.exit(down(files.read(cluster), click.echo))


@click.command()
@click.argument("cluster", metavar="[FILE]", required=False)
@options.clear_errors
def doctor(cluster: str | None) -> None:
    """Say what this machine, or a cluster by its FILE, lacks for a sweep, and the remedy."""
    from sweeps.cluster.doctor import examine

    wrong = False
    for finding in examine(cluster):
        click.echo(str(finding))
        wrong = wrong or bool(finding.remedy)
    sys.exit(2 if wrong else 0)
