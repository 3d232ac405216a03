"""Writes the page: all sections in order, in one file with everything it needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from sweeps.report.page import clock, curves, facts, front, search, surface
from sweeps.report.page.children import children
from sweeps.report.page.confirmed import confirmed
from sweeps.report.page.layout import Section
from sweeps.report.results import Sweep
from sweeps.report.tables import standing

FILE = "index.html"
_TEMPLATES = "templates"


def write_page(sweep: Sweep) -> Path:
    """Write `report/index.html` anew; the folder must be there. Returns the file's path.

    Whatever the sweep holds is shown, be it nothing: a section says what it lacks.
    """
    head = [f"{standing(sweep)}. {facts.counts(sweep)}."]
    head += [sweep.spec.description] if sweep.spec.description else []
    foot = f"The tables in full lie beside this page in {sweep.folder.name}/report."
    return render(sweep.folder / "report", sweep.spec.name, head, list(_sections(sweep)), foot)


def render(report: Path, title: str, head: list[str], sections: list[Section], foot: str) -> Path:
    """Write these sections as the page of the folder `report`."""
    loader = PackageLoader("sweeps.report.page", _TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    sources = Path(__file__).with_name(_TEMPLATES)
    with_figures = any(section.figures for section in sections)
    text = environment.get_template("page.html.jinja").render(
        title=title,
        head=head,
        sections=sections,
        foot=foot,
        written=time.strftime("%Y-%m-%d %H:%M"),
        style=Markup((sources / "page.css").read_text(encoding="utf-8")),
        script=Markup((sources / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()) if with_figures else "",
    )
    path = report / FILE
    path.write_text(text, encoding="utf-8")
    return path


def _sections(sweep: Sweep) -> Iterator[Section]:
    yield facts.summary(sweep)
    yield from confirmed(sweep)
    yield from filter(None, [facts.over_seeds(sweep)])
    yield from filter(None, [front.front(sweep)])
    yield from filter(None, [children(sweep)])
    yield facts.trials(sweep)
    yield curves.learning_curves(sweep)
    yield from filter(None, [surface.ghost_map(sweep), surface.isolation(sweep)])
    yield from search.search_sections(sweep)
    yield from filter(None, [facts.distance(sweep)])
    yield clock.timeline(sweep)
    yield clock.time_spent(sweep)
    yield facts.failed(sweep)
    yield facts.origin(sweep)
