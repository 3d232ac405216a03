"""What a sweep will take, reckoned from two sizes; and one small space tried out."""

from __future__ import annotations

import os

import pytest

from sweeps.errors import PreflightError
from sweeps.forecast import Size, epochs_of, forecast
from sweeps.preview import in_words
from sweeps.reading import parse
from sweeps.spec import SweepSpec
from sweeps.trial import datasets
from sweeps.trial.extremes import extremes
from sweeps.trial.probe import _epoch
from sweeps.tryout import places_here, try_out, try_out_on

SMALL = Size({}, epoch_seconds=1.0, memory=10**8, checkpoint=1000, epochs=3)
LARGE = Size({}, epoch_seconds=3.0, memory=2 * 10**8, checkpoint=5000, epochs=3)


def spec_of(text: str) -> SweepSpec:
    return parse(f"name: x\n{text}")


def test_epochs_of_a_sweep_under_asha():
    found = epochs_of(spec_of("training: {epochs: 27}\nsearch: {trials: 32}"))
    assert (found.least, found.most) == (27 + 31, 32 * 27)
    # By its rate 32 · (1 + 2/3 + 6/9 + 18/27) = 96; real sweeps of this kind had 230 to 260.
    assert 150 < found.about < 300


def test_the_likely_epochs_are_the_same_each_time():
    spec = spec_of("training: {epochs: 9}\nsearch: {trials: 9}")
    assert epochs_of(spec) == epochs_of(spec)


def test_without_early_stopping_the_epochs_are_known():
    found = epochs_of(spec_of("training: {epochs: 9}\nsearch: {trials: 9}\nstopping: {name: none}"))
    assert found.least == found.about == found.most == 81


def test_time_gpu_hours_and_disk_follow_from_the_epochs():
    text = "training: {epochs: 9}\nsearch: {trials: 9}\nstopping: {name: none}"
    spec = spec_of(f"{text}\nresources: {{gpus_per_trial: 0.5}}\ntracking: {{artifacts: false}}")
    found = forecast(spec, SMALL, LARGE, places=3)
    start = found.hours.least * 3600 - 81 * 1.0 / 3
    assert found.hours.most * 3600 - start == pytest.approx(81 * 3.0 / 3)
    assert found.gpu_hours.most * 3600 == pytest.approx(0.5 * 81 * 3.0)
    assert found.gpu_hours.least * 3600 == pytest.approx(0.5 * 81 * 1.0)
    assert (found.disk.least, found.disk.most) == (9 * 1000, 9 * 3 * 5000)


def test_a_trial_to_the_last_epoch_takes_its_time_however_many_run():
    found = forecast(spec_of("training: {epochs: 100}\nsearch: {trials: 2}"), SMALL, LARGE, 64)
    assert found.hours.least * 3600 > 100


def test_a_budget_limits_what_is_forecast():
    text = "training: {epochs: 9}\nsearch: {trials: 9}\nbudget: {max_epochs: 20, max_hours: 0.004}"
    found = forecast(spec_of(text), SMALL, LARGE, places=1)
    assert found.epochs.most == 20
    assert found.hours.most == 0.004


def test_a_trial_that_fits_nowhere_here_is_refused():
    with pytest.raises(PreflightError, match=r"asks for 1 CPUs and 2 GPUs \(found \d+ and 1 here"):
        places_here(spec_of("resources: {gpus_per_trial: 2}"), gpus=1)


def test_the_extremes_are_found_by_their_operations():
    spec = spec_of(
        "space: {model.options.width: {int: [8, 64]}, training.batch_size: {choice: [64, 32, 128]}}"
    )
    small, large = extremes(spec, datasets.load(spec.data))
    assert small == {"model.options.width": 8, "training.batch_size": 32}
    assert large == {"model.options.width": 64, "training.batch_size": 128}


def test_a_space_is_tried_out_in_processes_of_their_own_and_told_in_words():
    spec = spec_of(
        "training: {epochs: 2, batch_size: 128}\nsearch: {trials: 4}\n"
        "space: {model.options.width: {choice: [8, 512]}}\nresources: {concurrency: 1}"
    )
    found = try_out(spec, seconds=0.0)
    assert found.largest.checkpoint > 20 * found.smallest.checkpoint > 0
    assert 10**8 < found.smallest.memory < 10**10
    assert found.smallest.epoch_seconds > 0
    text = in_words(spec, found)
    assert "at model.options.width 512" in text
    assert "GPU-hours" not in text


def test_a_trial_that_does_not_run_is_said_with_its_place(tmp_path, monkeypatch):
    (tmp_path / "frail.py").write_text("def network(**options):\n    raise OSError('no licence')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    spec = spec_of(
        "model: {name: 'frail:network'}\nspace: {training.batch_size: {choice: [64]}}\n"
        "resources: {concurrency: 1}"
    )
    message = r"does not run here: OSError: no licence \(at training.batch_size = 64\)"
    with pytest.raises(PreflightError, match=message):
        try_out(spec, seconds=0.0)


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_on_a_cluster_it_is_tried_by_one_of_its_workers():
    spec = spec_of("training: {epochs: 2, batch_size: 128}\nsearch: {trials: 40}")
    found = try_out_on(spec, None, seconds=0.0)
    assert found.places == os.cpu_count()
    assert found.largest.epoch_seconds > 0 and found.largest.memory > 10**8
    groups = spec_of("model: {options: {width: 48}, norm: {kind: group}}")
    with pytest.raises(PreflightError, match=r"^model: .*48") as error:
        try_out_on(groups, None)
    assert "Traceback" not in str(error.value)
    with pytest.raises(PreflightError, match="a trial asks for 64 CPUs"):
        try_out_on(spec_of("resources: {cpus_per_trial: 64}"), None)


def test_an_epoch_reckoned_from_updates_counts_the_images_judged():
    tested = spec_of(
        "data: {evaluate: test}\ntraining: {batch_size: 50}\nsearch: {sampler: grid}\n"
        "stopping: {name: none}\nobjective: {metric: test_accuracy}\n"
        "space: {training.optimizer.lr: {choice: [0.1, 0.2]}}"
    )
    held_out = spec_of("training: {batch_size: 50}")
    updates = [float(n) for n in range(5)]
    for spec, seconds in ((held_out, 24 + 2), (tested, 30 + 297 / 150)):
        trial = spec.trial({}, seed=0)
        found = _epoch(trial, datasets.load(trial.data), updates, [0.0])
        assert found == pytest.approx(seconds)
