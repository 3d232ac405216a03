"""One trial's network while it trains: updates, evaluation, state, an epoch at a time.

The step branches on no hyperparameter that a sweep would vary continuously; the learning rate is a
tensor on the device. Within an epoch nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
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
from sweeps.trial.compiled import begin_pass, network_of
from sweeps.trial.datasets import Data
from sweeps.trial.distance import Distances, WeightDistance, as_metrics
from sweeps.trial.folder import ImageFiles
from sweeps.trial.optim import FusedOptimizer, learning_rate
from sweeps.trial.settings import autocast, epoch_settings, get_generators, set_generators
from sweeps.trial.start import Weights, put_into
from sweeps.trial.streaming import StreamedBatches
from sweeps.trial.streams import seed_of

State = dict[str, Any]
Network = Callable[[Tensor], Tensor]
AtStep = Callable[[int, Callable[[], State]], None]
"""Called after each update with its number within the epoch, from 1, and a function that gives all
that is needed to go on from there."""


@dataclass
class Part:
    """What an epoch has given up to an update: its number, each loss, how many were right."""

    step: int
    losses: list[Tensor]
    correct: Tensor
    generators: dict[str, Tensor]
    """States to go on from, in the part that a checkpoint gave; empty in one begun here."""
    distances: Distances
    """Of the weights from their start, where the spec asks for them."""


class Training:
    """Model, optimiser and batches; `epoch` is the last one done."""

    def __init__(
        self, trial: TrialSpec, data: Data, device: str, start: Weights | None = None
    ) -> None:
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
        self._model = build_model(trial, **shape, classes=data.classes)
        if start is not None:
            put_into(self._model, start)
        self._model.to(device)
        self._format = (
            torch.channels_last if spec.channels_last and self._on_gpu else torch.preserve_format
        )
        self._model.to(memory_format=self._format)
        self._parameters = [p for p in self._model.parameters() if p.requires_grad]
        self._distance = WeightDistance(self._parameters) if spec.weight_distance else None
        self._lr = torch.zeros((), device=device)
        self._optimizer = FusedOptimizer(self._model, spec.optimizer, self._lr)
        half = spec.precision == "float16" and self._on_gpu
        self._scaler = torch.amp.GradScaler(torch.device(device).type, enabled=half)
        self._noise = torch.Generator(device)
        gni.set_generator(self._model, None if spec.compile else self._noise)
        self._network = network_of(self._model, spec)
        self._part = self._nothing_yet()

    def run_epoch(self, at_step: AtStep | None = None) -> dict[str, float]:
        """Train for the next epoch, or for the rest of it, and evaluate on the held-out images."""
        trial, epoch = self._trial, self.epoch + 1
        start, before = perf_counter(), self._part.step
        self._noise.manual_seed(seed_of(trial.seed, "noise", epoch))
        with epoch_settings(trial, epoch, self._device):
            if states := self._part.generators:
                at = {"epoch": epoch, "update": self._part.step}
                set_generators(states, self._noise, self._device, trial, **at)
            metrics = self._train(epoch, at_step)
            trained = perf_counter() - start
            part = "test" if trial.data.evaluate == "test" else "val"
            metrics |= evaluate(self._model, self._batches.evaluation(), self._forward, part)
            if trial.confirm and epoch == trial.training.epochs:
                metrics |= evaluate(self._model, self._batches.test(), self._forward, "test")
        images = (self._batches.updates - before) * trial.training.batch_size
        self.epoch, self._part = epoch, self._nothing_yet()
        return metrics | {
            "images_per_second": images / trained,
            "seconds": perf_counter() - start,
        }

    def evaluate_a_batch(self) -> None:
        """One batch without gradients, for the memory that it takes."""
        evaluate(self._model, islice(self._batches.evaluation(), 1), self._forward)

    def state(self, epoch: int) -> State:
        """Copies of all that changes from epoch to epoch. Generators are derived from the epoch."""
        if epoch != self.epoch or self._part.step:
            raise RuntimeError(f"the state of epoch {epoch} is gone: the training went on")
        return self._state()

    def restore(self, state: State) -> None:
        """Take up the state of an epoch or of an update; `state` itself stays as it is."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # else of a device without one
            self._scaler.load_state_dict(state["scaler"])
        self.epoch, self._part = state["epoch"], self._nothing_yet()
        if part := state.get("part"):
            losses = [loss.to(self._device) for loss in part["losses"]]
            correct = part["correct"].to(self._device, copy=True)
            distances = {u: d.to(self._device) for u, d in part.get("distances", {}).items()}
            self._part = Part(part["step"], losses, correct, part["generators"], distances)

    def _nothing_yet(self) -> Part:
        return Part(0, [], torch.zeros((), dtype=torch.int64, device=self._device), {}, {})

    def _state(self) -> State:
        state: State = {
            "epoch": self.epoch,
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        if self._part.step:
            generators = get_generators(self._noise, self._device)
            state["part"] = {**vars(self._part), "generators": generators}
        return _copied(state)

    def _train(self, epoch: int, at_step: AtStep | None) -> dict[str, float]:
        """The epoch's updates that are left; one synchronisation with the device, at the end."""
        spec, updates, part = self._trial.training, self._batches.updates, self._part
        first = (epoch - 1) * updates
        restarted = self._trial.restarted
        rates = [learning_rate(first + i, spec, updates, restarted) for i in range(updates)]
        self._model.train()
        batches = self._batches.train(epoch, part.step)
        for rate, (images, labels) in zip(rates[part.step :], batches, strict=True):
            self._lr.fill_(rate)
            part.losses.append(self._update(images, labels, part.correct))
            part.step += 1
            if self._distance:
                self._distance.note(first + part.step, part.distances)
            if at_step:
                at_step(part.step, self._state)
        loss = torch.stack(part.losses).double()
        if not torch.isfinite(loss).all():
            step = int(torch.isfinite(loss).logical_not().nonzero()[0])
            raise TrialDiverged(
                f"training loss {loss[step].item()} at epoch {epoch}, step {step + 1} of {updates},"
                f" with learning rate {rates[step]:g}"
            )
        accuracy = part.correct.item() / (updates * spec.batch_size)
        metrics = {"train_loss": loss.mean().item(), "train_accuracy": accuracy, "lr": rates[-1]}
        return metrics | as_metrics(part.distances)

    def _update(self, images: Tensor, labels: Tensor, correct: Tensor) -> Tensor:
        """One update; adds to `correct` and returns the mean loss, both on the device."""
        spec, total = self._trial.training, None
        optimizer: Any = self._optimizer  # it has what the scaler wants of a torch.optim.Optimizer
        chunks = zip(images.chunk(spec.accumulate), labels.chunk(spec.accumulate), strict=True)
        for number, (some, wanted) in enumerate(chunks):
            begin_pass(spec, number, self._parameters)
            logits = self._forward(some, self._network)
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

    def _forward(self, images: Tensor, network: Network | None = None) -> Tensor:
        """Logits in float32, of the model itself or of its compiled form."""
        images = images.to(memory_format=self._format)
        with autocast(self._trial.training, self._device):
            return (self._model if network is None else network)(images).float()


def make_batches(trial: TrialSpec, data: Data, device: str) -> Batches:
    """The trial's batches, from memory or from files."""
    if isinstance(data, ImageFiles):
        return StreamedBatches(trial, data, device)
    return ResidentBatches(trial, data, device)


def evaluate(
    model: nn.Module,
    batches: Iterator[Batch],
    forward: Callable[[Tensor], Tensor] | None = None,
    part: str = "val",
) -> dict[str, float]:
    """`part`_loss (mean cross-entropy, no label smoothing) and `part`_accuracy, in eval mode."""
    forward = forward or model
    loss, correct, count = 0.0, 0, 0
    model.eval()
    with torch.inference_mode():
        for images, labels in batches:
            logits = forward(images)
            loss = loss + F.cross_entropy(logits, labels, reduction="sum").double()
            correct = correct + (logits.argmax(1) == labels).sum()
            count += len(labels)
    return {f"{part}_loss": float(loss) / count, f"{part}_accuracy": int(correct) / count}


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
