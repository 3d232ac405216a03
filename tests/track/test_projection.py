from __future__ import annotations

import shutil
from pathlib import Path

import journals
import pytest
import store_reader
import yaml

from sweeps import journal
from sweeps.spec import SweepSpec
from sweeps.track import tracker
from sweeps.track.projection import Projection
from sweeps.track.runs import Runs

# MLflow and SQLAlchemy warn about each other; our own modules raise no such warning.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def artifacts(storage: Path, run: str) -> dict[str, Path]:
    query = "SELECT artifact_uri FROM runs WHERE name = ?"
    ((place,),) = store_reader.rows(storage / "mlflow.db", query, run)
    root = Path(place)
    return {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def delivered(tmp_path_factory, empty_store):
    """One whole sweep of 12 trials with a report, delivered once."""
    storage = tmp_path_factory.mktemp("storage")
    shutil.copy(empty_store, storage / "mlflow.db")
    folder = storage / "digits"
    state = journals.write_sweep(folder)
    (folder / "report").mkdir()
    (folder / "report" / "learning_curves.png").write_bytes(b"png")
    assert tracker.sync(folder)
    return storage, state


def test_one_run_a_trial_and_every_run_closed_by_its_end(delivered):
    storage, state = delivered
    expected = {"finished": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
    assert {t.status for t in state.trials.values()} == set(expected)
    assert store_reader.statuses(storage / "mlflow.db") == {"digits": "FINISHED"} | {
        f"trial-{n:04d}": expected[t.status] for n, t in state.trials.items()
    }


def test_every_number_of_the_journal_is_a_metric_row_at_its_epoch_and_time(delivered):
    storage, state = delivered
    found = store_reader.everything(storage / "mlflow.db")["metrics"]
    assert [row for row in found if row[0] != "digits"] == sorted(
        (f"trial-{n:04d}", key, r["epoch"], round(r["time"] * 1000), value)
        for n, trial in state.trials.items()
        for r in trial.results
        for key, value in r["metrics"].items()
    )


def test_params_and_tags_say_what_was_tried_and_why_it_stopped(delivered):
    storage, state = delivered
    kept = store_reader.everything(storage / "mlflow.db")
    assert kept["params"] == sorted(
        (f"trial-{n:04d}", key, str(value))
        for n, trial in state.trials.items()
        for key, value in trial.params.items()
    )
    tags = {(name, key): value for name, key, value in kept["tags"]}
    pruned = next(t for t in state.trials.values() if t.status == "pruned")
    name = f"trial-{pruned.number:04d}"
    assert tags[name, "status"] == "pruned"
    assert tags[name, "rung"] == str(pruned.epoch)
    assert tags[name, "reason"] == f"below the best third at epoch {pruned.epoch}"
    assert tags[name, "version"] == "abc123"
    assert (tags[name, "seed"], tags[name, "attempts"], tags[name, "node"]) == ("0", "1", "host")
    assert tags["trial-0005", "error"] == "ValueError: boom"
    best = state.best()
    assert best is not None and tags["digits", "best"] == f"trial-{best.number:04d}"


def test_children_name_their_parent(delivered):
    storage, state = delivered
    query = """SELECT COUNT(*) FROM tags JOIN runs AS parent ON parent.run_uuid = tags.value
               WHERE tags.key = 'mlflow.parentRunId' AND parent.name = 'digits'"""
    assert store_reader.rows(storage / "mlflow.db", query) == [(len(state.trials),)]


def test_the_parent_counts_ends_and_follows_the_best(delivered):
    storage, state = delivered
    latest = {
        key: value
        for name, key, _, value in store_reader.everything(storage / "mlflow.db")["latest"]
        if name == "digits"
    }
    ends = [t.status for t in state.trials.values()]
    for status in ("finished", "pruned", "failed", "diverged"):
        assert latest[f"trials_{status}"] == ends.count(status)
    assert latest["epochs"] == sum(len(t.results) for t in state.trials.values())
    best = state.best()
    assert best is not None and best.end is not None
    assert latest["best_val_accuracy"] == best.end["value"]


def test_the_parent_says_what_the_live_view_shows_refreshed_at_intervals(storage):
    folder = storage / "digits"
    spec = journals.made_up_spec(description="Why?", search={"trials": 4})
    journals.write_sweep(folder, spec, trials=4, fails=(2,))
    records, _ = journal.tail(folder / journal.FILE)
    uri, projection, notes = f"sqlite:///{storage / 'mlflow.db'}", Projection(folder), []
    for record in records:
        projection.apply(record)
        if record["n"] % 8 == 0:
            projection.deliver(uri, closing=False)
            tags = store_reader.everything(storage / "mlflow.db")["tags"]
            notes.append(next(v for n, k, v in tags if (n, k) == ("digits", "mlflow.note.content")))
    assert 1 < len(set(notes)) <= 2 + (records[-1]["time"] - records[0]["time"]) / 5
    projection.deliver(uri, closing=True)
    tags = {k: v for n, k, v in store_reader.everything(storage / "mlflow.db")["tags"]
            if n == "digits"}  # fmt: skip
    note = tags["mlflow.note.content"].splitlines()
    assert (note[0], note[1], note[-1]) == ("Why?", "```", "```")
    assert note[2].endswith("4 of 4 trials, finished")
    best = projection.state.best()
    assert tags["progress.best"] == f"{best.end['value']:.4f} (trial {best.number})"
    assert tags["progress.failures"] == "1 failed; last: trial 2: ValueError: boom"
    full = sum(t.status == "finished" for t in projection.state.trials.values())
    assert tags["progress.rungs"].endswith(f"in full: {full}")


def test_artifacts_are_the_spec_the_report_both_checkpoints_and_the_error(delivered):
    storage, state = delivered
    parent = artifacts(storage, "digits")
    assert set(parent) == {"spec.yaml", "report/learning_curves.png"}
    assert SweepSpec.model_validate(yaml.safe_load(parent["spec.yaml"].read_text())) == state.spec
    trial = next(t for t in state.trials.values() if t.status == "finished")
    files = artifacts(storage, f"trial-{trial.number:04d}")
    values = trial.values("val_accuracy")
    best = max(values, key=lambda epoch: values[epoch])
    assert {name: path.read_text() for name, path in files.items()} == {
        "checkpoints/best.pt": f"trial {trial.number} epoch {best}",
        "checkpoints/last.pt": f"trial {trial.number} epoch {trial.epoch}",
    }
    failed = artifacts(storage, "trial-0005")
    assert failed["error.txt"].read_text() == "Traceback\nboom"


def test_delivering_again_changes_nothing(delivered):
    storage, _ = delivered
    before = store_reader.everything(storage / "mlflow.db")
    assert tracker.sync(storage / "digits")
    assert store_reader.everything(storage / "mlflow.db") == before


def test_stopped_anywhere_and_resumed_it_ends_in_the_same_runs(delivered, storage):
    whole, _ = delivered
    folder = storage / "digits"
    lines = (whole / "digits" / journal.FILE).read_bytes().splitlines(keepends=True)
    shutil.copytree(whole / "digits", folder)
    for cut in (1, 3, 4, len(lines) // 2, len(lines) - 1):
        (folder / journal.FILE).write_bytes(b"".join(lines[:cut]) + lines[cut][:10])
        assert tracker.sync(folder)
        assert "RUNNING" not in store_reader.statuses(storage / "mlflow.db").values()
        assert store_reader.statuses(storage / "mlflow.db")["digits"] == "KILLED"
    (folder / journal.FILE).write_bytes(b"".join(lines))
    assert tracker.sync(folder)
    database = whole / "mlflow.db"
    assert store_reader.everything(storage / "mlflow.db") == store_reader.everything(database)


def test_an_unfinished_trial_is_killed_at_closing_and_runs_again_on_resume(storage):
    folder = storage / "digits"
    spec = journals.made_up_spec(stopping={"name": "none"})
    journals.write_sweep(folder, spec, trials=2, fails=(), open_trial=1)
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    assert tracker.sync(folder)
    assert store_reader.statuses(storage / "mlflow.db")["trial-0001"] == "KILLED"
    tags = store_reader.everything(storage / "mlflow.db")["tags"]
    assert ("trial-0001", "status", "interrupted") in tags

    resumed = Projection(folder)
    records, _ = journal.tail(folder / journal.FILE)
    for record in records:
        resumed.apply(record)
    n, trial = len(records), {"trial": 1, "attempt": 2}
    resumed.apply({"n": n, "time": journals.START + 99, "kind": "session", "state": "started"})
    resumed.apply({"n": n + 1, "time": journals.START + 99.5, "kind": "attempt", **trial})
    resumed.deliver(uri, closing=False)
    found = store_reader.statuses(storage / "mlflow.db")
    assert found == {"digits": "RUNNING", "trial-0000": "FINISHED", "trial-0001": "RUNNING"}


def test_a_retry_that_succeeds_takes_the_error_back(storage):
    folder = storage / "digits"
    spec = journals.made_up_spec(stopping={"name": "none"}, training={"epochs": 1})
    journals.write_sweep(folder, spec, trials=2, fails=(), open_trial=1, checkpoints=False)
    with journal.Journal(folder) as log:
        error = {"type": "ValueError", "message": "boom", "traceback": "Traceback\nboom"}
        end = {"trial": 1, "epoch": 1, "value": None, "reason": "boom", "error": error}
        log.write("end", **end | {"status": "failed"})
        assert tracker.sync(folder)
        assert "error.txt" in artifacts(storage, "trial-0001")
        log.write("reopen", trial=1, status="failed", value=None)
        log.write("end", **end | {"status": "finished", "reason": "in full", "error": None})
        assert tracker.sync(folder)
    tags = store_reader.everything(storage / "mlflow.db")["tags"]
    assert {("trial-0001", "error", ""), ("trial-0001", "reason", "in full")} <= {*tags}
    assert artifacts(storage, "trial-0001") == {}
    assert store_reader.statuses(storage / "mlflow.db")["trial-0001"] == "FINISHED"


def test_a_verdict_that_an_extension_took_back_is_cleared(storage):
    folder = storage / "digits"
    state = journals.write_sweep(folder, trials=1, fails=())
    runs = Runs(f"sqlite:///{storage / 'mlflow.db'}", state, folder)
    runs.log(runs.parent, {"verdict": "one beats another", "mine": "kept"})
    assert tracker.sync(folder)
    tags = store_reader.everything(storage / "mlflow.db")["tags"]
    assert {("digits", "verdict", ""), ("digits", "mine", "kept")} <= {*tags}


def test_the_same_spec_run_afresh_is_another_sweep(storage):
    folder = storage / "digits"
    for start in (journals.START, journals.START + 1000):
        shutil.rmtree(folder, ignore_errors=True)
        journals.write_sweep(folder, trials=2, fails=(), start=start)
        assert tracker.sync(folder)
    query = "SELECT COUNT(*), COUNT(DISTINCT experiment_id) FROM runs"
    assert store_reader.rows(storage / "mlflow.db", query) == [(6, 1)]


def test_without_artifacts_no_checkpoint_is_copied(storage):
    spec = journals.made_up_spec(tracking={"artifacts": False})
    journals.write_sweep(storage / "digits", spec, trials=1, fails=())
    assert tracker.sync(storage / "digits")
    assert artifacts(storage, "trial-0000") == {}


def test_a_create_whose_answer_was_lost_leaves_one_run_a_trial(storage, monkeypatch):
    create, lost = Runs.create, []

    def create_then_lose(self, trial, tags):
        known = create(self, trial, tags)
        if trial.number not in lost:
            lost.append(trial.number)
            raise ConnectionError("the answer was lost")
        return known

    monkeypatch.setattr(Runs, "create", create_then_lose)
    monkeypatch.setattr(tracker, "POLL", 0.01)
    journals.write_sweep(storage / "digits", trials=2, fails=())
    assert tracker.sync(storage / "digits")
    assert lost == [0, 1]
    query = "SELECT name FROM runs ORDER BY name"
    found = store_reader.rows(storage / "mlflow.db", query)
    assert found == [("digits",), ("trial-0000",), ("trial-0001",)]


def test_of_two_parents_the_one_that_children_name_is_kept(storage):
    folder = storage / "digits"
    state = journals.write_sweep(folder, trials=3, fails=())
    assert tracker.sync(folder)
    runs = Runs(f"sqlite:///{storage / 'mlflow.db'}", state, folder)
    lost = [runs._create("digits", state.created, {}).run for _ in range(4)]
    runs.log(runs.trials[1], {"mlflow.parentRunId": lost[1]})
    for _ in range(2):
        assert tracker.sync(folder)
        query = "SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active' AND name = ?"
        (kept,) = store_reader.rows(storage / "mlflow.db", query, "digits")
        assert kept[1] == "FINISHED"
        query = "SELECT DISTINCT value FROM tags WHERE key = 'mlflow.parentRunId'"
        assert store_reader.rows(storage / "mlflow.db", query) == [kept[:1]]


def test_a_store_that_takes_no_files_has_every_run_closed_and_gets_them_later(storage):
    folder = storage / "digits"
    state = journals.write_sweep(folder, trials=3, fails=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runs, "store_folder", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        patch.setattr(tracker, "POLL", 0.05)
        assert tracker.sync(folder, patience=0.2) is False
    assert set(store_reader.statuses(storage / "mlflow.db").values()) == {"FINISHED"}
    assert artifacts(storage, "trial-0000") == {}
    assert tracker.sync(folder)
    for number in state.trials:
        assert "checkpoints/last.pt" in artifacts(storage, f"trial-{number:04d}")


def test_rows_that_the_store_has_are_not_sent_again(storage, monkeypatch):
    sent = []
    log = Runs.log

    def counted(self, known, tags, rows=None, params=None):
        sent.append(len(rows or []))
        log(self, known, tags, rows, params)

    monkeypatch.setattr(Runs, "log", counted)
    journals.write_sweep(storage / "digits", trials=3, fails=())
    assert tracker.sync(storage / "digits")
    assert sum(sent) > 0
    sent.clear()
    assert tracker.sync(storage / "digits")
    assert sum(sent) == 0
