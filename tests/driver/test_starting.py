"""`sweeps run --from`: a sweep that starts from what an earlier one has learnt."""

from __future__ import annotations

import shutil
import sqlite3

import pytest
from test_service import TINY

import sweeps
from sweeps.driver.starting import started_from
from sweeps.errors import CheckpointError, PreflightError, SpecError, SweepExists
from sweeps.spec import SweepSpec
from sweeps.trial import checkpoint

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("shared_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's
]


def test_from_a_path_or_a_run_every_trial_starts_there(storage, tmp_path) -> None:
    common = {**TINY, "storage": str(storage), "stopping": {"name": "none"}}
    teacher = sweeps.run({**common, "name": "teacher", "search": {"trials": 1}})
    path = checkpoint.best(teacher.folder / "trials" / "00000")
    still = {"training.optimizer.lr": 1e-9, "model.noise.strength": {"choice": [0.5, 1]}}
    spec = {**common, "name": "pupil", "space": still, "search": {"sampler": "grid"}}
    pupil = sweeps.run(spec, start_from=path)
    accuracies = [t.values("val_accuracy")[1] for t in pupil.state.trials.values()]
    assert len(accuracies) == 2 and min(accuracies) > teacher.best.value - 0.05 > 0.5
    start = pupil.spec.training.start
    assert (start.source, start.sha256) == (str(path), checkpoint.digest(path.read_bytes()))

    with sqlite3.connect(storage / "mlflow.db") as db:
        query = "select run_uuid from tags where key = 'sweep.trial' and run_uuid in (select "
        query += "run_uuid from runs join experiments using (experiment_id) where name='teacher')"
        (run,) = db.execute(query.replace("where name", "where experiments.name")).fetchone()
    named = SweepSpec.model_validate(spec)
    by_run, raw = started_from(run, named, pupil.folder)
    assert raw == path.read_bytes() and by_run.training.start.source == run
    assert by_run.identity() == pupil.spec.identity() != named.identity()
    moved = shutil.copy(path, tmp_path / "copy.pt")
    journal = (pupil.folder / "journal.jsonl").read_bytes()
    sweeps.run(spec, start_from=moved)  # the same weights: the same sweep, which is finished
    assert (pupil.folder / "journal.jsonl").read_bytes() == journal
    with pytest.raises(SweepExists, match=r"training\.start"):
        sweeps.run(spec)

    wide = {**spec, "name": "wide", "model": {"options": {"depth": 1, "width": 24}, "noise": {}}}
    with pytest.raises(PreflightError, match=r"the checkpoint to start from does not fit"):
        sweeps.run(wide, start_from=path)
    assert not sweeps.load("wide", storage=str(storage)).state.epochs


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.pt", "nowhere.pt cannot be read: .*--from takes a checkpoint's path, or the id"),
        ("damaged.pt", "damaged.pt is damaged: its content does not match"),
        ("0123456789abcdef0123456789abcdef", "gives no checkpoints/best.pt: .* looked for in sqli"),
    ],
)
def test_a_source_that_is_none_is_refused(storage, tmp_path, monkeypatch, source, message) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.pt").write_bytes(b"\0" * 500)
    with pytest.raises(CheckpointError, match=message):
        started_from(source, SweepSpec(name="s"), storage / "s")


def test_a_loop_of_the_users_own_starts_by_itself(storage) -> None:
    spec = SweepSpec(name="s", training={"loop": "own:loop"})
    with pytest.raises(SpecError, match="a loop of your own makes its first weights itself"):
        started_from("x.pt", spec, storage / "s")
