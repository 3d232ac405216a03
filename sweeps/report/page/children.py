"""The trials that went on under a schedule begun anew, as a table."""

from __future__ import annotations

from sweeps.report.children import gone_on
from sweeps.report.page.layout import STATUS_WORDS, Section, Table, cell
from sweeps.report.results import Sweep

_MOST_ROWS = 500


def children(sweep: Sweep) -> Section | None:
    """Each beside its parent; None where there are none."""
    found = gone_on(sweep)
    if not found:
        return None
    text = [
        "Trials trained in full that went on from their last checkpoint, a cosine begun anew "
        "over the added epochs (any other schedule as it was). They had more epochs than the "
        "search's trials, so they stand apart: neither the best trial nor importance, maps and "
        "front know them."
    ]
    metric = sweep.spec.objective.metric
    columns = [
        "trial",
        "goes on from",
        "after epoch",
        "to epoch",
        f"{metric} before",
        metric,
        "ended",
    ]
    ended = {each.trial: STATUS_WORDS[sweep.state.trials[each.trial].status] for each in found}
    rows = [
        [
            *(cell(v) for v in (each.trial, each.parent, each.after, each.epochs)),
            *(cell(v) for v in (each.before, each.value, ended[each.trial])),
        ]
        for each in found[:_MOST_ROWS]
    ]
    left = len(found) - _MOST_ROWS
    table = Table(columns, rows, f"{left} more are in trials.csv." if left > 0 else "")
    return Section("children", "Gone on with the schedule begun anew", text, table)
