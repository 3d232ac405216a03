"""How failures are told: what the user can mend in a line, what the user wrote with its frames."""

from __future__ import annotations

import traceback

import pytest

from sweeps.errors import CheckpointError, TrialDiverged, TrialSilent
from sweeps.journal import FILE, Journal
from sweeps.report.results import Sweep
from sweeps.report.status import listing, status
from sweeps.spec import SweepSpec


class Users(CheckpointError):
    """An exception of a user's own, though of our kind."""


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (CheckpointError("epoch-000003.pt is damaged"), []),
        (TrialDiverged("the loss is nan\nin update 7"), ["in update 7"]),
        (KeyError("lr"), ["raise error", "KeyError: 'lr'"]),
        (Users("mine"), ["raise error", "test_failures.Users: mine"]),
        (
            TrialSilent("nothing was reported"),
            ["raise error", "sweeps.errors.TrialSilent: nothing was reported"],
        ),
    ],
)
def test_frames_are_shown_of_what_is_not_our_own(tmp_path, raised, told) -> None:
    lines = status(failed(tmp_path / "s", raised)).splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("trial 0 failed"))
    frames = [line.strip() for line in lines[head + 2 :]]
    assert [line for line in frames if not line.startswith("File")] == told


def test_a_journal_that_cannot_be_read_hides_no_other_sweep(tmp_path) -> None:
    for name in ("bad", "good"):
        failed(tmp_path / name, OSError("no disk"))
    file = tmp_path / "bad" / FILE
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], *lines[2:]]))
    good, bad = listing(tmp_path).splitlines()
    assert good.startswith("good: ") and "1 failed" in good
    assert bad == f"bad: cannot be read: {file}: record 2 stands where 1 should"


def failed(folder, error: Exception) -> Sweep:
    """A sweep whose one trial ended by that exception."""
    spec = SweepSpec.model_validate({"name": folder.name, "space": {}})
    try:
        raise error
    except Exception as caught:
        trace = "".join(traceback.format_exception(caught))
    content = {"type": type(error).__name__, "message": str(error), "traceback": trace}
    folder.mkdir()
    with Journal(folder) as log:
        log.write("sweep", spec=spec.model_dump(mode="json"), identity="", versions={})
        log.write("trial", trial=0, params={}, seed=0)
        log.write("attempt", trial=0, attempt=1, epoch=0)
        ended = {"status": "failed", "epoch": 0, "value": None, "reason": str(error)}
        log.write("end", trial=0, **ended, error=content)
    return Sweep(folder)
