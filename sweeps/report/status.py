"""Where a sweep stands, in a few lines or as JSON; read from the journal alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeps import errors
from sweeps.errors import StorageError, SweepError
from sweeps.journal import begun, held
from sweeps.progress import duration, point
from sweeps.report.children import said
from sweeps.report.confirmation import confirmation
from sweeps.report.results import Sweep
from sweeps.selection import expected
from sweeps.state import Trial
from sweeps.storage import truth

_FRAMES = 3
"""Last lines of a user's traceback that are shown."""


def status(sweep: Sweep, as_json: bool = False) -> str:
    """States, trials by status, the best so far, and every failure with where and why."""
    facts = gathered(sweep)
    if as_json:
        return json.dumps(facts) + "\n"
    return "\n".join(_lines(sweep, facts)) + "\n"


def listing(storage: Path) -> str:
    """A line for each sweep in `storage`, the latest first; last those that cannot be read.

    Raises:
        StorageError: it is a file.
    """
    if storage.is_file():
        raise StorageError(f"{storage} is a file, and a storage is a folder of sweeps. Name one")
    sweeps, unread = [], []
    for folder in begun(storage):
        try:
            sweeps.append(Sweep(folder))
        except SweepError as error:
            unread.append(f"{folder.name}: cannot be read: {str(error).splitlines()[0]}")
    sweeps.sort(key=lambda sweep: -sweep.state.updated)
    lines = [*map(_short, sweeps), *unread]
    return "".join(f"{line}\n" for line in lines) or f"no sweeps in {truth(storage)}\n"


def _short(sweep: Sweep) -> str:
    facts = gathered(sweep)
    counts = ", ".join(f"{n} {status}" for status, n in sorted(facts["trials"].items()))
    best = f"; best {facts['best']['value']:.4g}" if facts["best"] else ""
    return f"{facts['name']}: {facts['state']}, {counts or 'no trials'} of {facts['total']}{best}"


def gathered(sweep: Sweep) -> dict[str, Any]:
    """The facts: plain values alone."""
    state, best, two = sweep.state, sweep.best, sweep.spec.objective.second
    last = state.sessions[-1] if state.sessions else {"state": "not started"}
    if held(sweep.folder):
        last = {"state": "running"}
    elif last["state"] == "started":
        last = {"state": "interrupted", "reason": "its driver died"}
    found = confirmation(sweep)
    return {
        "name": sweep.spec.name,
        "state": last["state"],
        "reason": last.get("reason", ""),
        "updated": state.updated,
        "trials": dict(Counter(map(sweep.status, state.trials.values()))),
        "total": expected(state),
        "epochs": state.epochs,
        "hours": state.seconds / 3600,
        "trial_hours": state.trial_seconds / 3600,
        "best": best and {"trial": best.trial, "value": best.value, "params": best.params},
        **({"front": [asdict(each) for each in sweep.front]} if two else {}),
        **({"confirmation": found.as_dict()} if found else {}),
        "left_out": [
            {"node": node, "gpu": gpu, "reason": why} for (node, gpu), why in state.left_out.items()
        ],
        "failures": failures(sweep),
    }


def in_brief(sweep: Sweep, most: int = 3) -> list[str]:
    """The first failures, a line each, and the GPUs that get no more trials."""
    found, lines = failures(sweep), []
    for each in found[:most]:
        where = f" on {each['node']}" if each["node"] else ""
        reason = str(each["reason"]).strip().splitlines() or ["no reason given"]
        lines.append(f"trial {each['trial']} {each['status']}{where}: {reason[-1]}")
    if len(found) > most:
        lines.append(f"and {len(found) - most} more like these")
    return lines + [f"left out {each}" for each in left_out(sweep)]


def left_out(sweep: Sweep) -> list[str]:
    """Each GPU that gets no more trials, with why and how to take it back."""
    again = f"Once mended: sweeps retry {sweep.spec.name} --gpus"
    return [
        f"{node} GPU {gpu}: {why}. {again}" for (node, gpu), why in sweep.state.left_out.items()
    ]


def failures(sweep: Sweep) -> list[dict[str, Any]]:
    """Every failed or diverged trial: where, in which epoch and why; plain values alone."""
    bad = ("failed", "diverged")
    return [_failure(t) for t in sweep.state.trials.values() if t.status in bad]


def _failure(trial: Trial) -> dict[str, Any]:
    assert trial.end is not None
    error = trial.end.get("error") or {}
    nodes = [result["node"] for result in trial.results if result.get("node")]
    return {
        "trial": trial.number,
        "status": trial.status,
        "error": error.get("type", ""),
        "reason": trial.end["reason"],
        "epoch": trial.epoch,
        "attempts": len(trial.attempts),
        "node": error.get("node") or (nodes[-1] if nodes else ""),
        "device": error.get("device", ""),
        "params": trial.params,
        "seed": trial.seed,
        "traceback": error.get("traceback", ""),
    }


def _lines(sweep: Sweep, facts: dict[str, Any]) -> list[str]:
    ago = max(0.0, time.time() - facts["updated"])
    reason = f" ({facts['reason']})" if facts["reason"] else ""
    counts = ", ".join(f"{n} {status}" for status, n in sorted(facts["trials"].items()))
    lines = [
        f"{facts['name']}: {facts['state']}{reason}, last record {ago:.0f} s ago",
        f"trials   {sum(facts['trials'].values())} of {facts['total']}: {counts or 'none started'}",
        f"epochs   {facts['epochs']} in {duration(3600 * facts['hours'])}, "
        f"{duration(3600 * facts['trial_hours'])} of all trials together",
    ]
    if best := facts["best"]:
        where = point(sweep.state.trials[best["trial"]], sweep.state)
        lines.append(f"best     {best['value']:.4g}: trial {best['trial']}, {where}")
    if line := said(sweep):
        lines.append(f"gone on  {line}")
    if found := facts.get("front"):
        pairs = ", ".join(f"{e['trial']} ({e['value']:.4g}, {e['second']:.4g})" for e in found)
        lines.append(f"front    of {sweep.spec.objective.aims}: trials {pairs}")
    if found := facts.get("confirmation"):
        lines.append(f"confirm  {found['done']} of {found['total']} trials. {found['verdict']}")
    lines += [f"left out {each}" for each in left_out(sweep)]
    for failure in facts["failures"]:
        lines += _told(failure)
    return lines


def _told(failure: dict[str, Any]) -> list[str]:
    place = " ".join(filter(None, (failure["node"], failure["device"])))
    lines = [
        f"trial {failure['trial']} {failure['status']} in epoch {failure['epoch'] + 1}"
        f"{' on ' + place if place else ''}, attempt {failure['attempts']}: "
        f"{failure['reason'].strip().splitlines()[0] if failure['reason'].strip() else 'unknown'}",
        f"    params {failure['params']}, seed {failure['seed']}",
    ]
    return lines + [f"    {line}" for line in _told_further(failure)]


def _told_further(failure: dict[str, Any]) -> list[str]:
    """The end of a user's traceback; of an error of our own its message says it all.

    But for one that fell silent: its frames alone say where it hangs.
    """
    kind, trace = failure["error"], failure["traceback"].strip()
    if f"\n{errors.__name__}.{kind}" in trace and kind != errors.TrialSilent.__name__:
        return failure["reason"].strip().splitlines()[1:]
    return trace.splitlines()[-_FRAMES:]
