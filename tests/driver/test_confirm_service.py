"""A confirmation on a real Ray, and what MLflow holds of it."""

from __future__ import annotations

import sqlite3

import pytest

import sweeps
from sweeps.report.confirmation import confirmation

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]

SPEC = {
    "name": "confirmed",
    "model": {"options": {"depth": 1, "width": 16}, "noise": {}},
    "training": {"epochs": 2, "batch_size": 64},
    "space": {"model.noise.strength": {"choice": [0.5, 1.0]}},
    "search": {"sampler": "grid"},
    "stopping": {"name": "none"},
    "confirm": {
        "top": 1,
        "seeds": 3,
        "resamples": 1000,
        "baselines": {"batch_norm": {"model.noise": None}},
    },
}
QUERY = """
SELECT child.name, parent.name FROM runs AS child
JOIN tags ON tags.run_uuid = child.run_uuid AND tags.key = 'mlflow.parentRunId'
JOIN runs AS parent ON parent.run_uuid = tags.value
WHERE child.experiment_id = (SELECT experiment_id FROM experiments WHERE name = 'confirmed')
"""
FIGURES = """
SELECT key, value FROM latest_metrics JOIN runs USING (run_uuid)
WHERE runs.name = ? AND runs.status = 'FINISHED' AND runs.experiment_id =
    (SELECT experiment_id FROM experiments WHERE name = 'confirmed')
"""


@pytest.fixture(scope="module")
def sweep(storage, shared_ray):
    return sweeps.run(SPEC | {"storage": str(storage)})


def test_only_confirmations_read_the_test_images_all_arms_on_the_same_seeds(sweep) -> None:
    trials = list(sweep.state.trials.values())
    tested = [t for t in trials if "test_accuracy" in t.results[-1]["metrics"]]
    assert [t.of is not None for t in trials] == [False] * 3 + [True] * 6
    assert tested == trials[3:]
    assert not any("test_accuracy" in t.results[0]["metrics"] for t in trials)
    found = confirmation(sweep)
    assert found.complete and [len(arm.values) for arm in found.arms] == [3, 3]
    baseline = [t for t in trials[3:] if t.baseline]
    assert [t.seed for t in baseline] == found.seeds
    again = sweep.spec.trial(baseline[0].params, baseline[0].seed, confirm=True)
    assert again.model.noise is None and again.confirm
    assert sweeps.load(sweep.spec.name, storage=str(sweep.folder.parent)).best == sweep.best


def test_confirmations_are_children_of_their_configuration_in_mlflow(sweep) -> None:
    connection = sqlite3.connect(sweep.folder.parent / "mlflow.db")
    parents = dict(connection.execute(QUERY).fetchall())
    found = confirmation(sweep)
    names = [f"configuration-{arm.configuration:04d}" for arm in found.arms]
    assert [parents[name] for name in names] == ["confirmed"] * 2
    for trial in sweep.state.trials.values():
        above = "confirmed" if trial.of is None else f"configuration-{trial.of:04d}"
        assert parents[f"trial-{trial.number:04d}"] == above
    for name, arm in zip(names, found.arms, strict=True):
        figures = dict(connection.execute(FIGURES, (name,)).fetchall())
        assert figures == pytest.approx(
            {
                "seeds": 3,
                "test_accuracy_mean": arm.mean,
                "test_accuracy_sd": arm.sd,
                "test_accuracy_low": arm.interval.low,
                "test_accuracy_high": arm.interval.high,
            }
        )
    connection.close()
