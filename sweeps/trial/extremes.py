"""The configurations of a space whose steps cost least and most."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from sweeps.spec import Scalar, SweepSpec, TrialSpec
from sweeps.trial.build import build_model
from sweeps.trial.datasets import Data
from sweeps.trial.rehearse import points


def extremes(spec: SweepSpec, data: Data) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """Parameters of the smallest and of the largest step, by operations, then parameters.

    Both ends of a range are looked at, as `rehearse` does; where only the batch is known to differ
    (a network of your own), the batch decides. Nothing is trained.
    """
    found = [(_cost(spec.trial(params, seed=0), data), params) for params in points(spec)]
    found.sort(key=lambda entry: entry[0])
    return found[0][1], found[-1][1]


def _cost(trial: TrialSpec, data: Data) -> tuple[float, int, int]:
    """Operations of one batch forward, parameters, batch; the first two 0 if torch cannot say."""
    batch = trial.training.batch_size // trial.training.accumulate
    if ":" in trial.model.name and not trial.model.name.startswith("torchvision:"):
        return 0, 0, batch
    side, channels = data.image_size, data.in_channels
    counter = FlopCounterMode(display=False)
    try:
        with torch.device("meta"), torch.no_grad(), counter:
            model = build_model(
                trial, in_channels=channels, image_size=side, classes=data.classes
            ).to("meta")
            model.train()(torch.empty(batch, channels, side, side))
    except (NotImplementedError, RuntimeError, ValueError, TypeError):
        return 0, 0, batch  # what a network refuses is the rehearsal's to say
    return counter.get_total_flops(), sum(p.numel() for p in model.parameters()), batch
