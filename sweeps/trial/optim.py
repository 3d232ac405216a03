"""The optimiser of a trial and the learning rate of each update, a pure function of its number."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from sweeps.spec import OptimizerSpec, TrainingSpec


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices and filters with weight decay; 1-D parameters (gains, biases) without."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.dim() > 1]
    kept = [p for p in parameters if p.dim() <= 1]
    groups = ((decayed, weight_decay), (kept, 0.0))
    return [{"params": some, "weight_decay": decay} for some, decay in groups if some]


def make_optimizer(model: nn.Module, spec: OptimizerSpec, lr: Tensor) -> Optimizer:
    """Fused SGD or AdamW that reads its learning rate from the scalar tensor `lr` at each step."""
    groups = parameter_groups(model, spec.weight_decay)
    if spec.name == "sgd":
        nesterov = spec.nesterov and spec.momentum > 0
        return SGD(groups, lr, momentum=spec.momentum, nesterov=nesterov, fused=True)
    return AdamW(groups, lr, betas=spec.betas, eps=spec.eps, fused=True)


def peak_lr(training: TrainingSpec) -> float:
    """`optimizer.lr`, grown with the batch size as `lr_scaling` says."""
    spec = training.optimizer
    ratio = training.batch_size / spec.base_batch_size
    return spec.lr * {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}[spec.lr_scaling]


def learning_rate(update: int, training: TrainingSpec, updates_per_epoch: int) -> float:
    """The learning rate of an update, counted from 0 over the whole training.

    Warm-up takes the place of the schedule's first part: it rises linearly from `warmup_lr`
    towards the peak, and the schedule goes on where it would be by then. With T updates in all,
    cosine(t) = min_lr + (peak - min_lr) · (1 + cos(pi·t/T)) / 2.
    """
    spec, peak = training.schedule, peak_lr(training)
    warmup = spec.warmup_epochs * updates_per_epoch
    if update < warmup:
        return spec.warmup_lr + (peak - spec.warmup_lr) * update / warmup
    if spec.name == "cosine":
        share = update / (training.epochs * updates_per_epoch)
        return spec.min_lr + (peak - spec.min_lr) * (1 + math.cos(math.pi * share)) / 2
    if spec.name == "step":
        passed = sum(update >= epoch * updates_per_epoch for epoch in spec.milestones)
        return peak * spec.gamma**passed
    return peak
