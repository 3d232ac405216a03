"""Claim: a sweep that wants GPUs runs on a cluster that has none until trials wait for them.

    python benchmarks/autoscale.py [--out FILE]

Needs root, for namespaces of its own. Starts Ray's real autoscaler (v2) over machines that are
processes, of the types of cluster.yaml with logical GPUs: nothing is trained on a GPU. Runs a small
sweep of one GPU a trial; prints the GPUs before it and at most during it, and which types came.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
INSIDE = "AUTOSCALE_INSIDE"
MACHINES = 2
ADDRESS = "127.0.0.1:6379"
HEAD = "ray.head.default"
"""The name by which that module knows its head."""
MODULE = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
SPEC = {
    "name": "grown",
    "model": {"name": "mlp", "options": {"depth": 2, "width": 32}, "noise": {"ghost_size": 16}},
    "training": {"epochs": 3, "batch_size": 128},
    "space": {"training.optimizer.lr": {"loguniform": [0.01, 1]}},
    "search": {"trials": 6},
    "resources": {"gpus_per_trial": 1},
    "tracking": {"artifacts": False},
}


def cluster_file() -> dict:
    """cluster.yaml with one CPU and one logical GPU a worker, whose machines are processes."""
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

    content = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    types = content["available_node_types"]
    for kind in types.values():
        kind["node_config"] = {}
    types[HEAD] = types.pop("head") | {"resources": {"CPU": 1}, "max_workers": 0}
    for name in ("gpu_spot", "gpu_on_demand"):
        types[name] |= {"resources": {"CPU": 1, "GPU": 1}, "max_workers": MACHINES}
    provider = {"type": "external", "module": MODULE, "launch_multiple": True}
    provider["gcs_address"] = ADDRESS
    kept = ("cluster_name", "upscaling_speed", "idle_timeout_minutes")
    none = ("setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    return {
        **{f"{name}_commands": [] for name in none},
        "head_node_type": HEAD,
        "initialization_commands": [],
        "file_mounts": {},
        "cluster_synced_files": [],
        "auth": {},
        **{key: content[key] for key in kept},
        "available_node_types": types,
        "max_workers": MACHINES,
        "provider": {**provider, "head_node_id": FAKE_HEAD_NODE_ID},
    }


def start(file: Path) -> None:
    """Ray's head with the autoscaler of the cluster in `file`."""
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

    settings = {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    }
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--port=6379"]
    command += ["--num-cpus=1", "--num-gpus=0", f"--autoscaling-config={file}"]
    subprocess.run(command, env={**os.environ, **settings}, check=True, stdout=subprocess.DEVNULL)


class Watch(threading.Thread):
    """The most GPUs seen, and the machines that came by type, until `done` is set."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.done, self.most, self.types = threading.Event(), 0.0, Counter()
        self._address = address

    def run(self) -> None:
        """Look twice a second."""
        import ray
        from ray.autoscaler.v2.sdk import get_cluster_status

        while not self.done.wait(0.5):
            self.most = max(self.most, ray.cluster_resources().get("GPU", 0.0))
            status = get_cluster_status(self._address)
            names = (n.ray_node_type_name for n in [*status.active_nodes, *status.idle_nodes])
            self.types |= Counter(name for name in names if name.startswith("gpu_"))


def grow(home: Path) -> list[str]:
    """Run the sweep on a cluster without a GPU; what was seen."""
    import ray

    import sweeps

    file = home / "ray_bootstrap_config.yaml"
    file.write_text(yaml.safe_dump(cluster_file()))
    start(file)
    ray.init(address=ADDRESS, log_to_driver=False, namespace="watch")
    before = ray.cluster_resources().get("GPU", 0.0)
    watch = Watch(ADDRESS)
    watch.start()
    sweep = sweeps.run(SPEC, storage=str(home / "sweeps"), address=ADDRESS)
    watch.done.set()
    watch.join()
    ends = Counter(trial.status for trial in sweep.state.trials.values())
    return [
        f"GPUs before   {before:g}",
        f"GPUs at most  {watch.most:g}, allowed {MACHINES}",
        f"machines      {dict(watch.types)}",
        f"trials        {dict(ends)}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="also write the lines to this file")
    arguments = parser.parse_args()
    if os.geteuid():
        print("error: root is needed, for namespaces of its own", file=sys.stderr)
        return 2
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        lines = grow(Path(os.environ[INSIDE]))
        print("\n".join(lines))
        if arguments.out:
            arguments.out.write_text("\n".join(lines) + "\n")
        sys.stdout.flush()
        os._exit(0)  # the namespace takes the cluster with it
    with tempfile.TemporaryDirectory() as home:
        command = ["unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
        command += [sys.executable, __file__, *sys.argv[1:]]
        inside = {**os.environ, "HOME": home, INSIDE: home}
        return subprocess.run(command, env=inside, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
