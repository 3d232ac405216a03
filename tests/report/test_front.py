"""Two objectives in the report: the same front in text, table, picture, page and exports."""

from __future__ import annotations

import json

import journals
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeps.objectives import losses, pair_of
from sweeps.progress import summary_lines
from sweeps.report.exports import exported
from sweeps.report.front import front_figure
from sweeps.report.page import front as section
from sweeps.report.results import Sweep
from sweeps.report.status import status
from sweeps.report.study import write_study
from sweeps.report.tables import as_text
from sweeps.report.write import write

AIMS = {"second": {"metric": "lr", "mode": "min"}}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Sweep:
    folder = tmp_path_factory.mktemp("storage") / "digits"
    spec = journals.made_up_spec(objective=AIMS, stopping={"name": "none"})
    journals.write_sweep(folder, spec)
    return Sweep(folder)


def places(sweep: Sweep) -> list[tuple[float, float]]:
    return [(each.second, each.value) for each in sweep.front]


def test_the_front_is_of_trials_that_none_beats(sweep) -> None:
    objective = sweep.spec.objective
    full = {t.number: t for t in sweep.searched() if t.status == "finished"}
    pairs = {n: losses(objective, objective.second, pair_of(objective, t)) for n, t in full.items()}
    expected = [
        n
        for n, (a, b) in pairs.items()
        if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in pairs.values())
    ]
    found = [each.trial for each in sweep.front]
    assert sorted(found) == expected and 2 <= len(found) < len(full)
    assert found[0] == sweep.best.trial


def test_the_picture_marks_the_front_and_shows_all_others(sweep) -> None:
    (axes,) = front_figure(sweep).axes
    (line,) = axes.lines
    assert list(zip(*map(list, line.get_data()), strict=True)) == places(sweep)
    drawn = {tuple(p) for group in axes.collections for p in group.get_offsets().tolist()}
    aims = sweep.spec.objective
    assert drawn == {pair_of(aims, t)[::-1] for t in sweep.ranked()}


def test_the_page_has_the_front_as_table_and_figure(sweep) -> None:
    found = section.front(sweep)
    assert found and f"{len(sweep.front)} of 11 trials" in found.text[0]
    assert [row[0].key for row in found.table.rows] == [each.trial for each in sweep.front]
    marked = next(trace for trace in found.figures[0].data if trace.name == "the front")
    assert list(marked.x) == [each.second for each in sweep.front]
    others = [len(t.x) for t in found.figures[0].data if t.name == "trained in full"]
    assert others == [11 - len(sweep.front)]


def test_texts_and_exports_list_it(sweep) -> None:
    text, facts = as_text(sweep), json.loads(status(sweep, as_json=True))
    assert "tpe for max val_accuracy and min lr" in text and "on the front" in text
    assert [each["trial"] for each in facts["front"]] == [each.trial for each in sweep.front]
    assert f"trials {sweep.front[0].trial} (" in status(sweep)
    front = f"front of {len(sweep.front)} trials that none beats in both objectives"
    assert front in summary_lines(sweep.state, None)
    assert b"The front of max val_accuracy and min lr" in exported(sweep, "md")
    frame = sweep.frame().set_index("trial")
    assert sorted(frame.index[frame["on_front"]]) == sorted(e.trial for e in sweep.front)
    assert frame.loc[sweep.front[0].trial, "second"] == sweep.front[0].second


def test_the_study_file_has_both_directions_and_the_same_front(sweep) -> None:
    storage = JournalStorage(JournalFileBackend(str(write_study(sweep))))
    study = optuna.load_study(study_name="digits", storage=storage)
    assert {t.number for t in study.best_trials} == {each.trial for each in sweep.front}


def test_the_report_has_both_and_a_sweep_without_a_full_trial_says_so(sweep, tmp_path) -> None:
    report = write(sweep.folder)
    assert (report / "pareto_front.png").stat().st_size > 10_000
    assert '<section id="front"' in (report / "index.html").read_text()
    spec = journals.made_up_spec(objective=AIMS, search={"trials": 1})
    journals.write_sweep(tmp_path / "digits", spec, trials=1, fails=(0,))
    lacking = section.front(Sweep(tmp_path / "digits"))
    assert lacking and lacking.text == ["No trial was trained in full, so there is no front yet."]


def test_one_objective_has_no_front(tmp_path) -> None:
    journals.write_sweep(tmp_path / "digits", trials=3)
    sweep = Sweep(tmp_path / "digits")
    assert sweep.front == [] and section.front(sweep) is None
    assert "second" not in sweep.frame() and "front" not in json.loads(status(sweep, as_json=True))
