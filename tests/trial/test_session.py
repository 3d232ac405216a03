import json
from pathlib import Path

import pytest
import torch

from sweeps.errors import CheckpointError, TrialDiverged, TrialStopped
from sweeps.spec import TrialSpec
from sweeps.trial import checkpoint
from sweeps.trial.arrays import Dataset
from sweeps.trial.batches import ResidentBatches
from sweeps.trial.checkpoint import DamagedCheckpointWarning
from sweeps.trial.loop import EpochResult
from sweeps.trial.session import load_model, train
from sweeps.trial.training import evaluate


@pytest.fixture
def small(trial):
    """Makes a trial of 4 epochs of 5 updates with noise, on the tiny colour images."""

    def make(**training):
        training = {"batch_size": 8, "epochs": 4, **training}
        return trial(model={"noise": {"ghost_size": 4}}, training=training)

    return make


class Worker:
    """Runs trials, each in a folder of its own name, and may die after an epoch."""

    def __init__(self, folder: Path, data: Dataset) -> None:
        self.folder, self.data = folder, data

    def session(self, trial, name="trial", **options):
        return train(trial, self.data, self.folder / name, device="cpu", **options)

    def run(self, trial, name="trial", *, known_epoch=0, until=None) -> list[EpochResult]:
        results = []
        session = self.session(trial, name, known_epoch=known_epoch)
        for result in session:
            results.append(result)
            if result.epoch == until:
                break
        session.close()
        return results

    def newest(self, name="trial"):
        return checkpoint.newest(self.folder / name)

    def files(self, name="trial") -> dict[int, Path]:
        return checkpoint.files(self.folder / name)

    def best(self, name="trial") -> Path:
        return checkpoint.best(self.folder / name)


@pytest.fixture
def worker(tmp_path, tiny):
    return Worker(tmp_path, tiny)


@pytest.mark.parametrize("killed_after", [1, 2, 3, 4])
def test_killed_and_resumed_is_undisturbed(small, worker, untimed, same, killed_after):
    whole = worker.run(small(), "whole")
    for lost in (0, 1):  # results that the caller did not note: the checkpoint is ahead of it
        known, name = killed_after - lost, f"lost {lost}"
        begun = worker.run(small(), name, until=killed_after)[:known]
        rest = worker.run(small(), name, known_epoch=known)
        assert [r.epoch for r in begun + rest] == [1, 2, 3, 4]
        assert untimed(begun + rest) == untimed(whole)
        assert same(worker.newest(name)["state"], worker.newest("whole")["state"])


@pytest.mark.parametrize("killed_after", [5, 6])
def test_a_child_goes_on_from_its_parent_whatever_kills_it(
    small, worker, untimed, same, killed_after
):
    parent = worker.run(small(), "parent")
    before = worker.newest("parent")
    spec, folder = small().going_on(4, 7), worker.folder / "parent"
    whole = list(worker.session(spec, "child", known_epoch=4, parent=folder))
    assert [r.epoch for r in parent + whole] == [1, 2, 3, 4, 5, 6, 7]
    begun = []
    for result in worker.session(spec, "again", known_epoch=4, parent=folder):
        begun.append(result)
        if result.epoch == killed_after:
            break
    rest = list(worker.session(spec, "again", known_epoch=killed_after, parent=folder))
    assert untimed(begun + rest) == untimed(whole)
    assert same(worker.newest("again")["state"], worker.newest("child")["state"])
    assert same(worker.newest("parent")["state"], before["state"])
    assert [entry["epoch"] for entry in worker.newest("child")["history"]] == [5, 6, 7]
    longer = worker.run(small(epochs=7), "longer")
    assert untimed(longer)[4:] != untimed(whole)


def test_a_child_without_a_cosine_trains_as_if_its_parent_had_gone_on(small, worker, untimed):
    constant = {"schedule": {"name": "constant"}}
    worker.run(small(**constant), "parent")
    spec, folder = small(**constant).going_on(4, 6), worker.folder / "parent"
    child = worker.session(spec, "child", known_epoch=4, parent=folder)
    longer = worker.run(small(epochs=6, **constant), "longer")
    assert untimed(child) == untimed(longer)[4:]


def test_a_child_without_its_parents_checkpoint(small, worker):
    worker.run(small(), "parent", until=2)
    spec, folder = small().going_on(4, 7), worker.folder / "parent"
    with pytest.raises(CheckpointError, match="no checkpoint of epoch 4 any more to go on from"):
        list(worker.session(spec, "child", known_epoch=4, parent=folder))


