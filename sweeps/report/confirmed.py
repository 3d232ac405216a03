"""The confirmation as text: arms on test data, comparisons, what is missing."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sweeps.report.confirmation import Arm, Comparison, Confirmation
from sweeps.report.verdict import in_points
from sweeps.statistics import Interval


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
    table.add_column(f"{found.confidence:.0%}".replace("%", " %"), justify="right", no_wrap=True)
    table.add_column("IQM", justify="right", no_wrap=True)
    for arm in found.arms:
        spread = _fixed(arm.mean) + ("" if arm.sd is None else f" ± {arm.sd:.4f}")
        name = _named(arm)
        middle = _fixed(arm.interquartile_mean)
        table.add_row(name, str(len(arm.values)), spread, _ends(arm.interval, 1, 4), middle)
    return table


def _comparisons(found: Confirmation) -> RenderableType:
    points = in_points(found.metric)
    scale, digits = (100, 2) if points else (1, 4)
    unit = "difference, points" if points else "difference"
    table = _table("comparison", "n", unit)
    for name in (f"{found.confidence:.0%}".replace("%", " %"), "P(better)", "p (Holm)", "found"):
        table.add_column(name, justify="right" if name != "found" else "left")
    for each in found.comparisons:
        mean = "-" if each.mean is None else f"{scale * each.mean:+.{digits}f}"
        table.add_row(
            f"{each.arm} - {each.baseline}",
            str(each.n),
            mean,
            _ends(each.interval, scale, digits),
            _fixed(each.improvement, 2),
            "-" if each.adjusted is None else f"{each.adjusted:.2g}",
            _short(each),
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in names:
        table.add_column(name, justify="right" if table.columns else "left", overflow="fold")
    return table


def _named(arm: Arm) -> str:
    return f"{arm.name}: {arm.label}" if arm.label else arm.name


def _short(each: Comparison) -> str:
    return "no difference" if each.finding == "no difference found" else each.finding


def _ends(interval: Interval | None, scale: float, digits: int) -> str:
    if interval is None:
        return "-"
    sign = "+" if scale != 1 else ""
    return " … ".join(f"{scale * end:{sign}.{digits}f}" for end in interval)


def _fixed(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _note(found: Confirmation) -> str:
    text = (
        f"Test figures of configurations chosen on validation, each trained in full on the same "
        f"{len(found.seeds)} fresh seeds ({found.seeds[0]} to {found.seeds[-1]}), tested once. "
        "Intervals: bootstrap of a mean, paired t of a difference. IQM: interquartile mean."
    )
    if found.comparisons:
        text += " P(better): chance that a run of the first is better than one of the second."
    return text
