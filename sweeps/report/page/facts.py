"""What the page says in words and tables: verdict, trials, configurations, failures, spec."""

from __future__ import annotations

import base64
import math
from collections import Counter
from typing import Any

import yaml

from sweeps.objectives import pair_of
from sweeps.report.page.confirmed import verdict
from sweeps.report.page.layout import (
    STATUS_WORDS,
    Cell,
    Fold,
    Section,
    Table,
    cell,
    number,
    rows_of,
)
from sweeps.report.replicates import summary_rows
from sweeps.report.results import Sweep, effective_size
from sweeps.report.status import failures, left_out
from sweeps.report.tables import caution, missing
from sweeps.selection import children, expected
from sweeps.state import Trial

_MOST_ROWS = 500
_MOST_FAILURES = 50
_NOISE = "noise s²/N"


def summary(sweep: Sweep) -> Section:
    """The best trial in a sentence, how far to trust it, and what is missing."""
    text = [*filter(None, [verdict(sweep)]), _best(sweep), *missing(sweep)]
    if sweep.ranked():
        text.append(caution(sweep))
    return Section("summary", "Summary", text)


def _best(sweep: Sweep) -> str:
    best, metric = sweep.best, sweep.spec.objective.metric
    if best is None:
        return f"No best {metric} can be named."
    full = sum(t.status == "finished" for t in sweep.searched())
    values = ", ".join(f"{sweep.labels.get(p, p)} {_plain(v)}" for p, v in best.params.items())
    of = f"the best of {full} trained in full" if best.complete else "none was trained in full"
    return (
        f"Best {metric}: {number(best.value)} after {best.epochs} epochs, by trial {best.trial} "
        f"({values or 'the fixed part'}); {of}, of {len(sweep.searched())} trials."
    )


def counts(sweep: Sweep) -> str:
    """`32 of 32 trials: 25 stopped early, 7 trained in full`."""
    trials = sweep.searched()
    found = Counter(t.status for t in trials)
    said = ", ".join(f"{found[s]} {word}" for s, word in STATUS_WORDS.items() if found[s])
    born = len(children(sweep.state))
    total = f"{len(trials)} of {expected(sweep.state) - born} trials" + (
        f": {said}" if said else ""
    )
    others = len(sweep.state.trials) - len(trials) - born
    more = [f"{others} more for the confirmation"] if others else []
    more += [f"{born} that went on with their schedule begun anew"] if born else []
    return "; ".join([total, *more])


def trials(sweep: Sweep) -> Section:
    """The table of trials, best first, then those without a value."""
    ranked = sweep.ranked()
    known = {t.number for t in ranked}
    ordered = ranked + [t for t in sweep.searched() if t.number not in known]
    if not ordered:
        return Section("trials", "Trials", ["No trial was started."])
    shown = ordered[:_MOST_ROWS]
    noises = {t.number: _noise(sweep, t) for t in shown}
    with_noise = any(noises.values())
    varied = {p: s for p, s in sweep.labels.items() if sweep.spec.space[p].kind != "fixed"}
    second = sweep.spec.objective.second
    columns = ["trial", sweep.spec.objective.metric, *([second.metric] if second else [])]
    columns += ["epochs", *varied.values()]
    columns += [_NOISE] if with_noise else []
    columns += ["seed", "seconds", "how it ended"]
    rows = []
    for trial in shown:
        pair = pair_of(sweep.spec.objective, trial) if second else None
        row = [cell(trial.number), cell(sweep.value(trial))]
        row += [*([cell(pair and pair[1])] if second else []), cell(trial.epoch)]
        row += [cell(trial.params.get(path)) for path in varied]
        row += [cell(noises[trial.number], 3)] if with_noise else []
        word = STATUS_WORDS[trial.status]
        rows.append([*row, cell(trial.seed), cell(round(trial.seconds, 1), 3), Cell(word, word)])
    left = len(ordered) - len(shown)
    more = f"{left} more are in trials.csv." if left else ""
    return Section("trials", "Trials", [], Table(columns, rows, more))


def over_seeds(sweep: Sweep) -> Section | None:
    """Mean and sample standard deviation of each configuration, where any has several seeds."""
    rows = summary_rows(sweep)
    if not rows:
        return None
    columns = ["configuration", "n", "mean", "sd"]
    columns += ["slope", "slope_sd"] if any("slope" in row for row in rows) else []
    names = {"n": "seeds n", "mean": f"{sweep.spec.objective.metric}, mean", "sd": "± sd",
             "slope": "distance / ln(update)", "slope_sd": "± its sd"}  # fmt: skip
    table = Table([names.get(c, c) for c in columns], rows_of(rows[:_MOST_ROWS], columns))
    text = ["Mean ± sample standard deviation over the seeds that were trained in full."]
    return Section("configurations", "Configurations over seeds", text, table)


def distance(sweep: Sweep) -> Section | None:
    """The figure of the weights' distance, if the report has one."""
    path = sweep.folder / "report" / "weight_distance.png"
    if not path.exists():
        return None
    image = base64.b64encode(path.read_bytes()).decode()
    text = ["The L2 distance of all weights from their start, against the logarithm of updates."]
    return Section("distance", "Distance of the weights", text, images=[image])


def failed(sweep: Sweep) -> Section:
    """Every failed or diverged trial: where, why, with what parameters, and its traceback."""
    found = failures(sweep)
    gone = [f"Left out: {each}" for each in left_out(sweep)]
    if not found:
        return Section("failures", "Failures", gone or ["None."])
    text = [f"{len(found)} of {len(sweep.state.trials)} trials. Unfold one for its traceback."]
    text += gone
    if len(found) > _MOST_FAILURES:
        text.append(f"Shown are the first {_MOST_FAILURES}.")
    folds = [_fold(each) for each in found[:_MOST_FAILURES]]
    return Section("failures", "Failures", text, folds=folds)


def _fold(failure: dict[str, Any]) -> Fold:
    place = " ".join(filter(None, (failure["node"], failure["device"])))
    reason = failure["reason"].strip()
    kind = failure["error"] if failure["error"] not in reason else ""
    title = (
        f"trial {failure['trial']} {failure['status']} in epoch {failure['epoch'] + 1}"
        f"{' on ' + place if place else ''}, attempt {failure['attempts']}: "
        f"{': '.join(filter(None, (kind, *reason.splitlines()[:1]))) or 'no reason given'}"
    )
    params = ", ".join(f"{p} = {_plain(v)}" for p, v in failure["params"].items())
    body = failure["traceback"].strip() or reason or "no traceback"
    return Fold(title, body, f"{params or 'the fixed part'}; seed {failure['seed']}")


def origin(sweep: Sweep) -> Section:
    """The resolved spec and the versions of what made the sweep."""
    content = sweep.spec.model_dump(mode="json")
    spec = Fold("The resolved spec", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    versions = [[Cell(k, k), Cell(str(v), str(v))] for k, v in sweep.state.versions.items()]
    table = Table(["what", "version"], versions) if versions else None
    text = [f"Identity {sweep.state.identity}: the hash of all that decides results."]
    return Section("origin", "Spec and versions", text, table, folds=[spec])


def _noise(sweep: Sweep, trial: Trial) -> float | None:
    noise = sweep.noise(trial)
    size = effective_size(noise) if noise else math.inf
    return None if noise is None else 1 / size if math.isfinite(size) else 0.0


def _plain(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)
