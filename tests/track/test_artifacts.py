from __future__ import annotations

import pytest

from sweeps.spec import ObjectiveSpec
from sweeps.state import Trial
from sweeps.track.artifacts import checkpoints, error_summary


def a_trial(values: list[float | None]) -> Trial:
    trial = Trial(7, {}, 0, 0.0)
    for epoch, value in enumerate(values, start=1):
        trial.results.append({"epoch": epoch, "metrics": {"m": value}})
    return trial


def files(folder, *epochs: int) -> None:
    place = folder / "trials" / "00007"
    place.mkdir(parents=True)
    for epoch in epochs:
        (place / f"epoch-{epoch:06d}.pt").touch()
    (place / ".epoch-000099.pt.123").touch()


@pytest.mark.parametrize(
    ("mode", "kept", "best", "last"),
    [
        ("max", (2, 4, 5), 2, 5),
        ("min", (1, 4, 5), 1, 5),
        ("max", (4, 5), 4, 5),  # the best epoch's file is gone: the best of those there
        ("max", (5,), 5, 5),
    ],
)
def test_best_is_by_the_journal_among_the_files_there(tmp_path, mode, kept, best, last):
    files(tmp_path, *kept)
    trial = a_trial([0.1, 0.9, None, 0.6, 0.5])
    found = checkpoints(tmp_path, trial, ObjectiveSpec(metric="m", mode=mode))
    assert {role: path.name for role, path in found.items()} == {
        "best": f"epoch-{best:06d}.pt",
        "last": f"epoch-{last:06d}.pt",
    }


def test_without_a_value_there_is_a_last_but_no_best(tmp_path):
    files(tmp_path, 3)
    assert set(checkpoints(tmp_path, a_trial([None]), ObjectiveSpec(metric="m"))) == {"last"}


def test_without_files_there_is_neither(tmp_path):
    assert checkpoints(tmp_path, a_trial([0.5]), ObjectiveSpec(metric="m")) == {}


@pytest.mark.parametrize(
    ("error", "line", "text"),
    [
        (None, "", ""),
        ("Traceback\n  at x\nValueError: bad\n", "ValueError: bad", None),
        ({"type": "E", "message": "m", "traceback": "t1\nt2"}, "E: m", "t1\nt2"),
        ({"traceback": "t1\nt2"}, "t2", "t1\nt2"),
        ({"message": "alone"}, "alone", "alone"),
    ],
)
def test_an_error_is_one_line_and_a_text(error, line, text):
    assert error_summary(error) == (line, error if text is None else text)
