"""The summary of a sweep as text, for a terminal, a pipe or a file: 80 columns are enough."""

from __future__ import annotations

import io
import math
from collections import Counter
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweeps.report import children
from sweeps.report.confirmation import confirmation
from sweeps.report.confirmed import shown
from sweeps.report.replicates import summary_rows
from sweeps.report.results import Sweep, effective_size
from sweeps.report.status import in_brief
from sweeps.selection import epochs_in_full, expected
from sweeps.spec import NU, STRENGTH
from sweeps.storage import truth

_SHOWN = 10
_MOST_CONFIGURATIONS = 40
_WIDTH = 80
_CELL = 7
_ROOM = 37
"""Columns left for parameters beside those that every table has, and what one takes at least."""


def show(sweep: Sweep, console: Console | None = None) -> None:
    """Print the summary, and where the report is if it was written."""
    console = console or Console(highlight=False)
    if console.is_terminal:
        console.print(summary(sweep))
    else:
        console.print(Text(as_text(sweep)), soft_wrap=True)  # a pipe has no width to fold at
    if (sweep.folder / "report" / "index.html").exists():
        page = truth(sweep.folder) / "report" / "index.html"
        console.print(Text(f"Report: {page}"), soft_wrap=True)


def as_text(sweep: Sweep) -> str:
    """The summary as plain text, 80 columns wide."""
    out = io.StringIO()
    Console(file=out, width=_WIDTH, highlight=False, no_color=True).print(summary(sweep))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def summary(sweep: Sweep) -> RenderableType:
    """Head, the best trials, failures, and what these figures can and cannot say."""
    parts: list[RenderableType] = [_head(sweep)]
    if sweep.ranked():
        parts.append(_top(sweep))
    if sweep.front:
        parts.append(_front(sweep))
    if rows := summary_rows(sweep):
        parts.append(_over_seeds(sweep, rows))
    if found := confirmation(sweep):
        parts.append(shown(found))
    parts += [Text(f"• {line}") for line in missing(sweep)]
    parts += [Text(f"✗ {line}") for line in in_brief(sweep)]
    if sweep.ranked():
        said = Text(caution(sweep) + _about_noise(sweep), style="dim")
        parts.append(Padding(said, (1, 0, 0, 0)))
    return Group(*parts)


def missing(sweep: Sweep) -> list[str]:
    """What a reader would look for and not find, one sentence each."""
    trials = sweep.state.trials.values()
    if not trials:
        return ["No trial was started."]
    out = []
    if not any(sweep.value(t) is not None for t in trials):
        out.append(f"No trial reported {sweep.spec.objective.metric}.")
    elif sweep.best is None:
        out.append("No trial was trained in full, and those with a value failed: there is no best.")
    elif not any(t.status == "finished" for t in sweep.searched()):
        out.append("No trial was trained in full: the best is one that was cut short.")
    unended = sum(t.end is None for t in trials)
    if unended:
        out.append(f"{unended} of {len(trials)} trials have not ended.")
    return out


def _head(sweep: Sweep) -> RenderableType:
    spec, trials = sweep.spec, sweep.state.trials.values()
    counts = Counter(map(sweep.status, trials))
    by_status = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    total = expected(sweep.state)
    epochs, most = sum(len(t.results) for t in trials), epochs_in_full(sweep.state, total)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(spec.name, standing(sweep))
    on = f"({spec.model.name} on {spec.data.name})"
    grid.add_row("search", f"{spec.search.sampler} for {spec.objective.aims} {on}")
    grid.add_row("trials", f"{len(trials)} of {total}: {by_status or 'none started'}")
    grid.add_row("epochs", f"{epochs} trained; {most} without early stopping")
    best = sweep.best
    if best:
        where = ", ".join(
            f"{sweep.labels.get(path, path)} {_number(value)}"
            for path, value in best.params.items()
        )
        score = f"{_number(best.value)} after {best.epochs} epochs"
        grid.add_row("best", f"{score}: trial {best.trial}, {where or 'nothing varied'}")
    if line := children.said(sweep):
        grid.add_row("gone on", line)
    if found := confirmation(sweep):
        grid.add_row("verdict", found.verdict)
    return grid


def standing(sweep: Sweep) -> str:
    """How the sweep ended or stands, in a word or a short reason."""
    if sweep.state.finished:
        return "finished"
    last = sweep.state.sessions[-1] if sweep.state.sessions else {}
    started = "running" if sweep.at_work else "interrupted: its driver died"
    known = {
        "started": started,
        "interrupted": "interrupted",
        "stopped": "stopped",
        "budget": last.get("reason"),
        "refused": f"refused: {last.get('reason')}",
    }
    return known.get(last.get("state", "")) or "not finished"


