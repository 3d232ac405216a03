"""One trial's network while it trains: updates, evaluation, state, an epoch at a time.

The step branches on no hyperparameter that a sweep would vary continuously; the learning rate is a
tensor on the device. Within an epoch nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gni
from sweeps.errors import TrialDiverged
from sweeps.spec import TrialSpec
from sweeps.trial.batches import Batch, Batches, ResidentBatches
from sweeps.trial.build import build_model
from sweeps.trial.datasets import Data
from sweeps.trial.folder import ImageFiles
from sweeps.trial.optim import FusedOptimizer, learning_rate
from sweeps.trial.settings import epoch_settings
from sweeps.trial.streaming import StreamedBatches
from sweeps.trial.streams import seed_of

State = dict[str, Any]


class Training:
    """Model, optimiser and batches between epochs; `epoch` is the last one done."""

    def __init__(self, trial: TrialSpec, data: Data, device: str) -> None:
        spec = trial.training
        if spec.batch_size % spec.accumulate:
            rule = "training.accumulate must divide training.batch_size"
            raise ValueError(f"{rule}; {spec.accumulate} does not divide {spec.batch_size}")
        self.epoch = 0
        self._trial, self._device = trial, device
        self._on_gpu = torch.device(device).type == "cuda"
        self._batches = make_batches(trial, data, device)
        if not self._batches.updates:
            rule = "training.batch_size must not exceed the training images"
            raise ValueError(f"{rule} that the split leaves; found {spec.batch_size}")
        shape = {"in_channels": data.in_channels, "image_size": data.image_size}
        self._model = build_model(trial, **shape, classes=data.classes).to(device)
        self._format = (
            torch.channels_last if spec.channels_last and self._on_gpu else torch.preserve_format
        )
        self._model.to(memory_format=self._format)
        self._parameters = [p for p in self._model.parameters() if p.requires_grad]
        self._lr = torch.zeros((), device=device)
        self._optimizer = FusedOptimizer(self._model, spec.optimizer, self._lr)
        half = spec.precision == "float16" and self._on_gpu
        self._scaler = torch.amp.GradScaler(torch.device(device).type, enabled=half)
        self._noise = torch.Generator(device)
        gni.set_generator(self._model, self._noise)

    def run_epoch(self) -> dict[str, float]:
        """Train for the next epoch and evaluate on the validation images."""
        trial, epoch = self._trial, self.epoch + 1
        start = perf_counter()
        self._noise.manual_seed(seed_of(trial.seed, "noise", epoch))
        with epoch_settings(trial, epoch, self._device):
            metrics = self._train(epoch)
            trained = perf_counter() - start
            metrics |= evaluate(self._model, self._batches.validation(), self._forward)
        images = self._batches.updates * trial.training.batch_size
        self.epoch = epoch
        return metrics | {
            "images_per_second": images / trained,
            "seconds": perf_counter() - start,
        }

    def state(self, epoch: int) -> State:
        """Copies of all that changes from epoch to epoch. Generators are derived from the epoch."""
        if epoch != self.epoch:
            raise RuntimeError(f"the state of epoch {epoch} is gone: epoch {self.epoch} is done")
        return _copied(
            {
                "epoch": epoch,
                "model": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "scaler": self._scaler.state_dict(),
            }
        )

    def restore(self, state: State) -> None:
        """Take up the state of an epoch; `state` itself stays as it is."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.epoch = state["epoch"]

    def _train(self, epoch: int) -> dict[str, float]:
        """All updates of an epoch; one synchronisation with the device, at its end."""
        spec, updates = self._trial.training, self._batches.updates
        first = (epoch - 1) * updates
        rates = [learning_rate(first + i, spec, updates) for i in range(updates)]
        losses: list[Tensor] = []
        correct = torch.zeros((), dtype=torch.int64, device=self._device)
        self._model.train()
        for rate, (images, labels) in zip(rates, self._batches.train(epoch), strict=True):
            self._lr.fill_(rate)
            losses.append(self._update(images, labels, correct))
        loss = torch.stack(losses).double()
        if not torch.isfinite(loss).all():
            step = int(torch.isfinite(loss).logical_not().nonzero()[0])
            raise TrialDiverged(
                f"training loss {loss[step].item()} at epoch {epoch}, step {step + 1} of {updates},"
                f" with learning rate {rates[step]:g}"
            )
        accuracy = correct.item() / (updates * spec.batch_size)
        return {"train_loss": loss.mean().item(), "train_accuracy": accuracy, "lr": rates[-1]}

    def _update(self, images: Tensor, labels: Tensor, correct: Tensor) -> Tensor:
        """One update; adds to `correct` and returns the mean loss, both on the device."""
        spec, total = self._trial.training, None
        optimizer: Any = self._optimizer  # it has what the scaler wants of a torch.optim.Optimizer
        for some, wanted in zip(
            images.chunk(spec.accumulate), labels.chunk(spec.accumulate), strict=True
        ):
            logits = self._forward(some)
            loss = F.cross_entropy(logits, wanted, label_smoothing=spec.label_smoothing)
            loss = loss / spec.accumulate if spec.accumulate > 1 else loss
            self._scaler.scale(loss).backward()
            correct += (logits.detach().argmax(1) == wanted).sum()
            total = loss.detach() if total is None else total + loss.detach()
        if spec.clip_norm is not None:
            self._scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self._parameters, spec.clip_norm)
        self._scaler.step(optimizer)
        self._scaler.update()
        optimizer.zero_grad()
        assert total is not None
        return total

    def _forward(self, images: Tensor) -> Tensor:
        """Logits in float32, through autocast on a GPU when the spec asks for it."""
        images = images.to(memory_format=self._format)
        with self._autocast():
            return self._model(images).float()

    def _autocast(self) -> AbstractContextManager[Any]:
        precision = self._trial.training.precision
        if precision == "float32" or not self._on_gpu:
            return nullcontext()
        return torch.autocast("cuda", dtype=getattr(torch, precision))


def make_batches(trial: TrialSpec, data: Data, device: str) -> Batches:
    """The trial's batches, from memory or from files."""
    if isinstance(data, ImageFiles):
        return StreamedBatches(trial, data, device)
    return ResidentBatches(trial, data, device)


def evaluate(
    model: nn.Module,
    batches: Iterator[Batch],
    forward: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """val_loss (mean cross-entropy, no label smoothing) and val_accuracy, in eval mode."""
    forward = forward or model
    loss, correct, count = 0.0, 0, 0
    model.eval()
    with torch.inference_mode():
        for images, labels in batches:
            logits = forward(images)
            loss = loss + F.cross_entropy(logits, labels, reduction="sum").double()
            correct = correct + (logits.argmax(1) == labels).sum()
            count += len(labels)
    return {"val_loss": float(loss) / count, "val_accuracy": int(correct) / count}


def _copied(tree: Any) -> Any:
    """The same tree with copies of its tensors, on the CPU."""
    match tree:
        case Tensor():
            return tree.detach().to("cpu", copy=True)
        case dict():
            return {key: _copied(value) for key, value in tree.items()}
        case list() | tuple():
            return type(tree)(_copied(value) for value in tree)
        case _:
            return tree
