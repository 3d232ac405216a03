"""The gap between training's statistics and eval's, on the same images and weights."""

import copy
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gni.surgery import add_ghost_noise, replace_batchnorm

Kind = Literal["batch", "ghost", "exclusive", "noise"]


def train_forward(model: nn.Module, inputs: Tensor) -> Any:
    """Run the model in training mode, then put its buffers and modes back."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with _modes_kept(model):
            return model.train()(inputs)
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])


@contextmanager
def _modes_kept(model: nn.Module) -> Generator[None]:
    """Leave each module in the mode in which it was."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@dataclass(frozen=True)
class Gap:
    """Loss and accuracy on the same images by training's statistics and by eval's."""

    kind: str
    ghost_size: int
    train_loss: float
    eval_loss: float
    train_accuracy: float
    eval_accuracy: float


def discrepancy(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    kind: str = "",
    ghost_size: int = 0,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> Gap:
    """Compare training-mode and eval-mode statistics on the same images, without gradients.

    Dropout and other noise act in training mode as they do in training; running statistics and the
    mode of the model are left as they were. `loss` must average over a batch.
    """
    sums = [0.0, 0.0, 0.0, 0.0]
    count = 0
    with torch.no_grad(), _modes_kept(model):
        for images, labels in batches:
            outputs = (train_forward(model, images), model.eval()(images))
            for i, logits in enumerate(outputs):
                sums[i] += float(loss(logits, labels)) * len(labels)
                sums[i + 2] += float((logits.argmax(1) == labels).sum())
            count += len(labels)
    if count == 0:
        raise ValueError("discrepancy needs at least one batch, got none")
    return Gap(kind, ghost_size, *(value / count for value in sums))


def discrepancies(
    model: nn.Module,
    batches: list[tuple[Tensor, Tensor]],
    ghost_sizes: Iterable[int],
    *,
    kinds: Iterable[Kind] = ("batch", "ghost", "exclusive", "noise"),
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> list[Gap]:
    """Put each kind of norm at each ghost size into a copy of a batch norm model and compare.

    All see the same weights and running statistics: what differs is what training's statistics
    would make of them. "batch" is measured once, with ghost size 0.
    """
    rows: list[Gap] = []
    sizes = list(ghost_sizes)
    for kind in kinds:
        for size in [0] if kind == "batch" else sizes:
            changed = copy.deepcopy(model)
            if kind == "noise":
                add_ghost_noise(changed, size)
            elif kind != "batch":
                replace_batchnorm(changed, size, kind=kind)
            rows.append(discrepancy(changed, batches, kind=kind, ghost_size=size, loss=loss))
    return rows
