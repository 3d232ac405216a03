"""The report's process gets ready while trials run, and writes only when it is told to."""

from __future__ import annotations

import signal

import journals
import pytest

from sweeps.journal import read
from sweeps.report.launcher import Reporter

ATTEMPT = {"kind": "attempt"}


def test_it_starts_with_half_of_the_trials_and_writes_when_told(tmp_path) -> None:
    folder = tmp_path / "digits"
    journals.write_sweep(folder)
    (folder / "logs").mkdir(exist_ok=True)
    state = read(folder)
    seen = []
    reporter = Reporter(folder)
    observe = reporter.beside(lambda record, state: seen.append(record))
    few = read(folder)
    assert few.spec is not None
    few.trials = dict(list(few.trials.items())[: few.spec.search.trials // 2 - 1])
    observe(ATTEMPT, few)
    observe({"kind": "result"}, state)
    assert reporter._process is None
    observe(ATTEMPT, state)
    process = reporter._process
    assert process is not None
    observe(ATTEMPT, state)
    assert reporter._process is process
    assert len(seen) == 4

    assert not (folder / "report").exists()
    reporter.write(folder)()
    assert (folder / "report" / "index.html").exists()


def test_it_writes_nothing_when_the_driver_is_gone(tmp_path) -> None:
    folder = tmp_path / "digits"
    journals.write_sweep(folder)
    (folder / "logs").mkdir(exist_ok=True)
    reporter = Reporter(folder)
    reporter.beside(lambda record, state: None)(ATTEMPT, read(folder))
    process = reporter._process
    assert process is not None and process.stdin is not None
    process.stdin.close()
    assert process.wait() == 0
    assert not (folder / "report").exists()


def test_a_driver_that_leaves_early_takes_it_along(tmp_path) -> None:
    folder = tmp_path / "digits"
    journals.write_sweep(folder)
    (folder / "logs").mkdir(exist_ok=True)
    with pytest.raises(KeyboardInterrupt), Reporter(folder) as reporter:
        reporter.beside(lambda record, state: None)(ATTEMPT, read(folder))
        raise KeyboardInterrupt
    assert reporter._process is not None
    assert reporter._process.returncode == -signal.SIGKILL
    assert not (folder / "report").exists()


def test_a_report_that_cannot_be_written_is_a_warning(tmp_path, capsys) -> None:
    (tmp_path / "logs").mkdir()
    with Reporter(tmp_path) as reporter:
        reporter.write(tmp_path)()
    told = capsys.readouterr().err
    assert f"could not be written; see {tmp_path}/logs/report.log" in told
    assert "SweepNotFound" in (tmp_path / "logs" / "report.log").read_text()
