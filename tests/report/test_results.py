from __future__ import annotations

import math
import subprocess
import sys
import textwrap

import journals
import pytest

from sweeps import journal
from sweeps.errors import CheckpointError, SweepNotFound
from sweeps.report.results import Sweep, effective_size
from sweeps.spec import NoiseSpec


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Sweep:
    folder = tmp_path_factory.mktemp("storage") / "digits"
    journals.write_sweep(folder)
    return Sweep(folder)


def test_best_is_the_best_last_value_of_those_trained_in_full(sweep):
    full = {
        t.number: t.results[-1]["metrics"]["val_accuracy"]
        for t in sweep.state.trials.values()
        if t.status == "finished"
    }
    best = sweep.best
    assert best is not None and best.complete and best.epochs == 27
    assert (best.trial, best.value) == max(full.items(), key=lambda pair: pair[1])
    assert best.params == sweep.state.trials[best.trial].params


def test_without_one_in_full_the_best_of_the_others_is_called_incomplete(tmp_path):
    spec = journals.made_up_spec(stopping={"name": "none"})
    journals.write_sweep(tmp_path / "x", spec, trials=1, fails=(), open_trial=0)
    best = Sweep(tmp_path / "x").best
    assert best is not None and not best.complete and best.epochs == 2


def test_minimising_turns_best_and_order_round(tmp_path):
    spec = journals.made_up_spec(
        objective={"metric": "val_loss", "mode": "min"}, stopping={"name": "none"}
    )
    journals.write_sweep(tmp_path / "x", spec, trials=5, fails=())
    sweep = Sweep(tmp_path / "x")
    losses = [sweep.value(t) for t in sweep.ranked()]
    assert losses == sorted(losses) and len(set(losses)) == 5
    assert sweep.best is not None and sweep.best.value == losses[0]
    frame = sweep.frame()
    assert (frame["best_value"] <= frame["value"]).all()
    assert (frame["best_value"] < frame["value"]).any()


def test_ranking_puts_full_training_before_any_early_value(sweep):
    statuses = [t.status for t in sweep.ranked()]
    assert statuses == sorted(statuses, key=lambda s: s != "finished")
    assert {"finished", "pruned"} <= set(statuses)


def test_frame_has_a_row_a_trial_under_short_names(sweep):
    frame = sweep.frame()
    names = ["ghost_size", "strength", "lr"]
    tail = ["seed", "epochs", "value", "best_value", "seconds", "reason"]
    assert list(frame.columns) == ["trial", "status", *names, *tail]
    assert list(frame["trial"]) == list(range(12))
    failed = frame.loc[5]
    assert (failed["status"], failed["epochs"]) == ("failed", 1)
    assert failed["reason"] == "ValueError: boom"
    trial = sweep.state.trials[0]
    assert frame.loc[0, "lr"] == trial.params["training.optimizer.lr"]


def test_seconds_add_up_the_attempts_and_leave_out_the_time_between(tmp_path):
    folder = tmp_path / "x"
    journals.write_sweep(folder, trials=1, fails=(), open_trial=0)
    before = Sweep(folder).frame().loc[0, "seconds"]
    assert before == 0.5  # two results, a quarter of a second apart, after the attempt's start
    start = journals.START + 1e6
    with journal.Journal(folder) as log, pytest.MonkeyPatch.context() as patch:
        times = iter([start, start + 7.0])
        patch.setattr("sweeps.journal.time.time", lambda: next(times))
        log.write("attempt", trial=0, attempt=2, epoch=2)
        log.write(
            "result", trial=0, attempt=2, epoch=3, metrics={}, decision="continue",
            rung=None, node="",
        )  # fmt: skip
    assert Sweep(folder).frame().loc[0, "seconds"] == 7.5


def test_curves_have_a_row_an_epoch(sweep):
    curves = sweep.curves()
    assert len(curves) == sum(len(t.results) for t in sweep.state.trials.values())
    one = curves[curves["trial"] == 0]
    trial = sweep.state.trials[0]
    assert list(one["epoch"]) == [r["epoch"] for r in trial.results]
    assert list(one["val_accuracy"]) == list(trial.values("val_accuracy").values())


