"""Networks tried before the first trial: what only a network can refuse is said once, at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from sweeps.baselines import searches
from sweeps.errors import PreflightError
from sweeps.spec import ARM, Scalar, SweepSpec, TrialSpec
from sweeps.trial.build import build_model
from sweeps.trial.compiled import require_compiler
from sweeps.trial.datasets import Data, ImageFiles
from sweeps.trial.start import Weights, misfit
from sweeps.values import values_of

MOST = 16
"""Combinations tried; a space with more is tried in part."""
_OTHERS = ("training.batch_size", "training.accumulate", ARM)


def rehearse(spec: SweepSpec, data: Data, start: Weights | None = None) -> None:
    """Build the space's networks without memory (torch's meta device) and show each one batch.

    Of a range both ends are tried; the baselines of `confirm` are tried too; weights that trials
    are to `start` from have to fit each network. Networks of the user's own are left alone: what
    they do when built is not ours to repeat.

    Raises:
        PreflightError: a network refuses its options, its norms, the shape of the images or the
            weights; there is no compiler where one is needed; padding does not suit the images.
    """
    if any(values_of(spec, "training.compile")):
        require_compiler(on_gpu=bool(spec.resources.gpus))
    padding = max(values_of(spec, "data.crop_padding"))
    if padding and isinstance(data, ImageFiles):
        rule = "data.crop_padding is for images in memory; these are streamed, with random crops"
        remedy = "Leave it out, or raise data.resident_limit"
        raise PreflightError(f"{rule} (found {padding}). {remedy}")
    if padding >= data.image_size:
        rule = f"data.crop_padding must be below the image's side of {data.image_size} pixels"
        raise PreflightError(f"{rule} (found {padding})")
    found: dict[str, str] = {}
    for each in searches(spec):
        for params in points(each):
            refusal = _refusal(each.trial(params, seed=0), data, start)
            if refusal:
                where = ", ".join(f"{path} = {value}" for path, value in params.items())
                found.setdefault(refusal, where)
    if found:
        lines = [f"model: {what}" + (f" (at {at})" if at else "") for what, at in found.items()]
        raise PreflightError("\n".join(lines))


def points(spec: SweepSpec) -> Iterator[dict[str, Scalar]]:
    """Parameters of what the space can build, both ends of each range, MOST at most."""
    axes = [p for p in spec.space if p.startswith("model.") or p in _OTHERS]
    axes = [p for p in axes if not p.endswith(("strength", "eps", "momentum"))]
    values = [values_of(spec, path) for path in axes]
    for point in itertools.islice(itertools.product(*values), MOST):
        yield dict(zip(axes, point, strict=True))


def _refusal(trial: TrialSpec, data: Data, start: Weights | None) -> str | None:
    """Why the trial's network cannot be, or cannot take weights or a batch; None when it can."""
    name = trial.model.name
    if ":" in name and not name.startswith("torchvision:"):
        return None
    side, channels = data.image_size, data.in_channels
    batch = trial.training.batch_size // trial.training.accumulate
    try:
        with torch.device("meta"):
            images = torch.empty(batch, channels, side, side)
            model = build_model(
                trial, in_channels=channels, image_size=side, classes=data.classes
            ).to("meta")
            if start and (found := misfit(model, start)):
                return f"the checkpoint to start from does not fit: {found}"
            with torch.no_grad():
                model.train()(images)
    except NotImplementedError:  # torch cannot do this without memory
        return None
    except (ValueError, TypeError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return lines[0] if lines[0].startswith(name) else f"{name} {lines[0]}"
    return None
