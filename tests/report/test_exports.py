from __future__ import annotations

import csv
import io
import json

import journals
import pandas
import pytest
from click.testing import CliRunner

from sweeps.cli import main
from sweeps.report.exports import FORMATS, exported
from sweeps.report.results import Sweep
from sweeps.spec import SweepSpec


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Sweep:
    folder = tmp_path_factory.mktemp("storage") / "digits"
    journals.write_sweep(folder)
    return Sweep(folder)


def invoke(sweep: Sweep, *arguments: str):
    place = ["report", sweep.spec.name, "--storage", str(sweep.folder.parent)]
    return CliRunner().invoke(main, [*place, *arguments])


def test_csv_and_parquet_hold_the_frame(sweep, tmp_path):
    file = tmp_path / "trials.parquet"
    assert invoke(sweep, "--format", "parquet", "-o", str(file)).exit_code == 0
    pandas.testing.assert_frame_equal(pandas.read_parquet(file), sweep.frame(), check_dtype=False)
    rows = list(csv.DictReader(io.StringIO(invoke(sweep, "--format", "csv").output)))
    assert [(r["trial"], r["status"], r["value"]) for r in rows] == [
        (str(r["trial"]), r["status"], "" if r["value"] is None else str(r["value"]))
        for r in sweep.rows()
    ]


def test_json_holds_everything_and_markdown_the_best(sweep):
    content = json.loads(invoke(sweep, "--format", "json").output)
    assert SweepSpec.model_validate(content["spec"]) == sweep.spec
    assert content["trials"] == sweep.rows() and content["epochs"] == sweep.points()
    assert content["summary"]["best"]["trial"] == sweep.best.trial
    lines = exported(sweep, "md").decode().splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert table[2].startswith(f"| {sweep.best.trial} | {sweep.best.value:.5g} | 27 |")
    assert len(table) == 2 + len(sweep.ranked())


def test_columns_of_several_types_and_numbers_json_lacks_are_exported(tmp_path):
    space = {"model.noise.strength": {"choice": [0, "auto"]}}
    spec = journals.made_up_spec("x", space=space)
    journals.write_sweep(tmp_path / "x", spec, trials=2, fails=())
    sweep = Sweep(tmp_path / "x")
    sweep.state.trials[0].params = {"model.noise.strength": 0}
    sweep.state.trials[1].params = {"model.noise.strength": "auto"}
    sweep.state.trials[0].results[0]["metrics"]["val_loss"] = float("inf")
    frame = pandas.read_parquet(io.BytesIO(exported(sweep, "parquet")))
    assert list(frame["strength"]) == ["0", "auto"]
    assert json.loads(exported(sweep, "json"))["epochs"][0]["val_loss"] is None


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_is_exported_as_nothing(form, tmp_path):
    journals.write_sweep(tmp_path / "x", trials=0)
    assert exported(Sweep(tmp_path / "x"), form)


def test_an_output_without_a_format_is_refused(sweep, tmp_path):
    done = invoke(sweep, "-o", str(tmp_path / "x"))
    assert done.exit_code == 2 and "--output goes with --format" in done.output


def test_an_output_that_cannot_be_written_is_told_in_words(sweep, tmp_path):
    for place in (tmp_path, tmp_path / "none" / "x.csv"):
        done = invoke(sweep, "--format", "csv", "-o", str(place))
        assert done.exit_code == 2 and f"error: {place} cannot be written: " in done.output
