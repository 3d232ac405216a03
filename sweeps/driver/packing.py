"""`gpus_per_trial: auto`: how many trials share a GPU, by the memory of the largest one's steps.

The measuring takes a whole GPU of the cluster for a few updates before the first trial. GPUs of
several sizes in one cluster are taken to be like the one measured. A trial that runs out of
memory all the same is tried once more with a whole GPU, as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sweeps.spec import SweepSpec, TrialSpec

MARGIN = 0.1
"""Share of a GPU's memory left free: trials do not peak alike, and memory is fragmented."""
MOST = 16
"""Trials on one GPU; more would only wait for each other."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a GPU: what one process with a trial takes at its peak, and all there are."""

    taken: int
    total: int


Measure = Callable[[SweepSpec, Any, str], Memory]


def share(memory: Memory) -> float:
    """The part of a GPU that one trial is given; 1 where two do not fit."""
    fit = int(memory.total * (1 - MARGIN) / max(memory.taken, 1))
    trials = min(max(fit, 1), MOST)
    return int(10_000 / trials) / 10_000  # Ray counts in ten-thousandths


def packed(spec: SweepSpec, data: Any, path: str, measure: Measure | None = None) -> SweepSpec:
    """The spec with a number in place of `auto`; `path` holds the user's modules."""
    part = share((measure or measured)(spec, data, path))
    return spec.model_copy(
        update={"resources": spec.resources.model_copy(update={"gpus_per_trial": part})}
    )


def measured(spec: SweepSpec, data: Any, path: str) -> Memory:
    """A few updates of the space's largest configuration on a GPU that the cluster gives."""
    import ray

    from sweeps.trial.extremes import extremes

    largest = spec.trial(extremes(spec, data)[1], seed=0)
    # Of its own process, or that would wait for more work with this trial's memory on the GPU.
    task = ray.remote(
        num_gpus=1, num_cpus=spec.resources.cpus_per_trial, max_calls=1, max_retries=0
    )(_on_this_gpu)
    return ray.get(task.remote(largest.model_dump(mode="json"), data, path))


def _on_this_gpu(content: dict[str, Any], data: Any, path: str) -> Memory:
    """In a worker with a GPU to itself. Whatever a step refuses is for the trial itself to say."""
    import torch

    from sweeps.trial.probe import probe

    whole = Memory(taken=1, total=1)
    if path not in sys.path:
        sys.path.insert(0, path)
    if not torch.cuda.is_available():
        return whole
    try:
        probe(TrialSpec.model_validate(content), data, "cuda", seconds=0.0)
    except Exception:
        return whole
    free, total = torch.cuda.mem_get_info()
    # What is not torch's own: the context, the libraries. Their processes each have one.
    beside = total - free - torch.cuda.memory_reserved()
    return Memory(torch.cuda.max_memory_reserved() + beside, total)