def test_a_parameter_named_like_a_column_keeps_its_path(tmp_path):
    space = {"training.epochs": {"choice": [3, 9]}, "training.optimizer.lr": {"choice": [0.1, 0.2]}}
    journals.write_sweep(tmp_path / "x", journals.made_up_spec(space=space), trials=1, fails=())
    assert Sweep(tmp_path / "x").labels == {
        "training.epochs": "training.epochs",
        "training.optimizer.lr": "lr",
    }


def test_no_axis_is_written_over_by_a_column_of_confirmations_or_children(tmp_path):
    names = ("baseline", "of", "parent", "second", "on_front")
    space = {f"model.options.{name}": {"choice": [1, 2]} for name in names}
    spec = journals.made_up_spec(space=space, model={"name": "some.module:build"}, confirm={})
    journals.write_sweep(tmp_path / "x", spec, trials=0, close=False)
    with journal.Journal(tmp_path / "x") as log:
        log.write("trial", trial=0, params=dict.fromkeys(space, 2), seed=0)
    (row,) = Sweep(tmp_path / "x").rows()
    assert [row[path] for path in space] == [2] * 5 and row["baseline"] == ""


@pytest.mark.parametrize(
    ("size", "strength", "expected"), [(16, 1.0, 16), (16, 2.0, 4), (8, 0.5, 32), (8, 0, math.inf)]
)
def test_effective_size_is_n_over_s_squared(size, strength, expected):
    assert effective_size(NoiseSpec(ghost_size=size, strength=strength)) == expected


def test_noise_comes_from_the_parameters_and_else_from_the_fixed_part(tmp_path):
    space = {"model.noise.strength": {"uniform": [0, 2]}}
    spec = journals.made_up_spec(space=space, model={"noise": {"ghost_size": 8}})
    journals.write_sweep(tmp_path / "x", spec, trials=1, fails=())
    sweep = Sweep(tmp_path / "x")
    trial = sweep.state.trials[0]
    noise = sweep.noise(trial)
    assert noise is not None
    assert (noise.ghost_size, noise.strength) == (8, trial.params["model.noise.strength"])


def test_no_folder_is_no_sweep_and_no_result_is_no_model(tmp_path):
    with pytest.raises(SweepNotFound):
        Sweep(tmp_path / "nothing")
    journals.write_sweep(tmp_path / "x", trials=0)
    with pytest.raises(CheckpointError, match="no trial with a result"):
        Sweep(tmp_path / "x").best_model()
    assert len(Sweep(tmp_path / "x").frame()) == 0
    assert len(Sweep(tmp_path / "x").curves()) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_best_model_is_the_best_epoch_of_the_best_trial(tmp_path):
    import torch

    from sweeps.trial.datasets import load
    from sweeps.trial.session import load_model, train

    training = {"epochs": 3, "batch_size": 32, "optimizer": {"lr": 0.05}}
    spec = journals.made_up_spec("x", training=training, data={"limit": 200}, space={})
    folder = tmp_path / "x"
    journals.write_sweep(folder, spec, trials=0, close=False)
    trial, place = spec.trial({}, 0), folder / "trials" / "00000"
    place.parent.mkdir()
    with journal.Journal(folder) as log:
        log.write("trial", trial=0, params={}, seed=0)
        for result in train(trial, load(spec.data), place, device="cpu"):
            log.write(
                "result", trial=0, attempt=1, epoch=result.epoch, metrics=dict(result.metrics),
                decision="continue", rung=None, node="",
            )  # fmt: skip
    values = log.state.trials[0].values("val_accuracy")
    best = max(values, key=lambda epoch: (values[epoch], -epoch))
    model = Sweep(folder).best_model()
    expected = load_model(place / f"epoch-{best:06d}.pt").state_dict()
    assert not model.training
    assert all(torch.equal(v, expected[k]) for k, v in model.state_dict().items())


def test_reading_results_imports_neither_torch_nor_ray_nor_mlflow(tmp_path):
    journals.write_sweep(tmp_path / "x", trials=2)
    code = f"""
        import sys
        from pathlib import Path
        from sweeps.report.results import Sweep
        from sweeps.report.write import write
        Sweep(Path({str(tmp_path / "x")!r})).frame()
        write(Path({str(tmp_path / "x")!r}))
        print({{"torch", "ray", "mlflow"}} & set(sys.modules))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, capture_output=True, check=True).stdout.strip() == b"set()"
