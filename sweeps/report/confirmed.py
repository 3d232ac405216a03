"""The confirmation as text: arms on test data, comparisons, what is missing."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweeps.confirmed.verdict import in_points
from sweeps.report.confirmation import Comparison, Confirmation
from sweeps.statistics import FEWEST, Interval


def shown(found: Confirmation) -> RenderableType:
    """All of it but the verdict, 80 columns wide."""
    parts: list[RenderableType] = []
    if any(arm.values for arm in found.arms):
        parts.append(_arms(found))
    if found.comparisons:
        parts.append(_comparisons(found))
    parts += [Text(f"• {line}") for line in found.missing]
    if found.arms:
        parts.append(Padding(Text(_note(found), style="dim"), (1, 0, 0, 0)))
    return Group(*parts)


def _arms(found: Confirmation) -> RenderableType:
    table = _table("configuration", "n", f"{found.metric}, mean ± sd")
    table.add_column(f"{100 * found.confidence:g} %", justify="right", no_wrap=True)
    table.add_column("IQM", justify="right", no_wrap=True)
    for arm in found.arms:
        spread = _fixed(arm.mean) + ("" if arm.sd is None else f" ± {arm.sd:.4f}")
        middle = _fixed(arm.interquartile_mean)
        table.add_row(arm.title, str(len(arm.values)), spread, _ends(arm.interval), middle)
    return table


def _comparisons(found: Confirmation) -> RenderableType:
    points = in_points(found.metric)
    scale, digits = (100, 2) if points else (1, 4)
    table = _table("comparison", "n", "points" if points else "difference")
    for name in ("P(better)", "p (Holm)", "found"):
        table.add_column(name, justify="left" if name == "found" else "right", no_wrap=True)
    for each in found.comparisons:
        table.add_row(
            f"{each.arm} - {each.baseline}",
            str(each.n),
            _difference(each, scale, digits),
            _fixed(each.improvement, 2),
            "-" if each.adjusted is None else f"{each.adjusted:.2g}",
            "no difference" if each.finding == "no difference found" else each.finding,
        )
    return table


def _difference(each: Comparison, scale: float, digits: int) -> str:
    if each.mean is None or each.interval is None:
        return "-"
    half = scale * (each.interval.high - each.interval.low) / 2
    return f"{scale * each.mean:+.{digits}f} ± {half:.{digits}f}"


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in names:
        table.add_column(name, justify="right" if table.columns else "left", overflow="fold")
    return table


def _ends(interval: Interval | None) -> str:
    return "-" if interval is None else " … ".join(map(_fixed, interval))


def _fixed(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _note(found: Confirmation) -> str:
    enough = [len(arm.values) >= FEWEST for arm in found.arms]
    of_mean = "bootstrap" if all(enough) else "Student's"
    if any(enough) and not all(enough):
        of_mean = f"bootstrap (below {FEWEST} seeds Student's)"
    text = (
        f"Test figures of configurations chosen on validation, each trained in full on the same "
        f"{len(found.seeds)} fresh seeds ({found.seeds[0]} to {found.seeds[-1]}), tested once. "
        f"{100 * found.confidence:g} % intervals: {of_mean} of a mean, paired t (±) of a "
        "difference. IQM: interquartile mean."
    )
    if found.comparisons:
        text += " P(better): chance that a run of the first is better than one of the second."
    return text
