"""Torch's process-wide state during an epoch: its own generators and the choice of kernels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from sweeps.spec import TrainingSpec, TrialSpec
from sweeps.trial.streams import seed_of


class OtherDeviceWarning(UserWarning):
    """Training goes on inside an epoch on another kind of device, so not as it would have."""


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
        _seed(seed, place)
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


def set_generators(
    states: dict[str, Tensor],
    noise: torch.Generator,
    device: str,
    trial: TrialSpec,
    *,
    epoch: int,
    update: int,
) -> None:
    """Put back what `get_generators` gave after that update of the epoch.

    What it gave on another kind of device says nothing here: all are seeded by epoch and update
    instead, and a warning says that the trial is not the one that it would have been.
    """
    on_gpu = torch.device(device).type == "cuda"
    if ("cuda" in states) != on_gpu:
        made, here = ("a CPU", "a GPU") if on_gpu else ("a GPU", "a CPU")
        warnings.warn(
            f"random states are of one kind of device: those of this checkpoint, after update "
            f"{update} of epoch {epoch}, are of {made}, and the training goes on with {here}. "
            f"The rest of the epoch draws anew, not what it would have drawn. For the same figures "
            f"bit for bit resume it on {made}",
            OtherDeviceWarning,
            stacklevel=2,
        )
        noise.manual_seed(seed_of(trial.seed, "noise", epoch, update))
        _seed(seed_of(trial.seed, "global", epoch, update), torch.device(device))
        return
    noise.set_state(states["noise"])
    torch.set_rng_state(states["cpu"])
    if on_gpu:
        torch.cuda.set_rng_state(states["cuda"], device)


def _seed(seed: int, device: torch.device) -> None:
    """Seed torch's own generators of the CPU and, if it is a GPU, of the device."""
    # Not torch.manual_seed: without a GPU it notes a stack trace for later, 0.4 ms each time.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
