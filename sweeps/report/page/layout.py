"""What a section of the page is made of, and the look that all its figures share.

Colours of text, axes and grid come from the page's style sheet, which knows light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from plotly import graph_objects as go

HEIGHT = 400
"""Pixels of a figure, unless it says otherwise."""
BLUE, ORANGE, GREY, SKY, VERMILION = "#0072B2", "#E69F00", "#8A8A8A", "#56B4E9", "#D55E00"
SCALE = "Cividis"
STATUS_COLOURS = {
    "finished": BLUE,
    "pruned": SKY,
    "waiting": GREY,
    "running": GREY,
    "failed": VERMILION,
    "diverged": ORANGE,
}
STATUS_WORDS = {
    "finished": "trained in full",
    "pruned": "stopped early",
    "waiting": "waits at a rung",
    "running": "not ended",
    "failed": "failed",
    "diverged": "diverged",
}
_CONFIG = {"responsive": True, "displaylogo": False}


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what is shown, and what it is sorted by."""

    text: str
    key: float | str

    @property
    def is_number(self) -> bool:
        """Whether it is laid out and sorted as a number."""
        return not isinstance(self.key, str)


@dataclass(frozen=True)
class Table:
    """A table whose columns a reader can sort by."""

    columns: list[str]
    rows: list[list[Cell]]
    more: str = ""
    """Said below: what was left out, and where it is."""


@dataclass(frozen=True)
class Fold:
    """A line that unfolds into plain text."""

    title: str
    body: str
    facts: str = ""
    """A line of the unfolded part, above `body`."""


@dataclass(frozen=True)
class Section:
    """One part of the page. Whatever is empty is left out."""

    name: str
    """Its anchor."""
    title: str
    text: list[str] = field(default_factory=list)
    table: Table | None = None
    figures: list[go.Figure] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    """Base64 of PNGs."""
    folds: list[Fold] = field(default_factory=list)

    def drawn(self) -> list[Markup]:
        """The figures as HTML that calls the page's own plotly.js."""
        return [as_html(figure, f"{self.name}-{k}") for k, figure in enumerate(self.figures)]


def as_html(figure: go.Figure, name: str) -> Markup:
    """A figure as a `div` and the script that fills it; `name` becomes the div's id."""
    text = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name, config=_CONFIG,
        default_height=figure.layout.height or HEIGHT,
    )  # fmt: skip
    return Markup(text)  # plotly writes < and > in its JSON as escapes


def dressed(figure: go.Figure, height: int = HEIGHT, **layout: Any) -> go.Figure:
    """The figure in the page's look."""
    figure.update_layout(
        template="none", height=height, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 64, "r": 16, "t": 40, "b": 56}, dragmode=False, hoverlabel={"align": "left"},
        font={"family": "system-ui, sans-serif", "size": 13}, title=None,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    )  # fmt: skip
    figure.update_layout(**layout)
    figure.update_xaxes(automargin=True, zeroline=False, title_standoff=8)
    figure.update_yaxes(automargin=True, zeroline=False, title_standoff=8, ticklabelstandoff=4)
    return figure


def colour_bar(title: str) -> dict[str, Any]:
    """A colour bar below the axes, where a narrow screen has room for it."""
    return {
        "orientation": "h", "y": -0.2, "yanchor": "top", "thickness": 12, "outlinewidth": 0,
        "title": {"text": title, "side": "bottom"}, "tickformat": ".3~g", "tickangle": 0,
    }  # fmt: skip


def cell(value: Any, digits: int = 4) -> Cell:
    """A cell for a number, a truth value, a word, or nothing."""
    if value is None:
        return Cell("–", -math.inf)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Cell(str(value), str(value))
    return Cell(number(value, digits), float(value))


def number(value: float, digits: int = 4) -> str:
    """A number as a reader writes it: `0.9733`, `30321`, `∞`."""
    if isinstance(value, int) or not math.isfinite(value):
        return "∞" if value == math.inf else str(value)
    whole = 10.0**digits <= abs(value) < 1e7
    return f"{value:.0f}" if whole else f"{value:.{digits}g}"


def rows_of(records: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[list[Cell]]:
    """A row of cells for each record."""
    return [[cell(record.get(name)) for name in columns] for record in records]
