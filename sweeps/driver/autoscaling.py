"""What a cluster that starts machines when trials wait may grow to.

`ray up` leaves its file on the head, where the driver runs. Ray itself tells only of machines that
are there, and with GPU workers from zero those have no GPU at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sweeps.spec import ResourcesSpec

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Where `ray up` keeps the cluster's file on its head."""


def to_come(resources: ResourcesSpec, path: Path = BOOTSTRAP) -> int:
    """Trials at a time that fit the machines Ray may start; 0 without such a file."""
    try:
        config = yaml.safe_load(path.expanduser().read_text())
    except FileNotFoundError:
        return 0
    types = config.get("available_node_types") or {}
    workers = (kind for name, kind in types.items() if name != config.get("head_node_type"))
    on_one = max((_fit(resources, kind.get("resources") or {}) for kind in workers), default=0)
    return on_one * int(config.get("max_workers") or 0)


def _fit(need: ResourcesSpec, has: dict[str, Any]) -> int:
    """Trials on one machine; without need of a GPU, none on a machine that costs one."""
    if bool(has.get("GPU")) != bool(need.gpus):
        return 0
    by_cpu = has.get("CPU", 0) / need.cpus_per_trial
    by_gpu = has["GPU"] / need.gpus if need.gpus else by_cpu
    return int(min(by_cpu, by_gpu) + 1e-9)
