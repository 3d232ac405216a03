"""How many trials share a GPU. GPUs are logical here and memory is injected: none was measured."""

from __future__ import annotations

import json

import pytest

from sweeps.driver import budget, packing
from sweeps.driver.packing import MOST, Memory, share
from sweeps.errors import SpecError
from sweeps.journal import Journal, read
from sweeps.reading import parse
from sweeps.trial import datasets

AUTO = "name: packed\nresources: {gpus_per_trial: auto}\n"

LOOP = """
import os
import pathlib
import time

from sweeps.trial.loop import EpochResult

def loop(trial, data, *, device, resume=None):
    here = pathlib.Path(os.environ["MEETING"])
    (here / str(trial.training.optimizer.lr)).touch()
    while len(list(here.iterdir())) < 3:  # the first three are there at once
        time.sleep(0.01)
    for epoch in range(1 + (resume or {"epoch": 0})["epoch"], trial.training.epochs + 1):
        found = {"val_accuracy": 0.5, "gpu": float(os.environ["CUDA_VISIBLE_DEVICES"])}
        yield EpochResult(epoch, found, lambda: {"epoch": epoch})
"""
SWEEP = """
import json, pathlib, ray
from sweeps.driver import cluster, packing
import sweeps

for name, value in cluster.ENVIRONMENT.items():
    __import__("os").environ.setdefault(name, value)
with cluster._one_machine():
    ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", num_gpus=4, num_cpus=9)
packing.measured = lambda spec, data, path: packing.Memory(taken=4, total=10)
asked = []
places = cluster.places
def noted(resources, address=None):
    asked.append((resources.gpus_per_trial, places(resources, address)))
    return min(asked[-1][1], 3)  # more workers would only take longer to start
cluster.places = noted
sweep = sweeps.run({
    "name": "packed", "training": {"epochs": 1, "loop": "looped:loop"}, "search": {"trials": 10},
    "space": {"training.optimizer.lr": {"uniform": [0.1, 1]}},
    "resources": {"gpus_per_trial": "auto"},
}, storage="sweeps")
gpus = [t.results[-1]["metrics"]["gpu"] for t in sweep.state.trials.values()]
said = sweep.state.sessions[0]["gpus_per_trial"]
pathlib.Path("found").write_text(json.dumps({"asked": asked, "gpus": gpus, "said": said}))
"""


@pytest.mark.parametrize(
    ("taken", "part"),
    [
        (2, 0.25),  # 4 · 2 leave a tenth of 10 free, 5 · 2 do not
        (3, 0.3333),
        (4, 0.5),
        (5, 1.0),
        (10, 1.0),
        (11, 1.0),
    ],
)
def test_as_many_share_a_gpu_as_leave_the_margin(taken, part):
    assert share(Memory(taken, total=10)) == part


def test_no_more_than_a_few_share_a_gpu_and_never_more_than_one_whole():
    assert share(Memory(0, 10**9)) == 1 / MOST
    assert all(n * share(Memory(90, n * 100)) <= 1 for n in range(1, MOST + 1))


def test_auto_becomes_a_number_and_nothing_else_changes():
    spec = parse(AUTO)
    found = packing.packed(spec, None, "", lambda *_: Memory(3, 10))
    assert spec.resources.gpus == 1.0
    assert found.resources.gpus == 0.3333
    assert found.model_copy(update={"resources": spec.resources}) == spec


@pytest.mark.parametrize("wrong", ["automatic", "-1", "'1'"])
def test_another_word_or_number_is_refused(wrong):
    with pytest.raises(SpecError, match="a number of at least 0 or auto is needed"):
        parse(f"name: x\nresources: {{gpus_per_trial: {wrong}}}")


