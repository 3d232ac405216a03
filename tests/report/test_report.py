from __future__ import annotations

import csv
import fcntl
import io
import re
import struct

import journals
import pytest
from rich.console import Console

from sweeps import journal
from sweeps.errors import SweepNotFound
from sweeps.report.exports import exported
from sweeps.report.logs import of_trial
from sweeps.report.results import Sweep
from sweeps.report.status import status
from sweeps.report.tables import as_text, missing, show
from sweeps.report.write import write


def png_size(path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:24])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("storage") / "digits"
    journals.write_sweep(folder)
    return Sweep(folder), write(folder)


def test_the_report_is_a_page_a_summary_two_tables_and_two_figures(written):
    sweep, report = written
    assert report == sweep.folder / "report"
    figures = {"learning_curves.png", "ghost_map.png"}
    assert {p.name for p in report.iterdir()} == {
        "index.html",
        "summary.txt",
        "trials.csv",
        "curves.csv",
    } | figures
    for name in figures:
        assert min(png_size(report / name)) > 500
    with (report / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["value"] or "nan") for r in rows] == [
        pytest.approx(v, nan_ok=True) for v in sweep.frame()["value"]
    ]
    with (report / "curves.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(sweep.curves())


def test_the_summary_says_what_was_found_and_how_far_to_trust_it(written):
    sweep, report = written
    text = (report / "summary.txt").read_text()
    best = sweep.best
    assert f"{best.value:.4g} after 27 epochs: trial {best.trial}" in text
    words = " ".join(text.split())
    assert re.search(r"trial 5 failed on \S+: ValueError: boom", words)
    assert "n = 1 seed a configuration" in words
    assert "the best of 12 looks better than it is" in words
    assert max(map(len, text.splitlines())) <= 80


def test_the_table_is_ordered_and_shows_the_noise(written):
    sweep, report = written
    lines = (report / "summary.txt").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == ["trial"])
    assert lines[start].split() == [
        "trial", "val_accuracy", "epochs", "ghost_size", "strength", "lr", "N/s²", "status",
    ]  # fmt: skip
    shown = [line.split() for line in lines[start + 2 : start + 12]]
    assert [int(row[0]) for row in shown] == [t.number for t in sweep.ranked()[:10]]
    for row in shown:
        assert float(row[6]) == pytest.approx(int(row[3]) / float(row[4]) ** 2, rel=0.01)


def test_repeated_configurations_are_counted(tmp_path):
    folder = tmp_path / "x"
    journals.write_sweep(folder, trials=2, fails=())
    with journal.Journal(folder) as log:
        log.write("trial", trial=2, params=log.state.trials[0].params, seed=1)
    assert "n = 1 to 2 seeds a configuration" in " ".join(as_text(Sweep(folder)).split())


def test_many_parameters_still_fit_80_columns(tmp_path):
    paths = ["weight_decay", "momentum", "lr", "base_batch_size"]
    space = {f"training.optimizer.{p}": {"choice": [1, 2]} for p in paths}
    space |= {p: {"uniform": [0, 2]} for p in journals.SPACE}
    journals.write_sweep(tmp_path / "x", journals.made_up_spec(space=space), trials=3)
    text = as_text(Sweep(tmp_path / "x"))
    assert "parameters" in text and "strength=" in text
    assert max(map(len, text.splitlines())) <= 80


def test_show_prints_the_same_on_a_pipe_and_names_the_report(written):
    sweep, report = written
    out = io.StringIO()
    show(sweep, Console(file=out, width=200))
    assert out.getvalue().startswith((report / "summary.txt").read_text())
    assert f"Report: {report / 'index.html'}" in out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("trials", "fails", "said"),
    [
        (0, (), "No trial was started."),
        (1, (0,), "trained in full"),
        (1, (), None),
    ],
)
def test_little_is_reported_for_what_it_is(tmp_path, trials, fails, said):
    folder = tmp_path / "x"
    journals.write_sweep(folder, trials=trials, fails=fails)
    report = write(folder)
    text = (report / "summary.txt").read_text()
    assert (said is None and missing(Sweep(folder)) == []) or said in text
    assert (report / "learning_curves.png").exists() is (trials > 0)


def test_only_failures_before_any_epoch_leave_tables_and_say_so(tmp_path):
    folder = tmp_path / "x"
    journals.write_sweep(folder, trials=0, close=False)
    with journal.Journal(folder) as log:
        for number in range(5):
            log.write("trial", trial=number, params={"model.noise.strength": 1.0}, seed=0)
            log.write("attempt", trial=number, attempt=1, epoch=0)
            error = {"type": "OSError", "message": "no disk", "traceback": ""}
            log.write(
                "end", trial=number, status="failed", epoch=0, value=None, reason="no disk",
                error=error,
            )  # fmt: skip
    report = write(folder)
    text = (report / "summary.txt").read_text()
    assert "No trial reported val_accuracy." in text
    assert "trial 0 failed: no disk" in text and "and 2 more like these" in text
    assert not list(report.glob("*.png"))


def test_a_figure_of_an_earlier_report_does_not_stay(tmp_path):
    folder = tmp_path / "x"
    journals.write_sweep(folder, trials=0)
    (folder / "report").mkdir()
    (folder / "report" / "ghost_map.png").touch()
    assert not (write(folder) / "ghost_map.png").exists()


@pytest.mark.parametrize(("alive", "stands"), [(True, "running"), (False, "open")])
def test_an_unended_trial_is_called_the_same_everywhere(tmp_path, alive, stands):
    spec = journals.made_up_spec("x", stopping={"name": "none"})
    journals.write_sweep(tmp_path / "x", spec, trials=2, fails=(), open_trial=1, close=False)
    with (tmp_path / "x" / journal.LOCK).open("w") as lock:
        if alive:
            fcntl.flock(lock, fcntl.LOCK_EX)
        sweep = Sweep(tmp_path / "x")
        table = as_text(sweep)
        for text in (table, status(sweep), of_trial(sweep, 1), exported(sweep, "csv").decode()):
            assert {"running", "open"} & set(re.findall(r"\w+", text)) == {stands}, text
    assert ("its driver died" in table) is not alive


def test_a_sweep_without_trials_has_no_trial_to_tell_of(tmp_path):
    journals.write_sweep(tmp_path / "x", trials=0)
    with pytest.raises(SweepNotFound, match=r"x has no trial 0; it has no trials yet$"):
        of_trial(Sweep(tmp_path / "x"), 0)


def test_the_tables_of_a_sweep_without_trials_have_their_columns(tmp_path):
    for name, trials in (("none", 0), ("some", 1)):
        journals.write_sweep(tmp_path / name, trials=trials, fails=())
    none, some = (write(tmp_path / name) for name in ("none", "some"))
    heads = [(folder / "trials.csv").read_text().splitlines()[0] for folder in (none, some)]
    assert heads[0] == heads[1] == exported(Sweep(tmp_path / "none"), "csv").decode().strip()
    found = (none / "curves.csv").read_text().splitlines()
    assert found == ["trial,epoch,decision,rung,time,val_accuracy"]
    assert (some / "curves.csv").read_text().startswith(found[0])
