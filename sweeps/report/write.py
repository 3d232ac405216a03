"""Writes the report of a sweep into its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeps.errors import JournalError
from sweeps.report.confirmation import confirmation
from sweeps.report.exports import csv_of
from sweeps.report.replicates import summary_rows
from sweeps.report.results import POINT, Sweep
from sweeps.report.tables import as_text
from sweeps.storage import ObjectPath, origin

_FIGURES = (
    *("learning_curves.png", "pareto_front.png", "ghost_map.png", "isolation.png"),
    "weight_distance.png",
)
_TABLES = ("configurations.csv", "weight_distance.csv")
_CONFIRMATION = "confirmation.json"
PAGE = "index.html"


def write(folder: Path) -> Path:
    """Write `folder/report/` anew and return it: index.html, summary.txt, tables and figures.

    index.html needs no other file. Tables are trials.csv and curves.csv; with several seeds a
    configuration also configurations.csv (mean and sd of each); with recorded distances of the
    weights also weight_distance.csv; with a confirmation its figures and verdict as
    confirmation.json.

    Whatever the sweep holds is reported, be it nothing; page and summary.txt say what is missing.

    Raises:
        SweepNotFound: there is no journal in `folder`.
        JournalError: it is damaged before its last line, or of another version; index.html says
            which, and shows what can be read all the same.
        OSError: the report cannot be written.
        StorageError: the store of the sweep does not take it.
    """
    try:
        sweep = Sweep(folder)
    except JournalError as error:
        from sweeps.report.page.foreign import write_foreign

        page = write_foreign(folder, error)
        raise JournalError(f"{error}. What can be read all the same is in {page}") from None
    report = sweep.folder / "report"
    report.mkdir(parents=True, exist_ok=True)
    for name in (*_FIGURES, *_TABLES, _CONFIRMATION, PAGE):
        (report / name).unlink(missing_ok=True)
    (report / "summary.txt").write_text(as_text(sweep), encoding="utf-8")
    _write_csv(report / "trials.csv", sweep.rows(), sweep.columns)
    _write_csv(report / "curves.csv", sweep.points(), [*POINT, sweep.spec.objective.metric])
    for name, rows in zip(_TABLES, (summary_rows(sweep), sweep.distances()), strict=True):
        if rows:
            _write_csv(report / name, rows)
    if found := confirmation(sweep):
        text = json.dumps(found.as_dict(), indent=1)
        (report / _CONFIRMATION).write_text(text + "\n", encoding="utf-8")
    if sweep.ranked():
        from sweeps.report import figures

        figures.draw(sweep, report)
    from sweeps.report.page.build import write_page

    write_page(sweep)
    if place := origin(folder):
        _publish(report, place / "report")
    return report


def _publish(report: Path, place: ObjectPath) -> None:
    """Put a report made in the working copy where the sweep is."""
    place.remove_all()
    for file in report.iterdir():
        (place / file.name).write_bytes(file.read_bytes())


def _write_csv(path: Path, rows: list[dict[str, Any]], known: Sequence[str] = ()) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv_of(rows, file, known)
