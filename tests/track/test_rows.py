from sweeps.track.rows import cleared, result_rows


def test_a_metric_of_an_update_has_the_update_as_its_step():
    metrics = {"val_loss": 0.5, "weight_distance@16": 2.0, "weight_distance@23": 3.0}
    rows = result_rows([{"epoch": 2, "time": 1.0, "metrics": metrics}])
    assert [(r.key, r.step, r.value) for r in rows] == [
        ("val_loss", 2, 0.5), ("weight_distance", 16, 2.0), ("weight_distance", 23, 3.0),
    ]  # fmt: skip


def test_what_is_said_no_more_is_cleared_and_the_rest_stays():
    held = {"sweep.trial": "3", "status": "failed", "error": "boom", "verdict": "A beats B"}
    assert cleared(held, {"status": "running"}) == {"error": "", "verdict": ""}
    assert cleared({"error": ""}, {}) == {}
