import journals
import pytest

from sweeps import journal
from sweeps.state import State
from sweeps.track.rows import Progress, cleared, result_rows


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


@pytest.mark.parametrize(
    ("mode", "expected"), [("min", [0.3, 0.3, 0.6, 0.4]), ("max", [0.3, 0.31, 0.6, 0.6])]
)
def test_the_best_is_that_of_its_time_and_no_step_comes_twice(tmp_path, mode, expected):
    objective = {"metric": "val_loss", "mode": mode}
    spec = journals.made_up_spec(objective=objective, stopping={"name": "none"})
    journals.write_sweep(tmp_path / "x", spec, trials=0, close=False)
    with journal.Journal(tmp_path / "x") as log:
        for number, value in enumerate((0.3, 0.31)):
            log.write("trial", trial=number, params={}, seed=0)
            log.write("end", trial=number, status="finished", epoch=1, value=value, reason="")
        for number in (0, 1):
            log.write("reopen", trial=number, status="finished", value=None)
        for number, value in enumerate((0.6, 0.4)):
            log.write("end", trial=number, status="finished", epoch=2, value=value, reason="")
    state, progress = State(), Progress()
    for record in journal.tail(log.path)[0]:
        state.apply(record)
        if record["kind"] == "end":
            progress.note(state, record)
        elif record["kind"] == "reopen":
            progress.reopen(record)
    rows = [(r.step, r.value) for _, r in progress.rows if r.key == "best_val_loss"]
    assert rows == [*enumerate(expected, 1)]
