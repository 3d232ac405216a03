"""The command line, a thin skin over the Python names: one command a verb."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sweeps.cli import cluster, looks, runs

_VERBS = (
    looks.check,
    cluster.preview,
    runs.run,
    cluster.submit,
    cluster.down,
    cluster.doctor,
    runs.reproduce,
    runs.resume,
    runs.extend,
    runs.retry,
    looks.stop,
    looks.status,
    looks.logs,
    looks.report,
    looks.sync,
    looks.ui,
)


_EXITS = """\b
Exit status:
  0    all is well; a trial that diverged is a finding
  1    a trial failed since the sweep was begun or, if it was, last extended
  2    bad input, or surroundings that lack what the sweep needs
  3    a damaged journal or checkpoint, or a cluster that does not answer
  130  stopped or interrupted; `resume` goes on"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXITS,
)
@click.version_option(package_name="ghost-noise-sweeps")
def main() -> None:
    """Find out how much ghost noise a network wants: search, stop early, record, resume."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # the user's own models, data and loops


for _verb in _VERBS:
    main.add_command(_verb)
