"""The optimiser of a trial and the learning rate of each update, a pure function of its number."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sweeps.spec import OptimizerSpec, TrainingSpec


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and filters with weight decay; 1-D parameters (gains, biases) without."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.dim() > 1]
    kept = [p for p in parameters if p.dim() <= 1]
    groups = ((decayed, weight_decay), (kept, 0.0))
    return [{"params": some, "weight_decay": decay} for some, decay in groups if some]


class FusedOptimizer:
    """SGD or AdamW as torch's fused kernels compute them, reading the rate from a scalar tensor.

    Bit for bit torch.optim's SGD and AdamW with `fused=True`; but the first use of those imports
    torch's compiler, 2 s of a worker's start, and their step takes 2 to 3 times as long.
    `param_groups` and `step` are what a GradScaler needs. While it steps it leaves `grad_scale` and
    `found_inf` here, tensors that the kernels read; the host would wait for the device otherwise.
    """

    _step_supports_amp_scaling = True

    def __init__(self, model: nn.Module, spec: OptimizerSpec, lr: Tensor) -> None:
        self.param_groups = parameter_groups(model, spec.weight_decay)
        self._spec, self._lr = spec, lr
        self._slots = [
            [self._new_slots(parameter) for parameter in group["params"]]
            for group in self.param_groups
        ]

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group, slots in zip(self.param_groups, self._slots, strict=True):
            pairs = zip(group["params"], slots, strict=True)
            used = [(p, p.grad, *slot) for p, slot in pairs if p.grad is not None]
            if used:
                self._apply(group["weight_decay"], *map(list, zip(*used, strict=True)))

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What `step` accumulates, by group and parameter: the tensors themselves, not copies."""
        return {"slots": self._slots}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Copy a state in."""
        for ours, theirs in zip(self._slots, state["slots"], strict=True):
            for slot, saved in zip(ours, theirs, strict=True):
                for tensor, value in zip(slot, saved, strict=True):
                    tensor.copy_(value)

    def _new_slots(self, parameter: Tensor) -> list[Tensor]:
        """SGD: the velocity, if any. AdamW: both moments and the number of steps."""
        if self._spec.name == "sgd":
            return [torch.zeros_like(parameter)] if self._spec.momentum else []
        step = torch.zeros((), dtype=torch.float32, device=parameter.device)
        return [torch.zeros_like(parameter), torch.zeros_like(parameter), step]

    def _apply(
        self, decay: float, params: list[Tensor], grads: list[Tensor], *slots: list[Tensor]
    ) -> None:
        spec = self._spec
        found_inf = getattr(self, "found_inf", None)
        scaled: dict[str, Any] = {
            "grad_scale": getattr(self, "grad_scale", None),
            "found_inf": found_inf,
        }
        if spec.name == "sgd":
            torch._fused_sgd_(  # pyright: ignore[reportPrivateImportUsage]
                params,
                grads,
                slots[0] if slots else [],
                weight_decay=decay,
                momentum=spec.momentum,
                lr=self._lr,
                dampening=0.0,
                nesterov=spec.nesterov and spec.momentum > 0,
                maximize=False,
                is_first_step=False,  # a velocity of zero gives what a first step would
                **scaled,
            )
            return
        first, second, steps = slots
        torch._foreach_add_(steps, 1)  # pyright: ignore[reportPrivateImportUsage]
        torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage]
            params,
            grads,
            first,
            second,
            [],
            steps,
            lr=self._lr,
            beta1=spec.betas[0],
            beta2=spec.betas[1],
            weight_decay=decay,
            eps=spec.eps,
            amsgrad=False,
            maximize=False,
            **scaled,
        )
        if found_inf is not None:  # 1 where nothing was updated
            torch._foreach_sub_(steps, [found_inf] * len(steps))  # pyright: ignore[reportPrivateImportUsage]


def peak_lr(training: TrainingSpec) -> float:
    """`optimizer.lr`, grown with the batch size as `lr_scaling` says."""
    spec = training.optimizer
    ratio = training.batch_size / spec.base_batch_size
    return spec.lr * {"none": 1.0, "sqrt": math.sqrt(ratio), "linear": ratio}[spec.lr_scaling]


def learning_rate(
    update: int, training: TrainingSpec, updates_per_epoch: int, restarted: int = 0
) -> float:
    """The learning rate of an update, counted from 0 over the whole training.

    Warm-up takes the place of the schedule's first part: it rises linearly from `warmup_lr`
    towards the peak, and the schedule goes on where it would be by then. With T updates in all,
    cosine(t) = min_lr + (peak - min_lr) · (1 + cos(pi·t/T)) / 2. One that was `restarted` after
    that epoch counts both t and T from there, and warms up no more.
    """
    spec, peak = training.schedule, peak_lr(training)
    warmup = spec.warmup_epochs * updates_per_epoch
    if update < warmup:
        return spec.warmup_lr + (peak - spec.warmup_lr) * update / warmup
    if spec.name == "cosine":
        begun = restarted * updates_per_epoch
        share = (update - begun) / (training.epochs * updates_per_epoch - begun)
        return spec.min_lr + (peak - spec.min_lr) * (1 + math.cos(math.pi * share)) / 2
    if spec.name == "step":
        passed = sum(update >= epoch * updates_per_epoch for epoch in spec.milestones)
        return peak * spec.gamma**passed
    return peak
