"""`sweeps run --from`: a sweep that starts from what an earlier one has learnt."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from test_service import TINY

import sweeps
from sweeps.driver.starting import started_from
from sweeps.errors import CheckpointError, SpecError, SweepExists
from sweeps.spec import SweepSpec
from sweeps.track.store import prepare
from sweeps.trial import checkpoint
from sweeps.trial.datasets import load
from sweeps.trial.session import train

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("shared_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's
]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> Path:
    """The last checkpoint of a trial."""
    spec = SweepSpec.model_validate({"name": "s", **TINY, "space": {}})
    data, folder = load(spec.data), tmp_path_factory.mktemp("learnt")
    list(train(spec.trial({}, 0), data, folder, device="cpu"))
    return folder / "epoch-000003.pt"


def test_every_trial_of_a_sweep_starts_there(storage, learnt, tmp_path) -> None:
    still = {"training.optimizer.lr": 1e-9, "model.noise.strength": {"choice": [0.5, 1]}}
    spec = {**TINY, "name": "pupil", "storage": str(storage), "space": still}
    spec |= {"search": {"sampler": "grid"}, "stopping": {"name": "none"}}
    pupil = sweeps.run(spec, start_from=learnt)
    accuracies = [t.values("val_accuracy")[1] for t in pupil.state.trials.values()]
    before = checkpoint.load(learnt)["history"][-1]["metrics"]["val_accuracy"]
    assert len(accuracies) == 2 and min(accuracies) > before - 0.05 > 0.5
    start = pupil.spec.training.start
    assert (start.source, start.sha256) == (str(learnt), checkpoint.digest(learnt.read_bytes()))
    named = SweepSpec.model_validate(spec)
    moved, _ = started_from(str(shutil.copy(learnt, tmp_path / "copy.pt")), named, pupil.folder)
    assert moved.identity() == pupil.spec.identity() != named.identity()
    with pytest.raises(SweepExists, match=r"training\.start"):
        sweeps.run(spec)


def test_a_run_gives_its_best_or_last_checkpoint(storage, learnt) -> None:
    from mlflow.tracking import MlflowClient

    prepare(uri := f"sqlite:///{storage}/mlflow.db")
    client = MlflowClient(uri)
    place = client.create_experiment("logged", str(storage / "logged"))
    run = client.create_run(place).info.run_id
    for role, path in (("best", learnt), ("last", learnt.with_name("epoch-000002.pt"))):
        file = shutil.copy(path, learnt.with_name(f"{role}.pt"))
        client.log_artifact(run, str(file), "checkpoints")
    for source, path in ((run, "best"), (f"{run}/last", "last")):
        spec, raw = started_from(source, SweepSpec(name="s"), storage / "s")
        assert raw == learnt.with_name(f"{path}.pt").read_bytes()
        assert spec.training.start.source == source


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("damaged.pt", "damaged.pt is damaged: its content does not match"),
        ("0123456789abcdef0123456789abcdef", "gives no checkpoints/best.pt: .* looked for in sqli"),
    ],
)
def test_a_source_that_is_none_is_refused(  # noqa: PLR0917 - fixtures
    storage, learnt, tmp_path, monkeypatch, source, message
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = bytearray(learnt.read_bytes())
    raw[100] ^= 1
    (tmp_path / "damaged.pt").write_bytes(raw)
    with pytest.raises(CheckpointError, match=message):
        started_from(source, SweepSpec(name="s"), storage / "s")


@pytest.mark.parametrize("kind", ["text", "torch", "empty", "cut short"])
def test_a_file_that_is_no_checkpoint_is_bad_input(storage, learnt, tmp_path, kind) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(3)}, file)
    content = {"text": b"notes", "empty": b"", "cut short": learnt.read_bytes()[:-1]}
    file.write_bytes(content.get(kind, file.read_bytes()))
    with pytest.raises(SpecError, match=r"no checkpoint of a sweep, .*weights.pt\). Give") as found:
        started_from(str(file), SweepSpec(name="s"), storage / "s")
    assert found.value.exit_status == 2


def test_a_file_that_is_not_there_is_bad_input(storage) -> None:
    with pytest.raises(SpecError, match=r"--from: the file cannot be read .*nowhere\.pt") as found:
        started_from("nowhere.pt", SweepSpec(name="s"), storage / "s")
    assert found.value.exit_status == 2


def test_a_loop_of_the_users_own_starts_by_itself(storage) -> None:
    spec = SweepSpec(name="s", training={"loop": "own:loop"})
    with pytest.raises(SpecError, match="a loop of your own makes its first weights itself"):
        started_from("x.pt", spec, storage / "s")