class Asked:
    """Says stop at the given time of asking: once an update, once more after an epoch."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("at", range(1, 24))
def test_stopped_at_any_update_and_resumed_is_undisturbed(small, worker, untimed, same, at):
    spec = small(cpu_precision="bfloat16", accumulate=2)
    whole = worker.run(spec, "whole")
    begun, name = [], f"asked {at}"
    with pytest.raises(TrialStopped, match="stopped after"):
        for result in worker.session(spec, name, stop=Asked(at)):
            begun.append(result)
    epoch, step = divmod(at, 6)  # five updates and the end of the epoch
    assert (worker.newest(name)["epoch"], worker.newest(name)["step"]) == (epoch, step)
    rest = worker.run(spec, name, known_epoch=len(begun))
    assert untimed(begun + rest) == untimed(whole)
    assert same(worker.newest(name)["state"], worker.newest("whole")["state"])


def test_minutes_cut_an_epoch_where_they_fall(small, worker, untimed, monkeypatch):
    """A clock that gives each update a minute: with every 4 minutes, after updates 4, 8, 12, …"""
    whole = worker.run(small(), "whole")
    now = iter(range(0, 100000, 60))
    monkeypatch.setattr("sweeps.trial.keeper.time.monotonic", lambda: next(now))
    spec = small(checkpoint_every="4 minutes")
    session, seen = worker.session(spec), []
    for result in session:
        seen.append(list(checkpoint.positions(worker.folder / "trial")))
        if result.epoch == 2:
            break
    session.close()
    steps = [step for epoch, step in seen[0] + seen[1] if epoch in (0, 1)]
    assert any(steps)
    assert untimed([result, *worker.run(spec, known_epoch=2)]) == untimed(whole[1:])


def test_a_damaged_checkpoint_inside_an_epoch_falls_back(small, worker, untimed):
    whole = worker.run(small(), "whole")
    with pytest.raises(TrialStopped):
        list(worker.session(small(), stop=Asked(8)))
    positions = checkpoint.positions(worker.folder / "trial")
    assert list(positions) == [(1, 0), (1, 2)]
    positions[1, 2].write_bytes(positions[1, 2].read_bytes()[:-9])
    with pytest.warns(DamagedCheckpointWarning, match="epoch-000001-step-000002"):
        rest = worker.run(small(), known_epoch=1)
    assert untimed(rest) == untimed(whole[1:])


def test_a_replayed_result_is_the_one_that_was_lost(small, worker):
    first = worker.run(small(), until=2)
    again = worker.run(small(), known_epoch=0, until=2)
    assert [r.metrics for r in again] == [r.metrics for r in first]  # timings included
    with pytest.raises(RuntimeError, match="state of epoch 1 is gone"):
        again[0].state()
    assert again[1].state()["epoch"] == 2


def test_a_checkpoint_behind_the_caller_is_caught_up_silently(small, worker, untimed):
    spec = small(checkpoint_every=3)
    whole = worker.run(spec, "whole")
    begun = worker.run(spec, "killed", until=2)
    assert worker.newest("killed") is None
    rest = worker.run(spec, "killed", known_epoch=2)
    assert untimed(begun + rest) == untimed(whole)


def test_a_damaged_checkpoint_falls_back(small, worker, untimed):
    whole = worker.run(small(), "whole")
    begun = worker.run(small(), "killed", until=3)
    path = worker.files("killed")[3]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(DamagedCheckpointWarning, match="epoch-000003"):
        rest = worker.run(small(), "killed", known_epoch=3)
    assert untimed(begun + rest) == untimed(whole)


def test_all_checkpoints_damaged_starts_over(small, worker, untimed):
    whole = worker.run(small())
    for path in worker.files().values():
        path.write_bytes(b"")
    with pytest.warns(DamagedCheckpointWarning):
        assert untimed(worker.run(small())) == untimed(whole)


def test_a_finished_trial_is_only_replayed(small, worker, monkeypatch):
    worker.run(small())
    monkeypatch.setattr("sweeps.trial.session.fit", None)
    assert [r.epoch for r in worker.run(small(), known_epoch=2)] == [3, 4]
    assert worker.run(small(), known_epoch=4) == []


def test_checkpoints_are_written_when_due_and_before_the_result(small, worker):
    written = []
    spec = small(checkpoint_every=2, epochs=5)
    for _ in train(spec, worker.data, worker.folder / "trial", device="cpu"):
        newest = worker.newest()
        written.append(newest and newest["epoch"])
    assert written == [None, 2, 2, 4, 5]


def test_threads_are_the_trials(small, worker):
    worker.run(small().model_copy(update={"threads": 2}), until=1)
    assert torch.get_num_threads() == 2


def test_load_model_gives_the_best_epoch(trial, digits, tmp_path):
    spec, worker = trial(training={"optimizer": {"lr": 0.5}}), Worker(tmp_path, digits)
    results = worker.run(spec)
    path = worker.best()
    model = load_model(path)
    assert not model.training
    found = evaluate(model, ResidentBatches(spec, digits, "cpu").evaluation())
    epoch = checkpoint.load(path)["epoch"]
    assert found["val_accuracy"] == results[epoch - 1].metrics["val_accuracy"]
    assert found["val_accuracy"] == max(r.metrics["val_accuracy"] for r in results)
    assert TrialSpec.model_validate_json(checkpoint.load(path)["trial"]) == spec


LOOP = """
from sweeps.trial.loop import EpochResult

VALUES = {values}

def loop(trial, data, *, device="cpu", resume=None):
    assert device == "cpu" and len(data.train_labels) == 50
    for epoch in range(resume["done"] + 1 if resume else 1, trial.training.epochs + 1):
        metrics = {{"score": VALUES[epoch - 1], "begun": resume["done"] if resume else 0}}
        yield EpochResult(epoch, metrics, lambda: {{"done": epoch}})
