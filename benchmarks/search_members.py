"""Many small networks trained side by side, for benchmarks/search_table.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy
from search_points import DIVERGED, EPOCHS, WIDTH, trial


class Members:
    """Networks of one seed and ghost size that train side by side.

    Legend: B batch, K members, C hidden units, F pixels.
    """

    def __init__(self, places: list[tuple[int, ...]], seed: int, data: Any):
        import torch

        from sweeps.trial.batches import ResidentBatches
        from sweeps.trial.build import build_model

        specs = [trial(place, seed) for place in places]
        count, self.seed, self.trial = len(specs), seed, specs[0]
        assert len({s.model.noise.ghost_size for s in specs}) == 1
        self.batches = ResidentBatches(self.trial, data, "cpu")
        model = build_model(self.trial, in_channels=1, image_size=14, classes=10)
        _, hidden, _, _, last = model.layers
        self.hidden_fkc = hidden.weight.detach().t()[:, None].repeat(1, count, 1)
        self.gain_kc, self.bias_kc = torch.ones(count, WIDTH), torch.zeros(count, WIDTH)
        self.last_kco = last.weight.detach().t().repeat(count, 1, 1)
        self.offset_k1o = last.bias.detach().repeat(count, 1, 1)
        self.weights = [self.hidden_fkc, self.gain_kc, self.bias_kc, self.last_kco, self.offset_k1o]
        self.velocities = [torch.zeros_like(weight) for weight in self.weights]
        self.mean, self.var = torch.zeros(count * WIDTH), torch.ones(count * WIDTH)
        optimizers = [spec.training.optimizer for spec in specs]
        self.decay = torch.tensor([o.weight_decay for o in optimizers])
        self.momentum = torch.tensor([o.momentum for o in optimizers])
        self.peak = torch.tensor([o.lr for o in optimizers])
        strengths = torch.tensor([spec.model.noise.strength for spec in specs])
        self.strength_c = strengths.repeat_interleave(WIDTH)

    def curves(self) -> Iterator[numpy.ndarray]:
        """After each epoch (K,): how many validation images each member recognises."""
        import torch

        from sweeps.trial.streams import generator

        finite = torch.ones(len(self.peak), dtype=torch.bool)
        for epoch in range(1, EPOCHS + 1):
            noise = generator(self.seed, "noise", epoch)
            for step, (images, labels) in enumerate(self.batches.train(epoch)):
                update = (epoch - 1) * self.batches.updates + step
                loss_k = self._update(images.flatten(1), labels, noise, update)
                finite &= loss_k.isfinite()
            correct = self._correct().masked_fill(~finite, DIVERGED)
            yield correct.numpy().astype("uint16")

    def _update(self, images: Any, labels: Any, noise: Any, update: int) -> Any:
        from torch.nn import functional as F

        for weight in self.weights:
            weight.requires_grad_(True)
        h_bc = images @ self.hidden_fkc.flatten(1)
        h_bc = F.batch_norm(h_bc, self.mean, self.var, None, None, True)
        shift_bc, factor_bc = self._noise(h_bc.detach(), noise)
        h_bc = (h_bc - shift_bc) * factor_bc
        logits_kbo = self._logits(h_bc, self.gain_kc, self.bias_kc)
        count, batch, _ = logits_kbo.shape
        each = F.cross_entropy(logits_kbo.flatten(0, 1), labels.repeat(count), reduction="none")
        loss_k = each.view(count, batch).mean(1)
        loss_k.sum().backward()
        self._step(update)
        return loss_k.detach()

    def _noise(self, x_bc: Any, noise: Any) -> tuple[Any, Any]:
        """Ghost noise by its definition: y = (x - s·delta) / rho^s for one draw of N of B samples.

        `delta` is the ghosts' mean less the batch's, rho² the ratio of their variances.
        """
        from gni.functional import draw_ghosts, ghost_weights

        spec = self.trial.model.noise
        batch = len(x_bc)
        draw_bb = ghost_weights(draw_ghosts(batch, spec.ghost_size, generator=noise))
        var_c, mean_c = (m.squeeze(0) for m in _variance_and_mean(x_bc))
        ghost_bc = draw_bb @ x_bc
        square_bc = draw_bb @ (x_bc - mean_c).square()
        delta_bc = ghost_bc - mean_c
        ratio_bc = ((square_bc - delta_bc.square()).clamp_min(0) + spec.eps) / (var_c + spec.eps)
        return self.strength_c * delta_bc, (ratio_bc.log_() * (-self.strength_c / 2)).exp_()

    def _logits(self, h_bc: Any, gain_kc: Any, bias_kc: Any) -> Any:
        h_bkc = h_bc.view(len(h_bc), -1, WIDTH)
        a_bkc = (h_bkc * gain_kc + bias_kc).relu()
        return a_bkc.transpose(0, 1) @ self.last_kco + self.offset_k1o

    def _step(self, update: int) -> None:
        """SGD with Nesterov's momentum and a cosine; gains and biases do not decay."""
        share = update / (EPOCHS * self.batches.updates)
        rate = self.peak * ((1 + math.cos(math.pi * share)) / 2)
        for weight, velocity in zip(self.weights, self.velocities, strict=True):
            slope = weight.grad
            weight.requires_grad_(False)
            weight.grad = None
            shape = (1, -1, 1) if weight is self.hidden_fkc else (-1, *[1] * (weight.dim() - 1))
            if weight is self.hidden_fkc or weight is self.last_kco:
                slope.addcmul_(weight, self.decay.view(shape))
            velocity.mul_(self.momentum.view(shape)).add_(slope)
            slope.addcmul_(velocity, self.momentum.view(shape))
            weight.addcmul_(slope, -rate.view(shape))

    def _correct(self) -> Any:
        """Of the validation images, in eval mode; batch norm's scale goes into gain and bias."""
        gain_kc = self.gain_kc * (self.var + 1e-5).rsqrt().view_as(self.gain_kc)
        bias_kc = self.bias_kc - gain_kc * self.mean.view_as(gain_kc)
        right: Any = 0
        for images, labels in self.batches.evaluation():
            for some, wanted in zip(images.flatten(1).split(500), labels.split(500), strict=True):
                h_bc = some @ self.hidden_fkc.flatten(1)
                found_kb = self._logits(h_bc, gain_kc, bias_kc).argmax(2)
                right = right + (found_kb == wanted).sum(1)
        return right


def _variance_and_mean(x_bc: Any) -> Any:
    import torch

    return torch.var_mean(x_bc, 0, correction=0, keepdim=True)
