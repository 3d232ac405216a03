"""A sweep's results for other programs: csv and parquet hold the trials, md and json more."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from sweeps.report.children import gone_on
from sweeps.report.confirmation import confirmation
from sweeps.report.replicates import summary_rows
from sweeps.report.results import Sweep
from sweeps.report.status import gathered
from sweeps.report.tables import caution, missing

FORMATS = ("csv", "parquet", "json", "md")
_SHOWN = 20
"""Trials in Markdown."""


def exported(sweep: Sweep, form: str) -> bytes:
    """The sweep in one of `FORMATS`; text is UTF-8.

    csv and parquet have one row a trial (`Sweep.frame`). json has the same rows under `trials`,
    beside `summary`, `configurations` (mean and sd over seeds), `epochs`, `spec`, `versions`. md is
    a page of tables for people: the best 20 trials, configurations, confirmation, what is missing.
    """
    if form == "parquet":
        return _parquet(sweep)
    make = {"csv": _csv, "json": _json, "md": _markdown}[form]
    return make(sweep).encode()


def _csv(sweep: Sweep) -> str:
    out = io.StringIO()
    return csv_of(sweep.rows(), out, sweep.columns).getvalue()


def csv_of(rows: list[dict[str, Any]], out: Any, known: Sequence[str] = ()) -> Any:
    """Write the rows to the text file `out` under all their columns, and return it.

    Without rows the columns are those that are `known`.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, columns or known)
    writer.writeheader()
    writer.writerows(rows)
    return out


def _parquet(sweep: Sweep) -> bytes:
    frame = sweep.frame()
    for name in frame.columns:  # a column of parquet has one type
        if len({type(value) for value in frame[name] if value is not None}) > 1:
            frame[name] = [None if value is None else str(value) for value in frame[name]]
    out = io.BytesIO()
    frame.to_parquet(out, index=False)
    return out.getvalue()


def _json(sweep: Sweep) -> str:
    facts = gathered(sweep)
    content = {
        "summary": facts,
        "missing": missing(sweep),
        "trials": sweep.rows(),
        "configurations": summary_rows(sweep),
        "epochs": sweep.points(),
        "spec": sweep.spec.model_dump(mode="json"),
        "versions": sweep.state.versions,
    }
    return json.dumps(_finite(content), allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def _finite(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _markdown(sweep: Sweep) -> str:
    facts, metric = gathered(sweep), sweep.spec.objective.metric
    counts = ", ".join(f"{n} {status}" for status, n in sorted(facts["trials"].items()))
    parts = [f"# {sweep.spec.name}", f"{facts['state']}: {counts or 'no trial was started'}."]
    parts += [sweep.spec.description] if sweep.spec.description else []
    ranked = [t.number for t in sweep.ranked()][:_SHOWN]
    if ranked:
        rows = {row["trial"]: row for row in sweep.rows()}
        columns = ["trial", "value", "epochs", *sweep.labels.values(), "seed", "status"]
        parts.append(f"Best trials by {metric}, those trained in full first:")
        parts.append(_table([rows[number] for number in ranked], columns))
    if gone_on(sweep):
        columns = ["trial", "parent", "after", "epochs", "before", "value", "status"]
        parts.append(f"With their schedule begun anew, {metric} of the parent before:")
        parts.append(_table([vars(each) for each in gone_on(sweep)[:_SHOWN]], columns))
    if sweep.front:
        known = {each.trial: vars(each) | vars(each)["params"] for each in sweep.front}
        parts.append(f"The front of {sweep.spec.objective.aims}, which no trial beats in both:")
        parts.append(_table([*known.values()], ["trial", "value", "second", *sweep.spec.space]))
    if configurations := summary_rows(sweep):
        parts.append(f"Mean and sample standard deviation of {metric} over seeds:")
        parts.append(_table(configurations, ["configuration", "n", "mean", "sd"]))
    parts += _confirmed(sweep)
    parts += missing(sweep)
    if ranked:
        parts.append(caution(sweep))
    return "\n\n".join(parts) + "\n"


def _confirmed(sweep: Sweep) -> Iterator[str]:
    """The verdict, and the arms with a value on test data."""
    if (found := confirmation(sweep)) is None:
        return
    yield found.verdict
    if arms := [arm for arm in found.arms if arm.values]:
        columns = ["configuration", "n", "mean", "sd"]
        rows = [(arm.title, len(arm.values), arm.mean, arm.sd) for arm in arms]
        yield f"{found.metric} on fresh seeds:"
        yield _table([dict(zip(columns, row, strict=True)) for row in rows], columns)
    yield from found.missing


def _table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    lines = [columns, ["---"] * len(columns)]
    lines += [[_plain(row.get(name)) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
