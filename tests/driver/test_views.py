"""What a reader of a running sweep sees, made from a journal."""

from __future__ import annotations

import io
import json

from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.driver.views import JsonView, LiveView, PlainView, view
from sweeps.progress import duration, summary_lines
from sweeps.spec import SweepSpec

SPEC = {
    "name": "seen",
    "training": {"epochs": 9},
    "space": {"model.noise.strength": {"uniform": [0, 2]}, "training.optimizer.lr": 0.1},
    "search": {"trials": 4, "sampler": "random"},
}


def drive(folder, shown) -> None:
    """Trial 0 in full, 1 stopped early, 2 fails, 3 runs."""
    spec = SweepSpec.model_validate(SPEC)
    with opened(spec, folder) as journal, shown:
        conductor = Conductor(journal, shown)
        conductor.session("started")
        for number, value in enumerate((0.9, 0.5)):
            conductor.next()
            for epoch in range(1, 10):
                if conductor.result(number, epoch, {"val_accuracy": value}):
                    break
        conductor.next()
        conductor.failed(2, {"type": "OSError", "message": "no disk\nat all"})
        conductor.next()


def test_a_pipe_gets_a_line_for_each_trial_that_ends(tmp_path) -> None:
    out = io.StringIO()
    drive(tmp_path / "seen", PlainView(out))
    first, second, third = out.getvalue().splitlines()
    assert first.startswith("trial   0  finished  epoch   9  val_accuracy 0.9000  strength=")
    assert "lr=0.1" in first and first.endswith("(1 of 4, best 0.9000 (trial 0))")
    assert second.startswith("trial   1  pruned    epoch   1  val_accuracy 0.5000")
    assert third.startswith("trial   2  failed    epoch   0  no disk  strength=")


def test_a_sweep_that_goes_on_says_with_what(tmp_path) -> None:
    drive(tmp_path / "seen", PlainView(io.StringIO()))
    out, spec = io.StringIO(), SweepSpec.model_validate(SPEC)
    with opened(spec, tmp_path / "seen") as journal, PlainView(out) as shown:
        Conductor(journal, shown).session("started")
    assert out.getvalue().splitlines() == [
        "seen: 3 of 4 trials have ended",
        "  trial 3 goes on from its start, attempt 2",
    ]


def test_a_program_gets_every_record(tmp_path) -> None:
    out = io.StringIO()
    drive(tmp_path / "seen", JsonView(out))
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [r["n"] for r in records] == list(range(1, len(records) + 1))


def test_a_terminal_gets_progress_rungs_best_and_the_last_failure(tmp_path) -> None:
    states = []

    class Watching(PlainView):
        def __call__(self, record, state) -> None:
            states.append(state)

    drive(tmp_path / "seen", Watching(io.StringIO()))
    lines = summary_lines(states[-1], 125.0)
    assert "3 of 4 trials, 1 running, about 2 min left" in lines[0]
    assert lines[1] == "trials past rung (epoch)  1: 1  3: 1  in full: 1"
    assert lines[2].startswith("best 0.9000 (trial 0) so far  strength=")
    assert lines[3].startswith("trial   3  epoch   0  strength=")
    assert lines[4] == "1 failed; last: trial 2: no disk"


def test_the_live_view_draws_itself(tmp_path) -> None:
    out = io.StringIO()
    drive(tmp_path / "seen", LiveView(out))
    assert "3 of 4 trials" in out.getvalue()
    with LiveView(out) as shown:
        shown.note("search.trials: 4 -> 8")
    assert "search.trials: 4 -> 8\n" in out.getvalue()


def test_brackets_in_the_word_of_a_device_are_no_markup(tmp_path) -> None:
    out, spec = io.StringIO(), SweepSpec.model_validate(SPEC)
    with opened(spec, tmp_path / "seen") as journal, LiveView(out) as shown:
        Conductor(journal, shown).device(("h", "0"), "failed [/usr/lib/x]")
    assert "h GPU 0 is left out: failed [/usr/lib/x]\n" in out.getvalue()


def test_a_pipe_is_no_terminal() -> None:
    assert type(view(out=io.StringIO())) is PlainView
    assert type(view(as_json=True, out=io.StringIO())) is JsonView


def test_durations_read_well() -> None:
    assert [duration(s) for s in (42, 180, 9000)] == ["42 s", "3 min", "2.5 h"]
