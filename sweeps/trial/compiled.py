"""Updates by torch.compile, and whether this machine can.

Only updates are compiled: evaluation is eager, as in a trial that is not compiled. The noise comes
from torch's default generator then, which is seeded and kept as the trial's own is; so a compiled
trial repeats itself, but has other draws than an eager one.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sweeps.errors import PreflightError
from sweeps.spec import TrainingSpec


def network_of(model: nn.Module, spec: TrainingSpec) -> Callable[[Tensor], Tensor]:
    """The model as `training.compile` asks for it; parameters and buffers are the model's own."""
    if not spec.compile:
        return model
    torch.compiler.reset()  # else the ninth trial of a process would silently be eager
    mode = "reduce-overhead" if spec.compile == "cuda_graphs" else "default"
    return torch.compile(model, mode=mode)


def begin_pass(spec: TrainingSpec, number: int, parameters: Sequence[Tensor]) -> None:
    """Tell captured CUDA graphs that what the last pass returned is no longer needed.

    But the gradients of an update's first pass are, by the second, which adds to them; they lie in
    the graphs' memory, where it would write over them, and are copied.

    Args:
        number: of the pass within its update, from 0.
    """
    if spec.compile != "cuda_graphs":
        return
    for parameter in parameters if number == 1 else ():
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clone()
    torch.compiler.cudagraph_mark_step_begin()


def clear_device() -> None:
    """Give back what an earlier trial of this process left on the GPU, CUDA graphs included.

    Torch keeps it for tensors to come; but trials in other processes may share the GPU.
    """
    if torch.cuda.is_initialized():
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()
        torch.cuda.empty_cache()


def require_compiler(on_gpu: bool) -> None:
    """The compiler that torch.compile calls: for C++ on a CPU, for C on a GPU (Triton's).

    Raises:
        PreflightError: it is not on this machine.
    """
    variable, usual = ("CC", "gcc") if on_gpu else ("CXX", "g++")
    usual = usual if sys.platform != "darwin" else "clang++"
    name = os.environ.get(variable, usual)
    if shutil.which(name) is None:
        raise PreflightError(
            f"training.compile needs a compiler on every machine that trains; {name} is not on "
            f"{socket.gethostname()}. Install it (apt install g++), or write compile: false"
        )