def _top(sweep: Sweep) -> RenderableType:
    varied = {p: s for p, s in sweep.labels.items() if sweep.spec.space[p].kind != "fixed"}
    ranked = sweep.ranked()[:_SHOWN]
    noises = {t.number: sweep.noise(t) for t in ranked}
    with_noise = any(noises.values())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("trial", sweep.spec.objective.metric, "epochs"):
        table.add_column(name, justify="right")
    apart = sum(max(len(name), _CELL) + 2 for name in varied.values()) <= _ROOM
    for name in varied.values() if apart else ["parameters"]:
        table.add_column(name, justify="right" if apart else "left", overflow="fold")
    if with_noise:
        table.add_column("N/s²", justify="right")
    table.add_column("status")
    for trial in ranked:
        cells = {short: _number(trial.params.get(path)) for path, short in varied.items()}
        row = [str(trial.number), _number(sweep.value(trial)), str(trial.epoch)]
        row += cells.values() if apart else [" ".join(f"{k}={v}" for k, v in cells.items())]
        if with_noise:
            noise = noises[trial.number]
            row.append(_number(effective_size(noise), 3) if noise else "no noise")
        style = None if trial.status == "finished" else "dim"
        table.add_row(*row, sweep.status(trial), style=style)
    return table


def _front(sweep: Sweep) -> RenderableType:
    """The front of two objectives, its best in the first one first."""
    aims, front = sweep.spec.objective, sweep.front
    assert aims.second is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("on the front", aims.metric, aims.second.metric):
        table.add_column(name, justify="right")
    table.add_column("parameters", overflow="fold")
    for each in front[:_SHOWN]:
        cells = (f"{sweep.labels.get(p, p)}={_number(v)}" for p, v in each.params.items())
        pair = (_number(each.value), _number(each.second))
        table.add_row(str(each.trial), *pair, " ".join(cells))
    more = len(front) - _SHOWN
    return Group(table, Text(f"and {more} more: trials.csv", style="dim")) if more > 0 else table


def _over_seeds(sweep: Sweep, rows: list[dict[str, Any]]) -> RenderableType:
    """Mean ± sample standard deviation of each configuration, in the order of the grid."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("configuration", overflow="fold")
    for name in ("n", f"{sweep.spec.objective.metric}, mean ± sd"):
        table.add_column(name, justify="right")
    with_slope = any("slope" in row for row in rows)
    if with_slope:
        table.add_column("distance / ln(update)", justify="right")
    for row in rows[:_MOST_CONFIGURATIONS]:
        cells = [row["configuration"], str(row["n"]), _spread(row["mean"], row["sd"])]
        if with_slope:
            cells.append(_spread(row.get("slope"), row.get("slope_sd")))
        table.add_row(*cells)
    if len(rows) <= _MOST_CONFIGURATIONS:
        return table
    more = f"and {len(rows) - _MOST_CONFIGURATIONS} more: configurations.csv"
    return Group(table, Text(more, style="dim"))


def _spread(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def caution(sweep: Sweep) -> str:
    """How far the figures of this sweep can be trusted."""
    seeds: dict[str, set[int]] = {}
    for trial in sweep.searched():
        seeds.setdefault(repr(sorted(trial.params.items())), set()).add(trial.seed)
    least, most = min(map(len, seeds.values())), max(map(len, seeds.values()))
    n = f"n = {most if least == most else f'{least} to {most}'} seed{'s' * (most > 1)}"
    n += " a configuration"
    best = f"the best of {len(sweep.searched())} looks better than it is."
    tested = any(trial.of is not None for trial in sweep.state.trials.values())
    untouched = "It did not see test data." if tested else "Test data was not touched."
    return (
        f"These are test figures of a study without selection, {n}: {best}"
        if sweep.spec.data.evaluate == "test"
        else f"These are validation figures of a search, {n}: {best} {untouched}"
    )


def _about_noise(sweep: Sweep) -> str:
    """What N/s² means, where the best trials have noise; empty elsewhere."""
    if not any(sweep.noise(t) for t in sweep.ranked()[:_SHOWN]):
        return ""
    text = (
        " N/s² (ghost size N, strength s) is the ghost size that makes as much noise at "
        "strength 1; along the ridge of equal ν = s²/N the noise is constant."
    )
    if not {NU, STRENGTH} & set(sweep.spec.space):
        return text
    stated = "nu = s²/N and N: s = √(nu·N)" if NU in sweep.spec.space else "s and N"
    return f"{text} The space was stated in {stated}."


def _number(value: Any, digits: int = 4) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        whole = 10.0**digits <= abs(value) < 1e7
        return "∞" if math.isinf(value) else f"{value:.0f}" if whole else f"{value:.{digits}g}"
    return str(value)
