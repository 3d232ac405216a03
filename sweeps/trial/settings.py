"""Torch's process-wide state during an epoch: its own generators and the choice of kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from sweeps.spec import TrainingSpec, TrialSpec
from sweeps.trial.streams import seed_of


@contextmanager
def epoch_settings(trial: TrialSpec, epoch: int, device: str) -> Iterator[None]:
    """For an epoch, torch's own generators seeded and its kernels as asked; all put back after.

    Dropout and the like draw from torch's own generators: they too start anew at each epoch.
    """
    place, seed = torch.device(device), seed_of(trial.seed, "global", epoch)
    on_gpu = place.type == "cuda"
    wanted, was = trial.training.deterministic, torch.are_deterministic_algorithms_enabled()
    if wanted and on_gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=[place] if on_gpu else []):
        # Not torch.manual_seed: without a GPU it notes a stack trace for later, 0.4 ms each time.
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(seed)
        if wanted != was:  # setting it imports the compiler's configuration, 1 s
            torch.use_deterministic_algorithms(wanted)
        try:
            yield
        finally:
            if wanted != was:
                torch.use_deterministic_algorithms(was)


def autocast(spec: TrainingSpec, device: str) -> AbstractContextManager[Any]:
    """What a forward pass runs in: autocast where the spec asks for it on this kind of device."""
    kind = torch.device(device).type
    precision = spec.cpu_precision if kind == "cpu" else spec.precision
    if precision == "float32":
        return nullcontext()
    return torch.autocast(kind, dtype=getattr(torch, precision))


def get_generators(noise: torch.Generator, device: str) -> dict[str, Tensor]:
    """States of the noise's generator and of torch's own, to go on inside an epoch."""
    states = {"noise": noise.get_state(), "cpu": torch.get_rng_state()}
    if torch.device(device).type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generators(states: dict[str, Tensor], noise: torch.Generator, device: str) -> None:
    """Put back what `get_generators` gave on the same kind of device."""
    noise.set_state(states["noise"])
    torch.set_rng_state(states["cpu"])
    if torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