"""


@pytest.fixture
def own(module, trial):
    """Makes a trial whose loop is the given source, in a module `mine`."""

    def make(source, mode="max", **training):
        module("mine.py", source)
        training = {"epochs": 4, "loop": "mine:loop", **training}
        return trial(training=training, objective={"metric": "score", "mode": mode})

    return make


def test_a_loop_of_ones_own_stops_after_an_epoch(own, worker):
    spec = own(LOOP.format(values=[1, 3, 2, 3]), checkpoint_every=3)
    with pytest.raises(TrialStopped, match="stopped after epoch 2"):
        list(worker.session(spec, stop=Asked(2)))
    assert list(worker.files()) == [2]
    assert [r.epoch for r in worker.run(spec, known_epoch=2)] == [3, 4]


def test_a_loop_of_ones_own_that_takes_at_step_is_cut_inside_an_epoch(own, worker):
    source = LOOP.replace("resume=None):", "resume=None, at_step):").replace(
        "        metrics", "        at_step(7, lambda: {{'done': epoch - 1}})\n        metrics"
    )
    spec = own(source.format(values=[1, 3, 2, 3]))
    with pytest.raises(TrialStopped, match="stopped after update 7 of epoch 2"):
        list(worker.session(spec, stop=Asked(3)))
    assert list(checkpoint.positions(worker.folder / "trial")) == [(1, 0), (1, 7)]
    assert [r.epoch for r in worker.run(spec, known_epoch=1)] == [2, 3, 4]


def test_a_loop_of_ones_own_is_resumed(own, worker):
    spec = own(LOOP.format(values=[1, 3, 2, 3]))
    assert [r.metrics["score"] for r in worker.run(spec, until=2)] == [1, 3]
    rest = worker.run(spec, known_epoch=2)
    assert [(r.epoch, r.metrics["score"], r.metrics["begun"]) for r in rest] == [
        (3, 2, 2),
        (4, 3, 2),
    ]
    with pytest.raises(CheckpointError, match="holds no model"):
        load_model(worker.best())


@pytest.mark.parametrize(
    ("values", "fields", "best"),
    [
        ([1, 3, 2, 3], {}, 2),
        ([1, 2, 3, 4], {}, 4),
        ([2, 1, 3, 4], {"mode": "min"}, 2),
        ([9, 1, 3, 2], {"checkpoint_every": 2}, 4),
    ],
)
def test_best_is_by_the_objective_among_the_checkpoints(own, worker, values, fields, best):
    worker.run(own(LOOP.format(values=values), **fields))
    assert worker.newest()["best_epoch"] == best
    assert worker.best() == worker.folder / "trial" / f"epoch-{best:06d}.pt"


GOOD = 'EpochResult({epoch}, {{"score": {score}}}, dict)'


def body(*results):
    lines = "".join(f"    yield {result}\n" for result in results) or "    return iter(())\n"
    return (
        "from sweeps.trial.loop import EpochResult\n"
        f"def loop(trial, data, *, device, resume):\n{lines}"
    )


@pytest.mark.parametrize(
    ("source", "error", "expected"),
    [
        (body("7"), TypeError, r"mine:loop must yield EpochResult; got int \(7\)"),
        (body(GOOD.format(epoch=2, score=1)), ValueError, "got epoch 2 where 1 was due"),
        (body(GOOD.format(epoch=1, score=1)), ValueError, "it ended after epoch 1"),
        (body(), ValueError, "it ended after epoch 0"),
        (
            body(*(GOOD.format(epoch=e, score=1) for e in range(1, 6))),
            ValueError,
            "must yield epochs 1 to 4 in order; got epoch 5",
        ),
        (body('EpochResult(1, {"acc": 1.0}, dict)'), ValueError, "must report 'score'.*got acc"),
        (body(GOOD.format(epoch=1, score="'a'")), TypeError, r"score is str \('a'\)"),
        (body(GOOD.format(epoch=1, score="True")), TypeError, "score is bool"),
        (body(GOOD.format(epoch=1, score="float('nan')")), TrialDiverged, "score is nan after"),
        (body('EpochResult(1, {"score": 1.0}, {})'), TypeError, "state as a function; got dict"),
        ("def loop(*args, **kw): return [1]", TypeError, "must be a generator .* got list"),
        ("lop = 1", ImportError, "'mine' defines no 'loop'"),
    ],
)
def test_loops_that_break_the_contract(own, worker, source, error, expected):
    with pytest.raises(error, match=expected):
        worker.run(own(source))


def test_numpy_metrics_are_kept_as_plain_numbers(own, worker):
    source = LOOP.format(values=[1, 2, 3, 4]).replace("VALUES[epoch - 1]", "np.float64(epoch)")
    worker.run(own("import numpy as np\n" + source))
    history = worker.newest()["history"]
    assert json.loads(json.dumps(history))[3] == {
        "epoch": 4,
        "metrics": {"score": 4.0, "begun": 0.0},
    }