def test_gpu_hours_count_the_part_that_was_measured(tmp_path):
    spec = parse(AUTO + "budget: {max_gpu_hours: 1}\n")
    with Journal(tmp_path) as journal:
        journal.write("sweep", spec=spec.model_dump(mode="json"), identity="x", versions={})
        start = journal.write("session", state="started", gpus_per_trial=0.25)["time"]
        journal.write("trial", trial=0, params={}, seed=0)
        journal.write("attempt", trial=0, attempt=1, epoch=0, alone=False)
        assert not budget.used_up(journal.state, {0}, start + 3 * 3600)
        assert budget.used_up(journal.state, {0}, start + 5 * 3600)


def test_without_a_gpu_to_measure_on_a_trial_keeps_a_whole_one():
    spec = parse(AUTO)
    trial = spec.trial({}, seed=0).model_dump(mode="json")
    data = datasets.load(spec.data)
    assert share(packing._on_this_gpu(trial, data, ".")) == 1.0


@pytest.mark.root
@pytest.mark.heavy
def test_trials_share_logical_gpus_by_the_injected_memory(namespaced, tmp_path):
    (tmp_path / "looped.py").write_text(LOOP)
    (tmp_path / "sweep.py").write_text(SWEEP)
    script = namespaced("mkdir meeting; MEETING=$PWD/meeting PYTHONPATH=. python sweep.py")
    output = script.communicate()[0]
    assert script.returncode == 0, output
    found = json.loads((tmp_path / "found").read_text())
    assert found["asked"][:2] == [["auto", 4], [0.5, 8]]  # then anew every few seconds
    assert found["said"] == 0.5
    assert len(found["gpus"]) == 10
    assert set(found["gpus"]) <= {0.0, 1.0, 2.0, 3.0}
    assert len(set(found["gpus"][:3])) > 1  # halves: three at once cannot be on one


MIXED_LOOP = """
import ray

from sweeps.trial.loop import EpochResult

def loop(trial, data, *, device, resume=None):
    here = ray.get_runtime_context().get_node_id()
    has = {n["NodeID"]: n["Resources"].get("GPU", 0) for n in ray.nodes()}
    yield EpochResult(1, {"val_accuracy": 0.5, "gpus_here": has[here]}, lambda: {})
"""
MIXED = """
name: mixed
training: {epochs: 1, loop: 'mixed:loop'}
search: {trials: 8}
stopping: {name: none}
space: {training.optimizer.lr: {uniform: [0.1, 1]}}
resources: {gpus_per_trial: PART}
"""


@pytest.mark.root
@pytest.mark.heavy
def test_a_node_without_gpus_never_gets_a_trial_that_asks_for_one(namespaced, tmp_path):
    """A CPU-only head with room for eight trials and a node with two logical GPUs."""
    (tmp_path / "mixed.py").write_text(MIXED_LOOP)
    (tmp_path / "gpu.yaml").write_text(MIXED.replace("PART", "0.5"))
    (tmp_path / "cpu.yaml").write_text(MIXED.replace("PART", "0").replace("mixed\n", "plain\n", 1))
    script = namespaced("""
        mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray
        export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 RAY_enable_metrics_collection=0
        ray start --head --port=6391 --include-dashboard=false --num-cpus=8 --num-gpus=0 \
            --node-ip-address=127.0.0.1 >log 2>&1
        ray start --address=127.0.0.1:6391 --num-cpus=1 --num-gpus=2 \
            --node-ip-address=127.0.0.2 >>log 2>&1
        for file in gpu cpu; do sweeps run $file.yaml --address 127.0.0.1:6391 || exit 1; done
        sed 's/0.5/3/; s/mixed$/large/' gpu.yaml >large.yaml
        sweeps run large.yaml --address 127.0.0.1:6391; echo "too large: $?"
    """)
    output = script.communicate()[0]
    assert script.returncode == 0, output
    assert "a trial asks for 3 GPUs (found 2 here)" in output and "too large: 2" in output
    found = {}
    for name in ("mixed", "plain"):
        trials = read(tmp_path / "sweep-data" / name).trials.values()
        found[name] = [t.results[0]["metrics"]["gpus_here"] for t in trials]
    assert found["mixed"] == [2.0] * 8
    assert 0.0 in found["plain"]
