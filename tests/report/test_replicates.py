from __future__ import annotations

import math
import statistics

import journals
import pytest

from sweeps import journal
from sweeps.report.replicates import configurations, growth, summary_rows
from sweeps.report.results import Sweep
from sweeps.report.tables import as_text
from sweeps.report.write import write

SLOPES = {"small": 2.0, "large": 0.5}
VALUES = {"small": [0.98, 0.97, 0.96], "large": [0.90, 0.92, 0.91]}


@pytest.fixture
def study(tmp_path):
    """Two arms on three seeds; distance 1 + slope · ln(update) to epoch 2, then none of it."""
    arms = {"small": {}, "large": {"training.batch_size": 256}}
    schedule = {"name": "step", "milestones": [2]}
    spec = journals.made_up_spec(
        "study", arms=arms, space={}, search={"sampler": "grid", "replicates": 3},
        training={"epochs": 3, "schedule": schedule}, model={}, stopping={"name": "none"},
    )  # fmt: skip
    folder = tmp_path / "study"
    journals.write_sweep(folder, spec, trials=0, close=False)
    with journal.Journal(folder) as log:
        for number in range(6):
            arm, seed = list(arms)[number % 2], number // 2
            log.write("trial", trial=number, params={"arm": arm}, seed=seed)
            log.write("attempt", trial=number, attempt=1, epoch=0)
            for epoch, updates in enumerate([(1, 2, 4), (8, 16), (32,)], 1):
                metrics = {"val_accuracy": VALUES[arm][seed]}
                for u in updates:
                    distance = 1 + SLOPES[arm] * math.log(u) if epoch < 3 else 100.0
                    metrics[f"weight_distance@{u}"] = distance
                decision = "finish" if epoch == 3 else "continue"
                log.write(
                    "result", trial=number, attempt=1, epoch=epoch, metrics=metrics,
                    decision=decision, rung=None, node="host",
                )  # fmt: skip
            log.write(
                "end", trial=number, status="finished", epoch=3, value=VALUES[arm][seed],
                reason="trained in full", error=None,
            )  # fmt: skip
    return Sweep(folder)


def test_each_arm_has_mean_and_deviation_over_its_seeds(study):
    rows = summary_rows(study)
    assert [row["configuration"] for row in rows] == ["small", "large"]
    for row in rows:
        values = VALUES[row["configuration"]]
        assert row["n"] == 3
        assert row["mean"] == pytest.approx(statistics.fmean(values))
        assert row["sd"] == pytest.approx(statistics.stdev(values))
    text = as_text(study)
    assert "0.9700 ± 0.0100" in text and "0.9100 ± 0.0100" in text
    assert "n = 3 seeds a configuration" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_the_slope_is_fitted_before_the_rate_first_steps(study):
    for each in configurations(study):
        fit = growth(study, each.trials[0])
        assert fit is not None
        assert (fit.slope, fit.intercept) == pytest.approx((SLOPES[each.label], 1))
        assert fit.r2 == pytest.approx(1)


def test_the_report_has_the_figure_and_both_tables(study):
    report = write(study.folder)
    names = {p.name for p in report.iterdir()}
    assert {"weight_distance.png", "configurations.csv", "weight_distance.csv"} <= names
    assert "weight_distance@" not in (report / "curves.csv").read_text()
    assert len((report / "weight_distance.csv").read_text().splitlines()) == 1 + 6 * 6


def test_one_seed_a_configuration_gives_no_table(tmp_path):
    journals.write_sweep(tmp_path / "x", trials=3, fails=())
    assert summary_rows(Sweep(tmp_path / "x")) == []
    assert "mean ± sd" not in as_text(Sweep(tmp_path / "x"))
