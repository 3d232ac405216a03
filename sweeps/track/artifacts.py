"""Which files of a sweep's folder go to MLflow. Knows names, not contents."""

from __future__ import annotations

import re
from pathlib import Path

from sweeps.spec import ObjectiveSpec
from sweeps.state import Trial
from sweeps.storage import ObjectPath, Place, trial_folder, truth

_CHECKPOINT = re.compile(r"epoch-(\d+)\.pt")


def checkpoints(folder: Path, trial: Trial, objective: ObjectiveSpec) -> dict[str, Place]:
    """The `best` and `last` checkpoint of one trial, as far as the sweep has them.

    Best is by the journal's objective among the epochs that have a file; the earlier of equals.
    """
    found = {
        int(match[1]): path
        for path in trial_folder(truth(folder), trial.number).glob("*.pt")
        if (match := _CHECKPOINT.fullmatch(path.name))
    }
    if not found:
        return {}
    sign = 1 if objective.mode == "max" else -1
    values = {e: sign * v for e, v in trial.values(objective.metric).items() if e in found}
    out = {"last": found[max(found)]}
    if values:
        out["best"] = found[max(values, key=lambda epoch: (values[epoch], -epoch))]
    return out


def brought(place: Place, file: Path) -> None:
    """Make `file` the checkpoint at `place`: a link, or what is fetched from a store."""
    if isinstance(place, ObjectPath):
        file.write_bytes(place.read_bytes())
    else:
        file.symlink_to(place.resolve())


def error_summary(error: object) -> tuple[str, str]:
    """One line that names an error, and all that is known of it, from an end record's `error`."""
    if isinstance(error, dict):
        text = str(error.get("traceback") or "")
        line = ": ".join(str(error[key]) for key in ("type", "message") if error.get(key))
        return line or _last_line(text), text or line
    text = str(error or "")
    return _last_line(text), text


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
