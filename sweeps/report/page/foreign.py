"""The page of a journal that this version cannot read: what it says without being understood."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sweeps import journal
from sweeps.report.page.build import render
from sweeps.report.page.layout import Cell, Fold, Section, Table, cell

_MOST = 500
Record = dict[str, Any]


def write_foreign(folder: Path, error: Exception) -> Path:
    """Write `folder/report/index.html` from the bare records; `error` says why no more is known.

    It has the trials with their parameters, last metrics and ends, the spec and the versions, as
    far as these are where every version has put them. Returns the file's path.
    """
    records = list(_records(folder))
    report = folder / "report"
    report.mkdir(exist_ok=True)
    first = next((r for r in records if r.get("kind") == "sweep"), {})
    kinds = Counter(str(r.get("kind")) for r in records)
    count = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    text = [
        f"This version of ghost-noise-sweeps cannot read the journal: {error}",
        f"Missing here are the best trial and all figures. Readable records: {count or 'none'}.",
        "The version that wrote it can draw the whole report; versions stand below.",
    ]
    sections = [Section("summary", "Summary", text), _trials(records), _origin(first)]
    return render(report, folder.name, [], sections, f"The journal is {journal.FILE}.")


def _records(folder: Path) -> Iterator[Record]:
    for line in (folder / journal.FILE).read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _trials(records: list[Record]) -> Section:
    found: dict[Any, dict[str, Any]] = {}
    for record in records:
        if "trial" in record:
            found.setdefault(record["trial"], {})[str(record.get("kind"))] = record
    if not found:
        return Section("trials", "Trials", ["The journal names no trial."])
    rows = [
        [
            cell(number),
            _words(kinds.get("trial", {}).get("params")),
            cell(kinds.get("result", {}).get("epoch")),
            _words(kinds.get("result", {}).get("metrics")),
            cell(kinds.get("end", {}).get("status")),
        ]
        for number, kinds in list(found.items())[:_MOST]
    ]
    more = f"{len(found) - _MOST} more are in the journal." if len(found) > _MOST else ""
    columns = ["trial", "parameters", "last epoch", "its metrics", "how it ended"]
    return Section("trials", "Trials", [], Table(columns, rows, more))


def _origin(first: Record) -> Section:
    versions = first.get("versions")
    pairs = versions.items() if isinstance(versions, dict) else ()
    rows = [[Cell(str(k), str(k)), Cell(str(v), str(v))] for k, v in pairs]
    table = Table(["what", "version"], rows) if rows else None
    text = [] if rows else ["The journal names no versions."]
    spec = yaml.safe_dump(first.get("spec"), sort_keys=False, allow_unicode=True)
    folds = [Fold("The spec as it was written", spec)] if first.get("spec") else []
    return Section("origin", "Spec and versions", text, table, folds=folds)


def _words(value: Any) -> Cell:
    pairs = value.items() if isinstance(value, dict) else ()
    text = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in pairs)
    return Cell(text or "–", text)
