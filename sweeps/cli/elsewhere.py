"""Verbs that work on a cluster as they do here: with `--cluster` they run on its head instead."""

from __future__ import annotations

import sys
from typing import Any

import click

from sweeps.cli import options

_OPTION = "--cluster"


class Anywhere(click.Command):
    """A verb with the option `--cluster FILE`, which runs the very same words on the head."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        text = "Run it on the head of this cluster [default: here]."
        self.params.append(click.Option([_OPTION], metavar="FILE", help=text))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words as they were written, for the head to parse once more."""
        ctx.meta["words"] = _without_cluster(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it there or here."""
        file = ctx.params.pop("cluster")
        if not file:
            return super().invoke(ctx)
        if ctx.params.get("address"):
            raise click.UsageError("--address and --cluster each name a cluster. Give one")
        sys.exit(options.clear_errors(self._there)(file, ctx))

    def _there(self, file: str, ctx: click.Context) -> int:
        from sweeps.cluster import file as files
        from sweeps.cluster import there

        cluster = files.read(file)
        status = there.run(cluster, str(self.name), ctx.meta["words"])
        if self.name == "status" and not ctx.params["name"]:
            click.echo(there.resources(cluster), nl=False)
        return status


class AnywhereUi(Anywhere):
    """The one that shows web pages: those of a cluster come through tunnels."""

    def _there(self, file: str, ctx: click.Context) -> int:
        from sweeps.cluster import file as files
        from sweeps.cluster.ui import look

        for name in ("optuna", "storage"):
            if ctx.params[name]:
                raise click.UsageError(f"--{name} is for a sweep here; leave it out with {_OPTION}")
        look(files.read(file), ctx.params["name"], ctx.params["port"], click.echo)
        return 0


class AnywhereAsJob(Anywhere):
    """One that runs trials: a job, which goes on when this command has gone."""

    def _there(self, file: str, ctx: click.Context) -> int:
        from sweeps.cluster import file as files
        from sweeps.cluster import there

        name = ctx.params["name"]
        with detaching(name, f"{_OPTION} {file}"):
            say = options.echo
            return there.start(files.read(file), str(self.name), ctx.meta["words"], name, say)


def detaching(name: str, place: str) -> options.Detaching:
    """Let Ctrl-C leave a sweep to itself, saying how to find it again."""
    return options.Detaching(f"Detached; {name} goes on. Watch it: sweeps status {name} {place}")


def _without_cluster(words: list[str]) -> list[str]:
    """The words less `--cluster FILE` and `--cluster=FILE`."""
    left, skip = [], False
    for word in words:
        if not skip and word != _OPTION and not word.startswith(_OPTION + "="):
            left.append(word)
        skip = word == _OPTION
    return left
