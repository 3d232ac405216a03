"""Weights that a trial starts from instead of its own draw: those of an earlier checkpoint.

`STORAGE/NAME/start.pt` is a copy of that checkpoint, so that the sweep holds all that it needs; its
spec names it by its SHA-256, which makes it part of the sweep's identity and of each trial's. The
model's parameters and buffers are taken; optimiser, schedule and epoch begin anew.
"""

from __future__ import annotations

from torch import Tensor, nn

from sweeps.errors import CheckpointError, PreflightError
from sweeps.spec import START_FILE, TrainingSpec
from sweeps.storage import Place
from sweeps.trial import checkpoint

_SHOWN = 3

Weights = dict[str, Tensor]


def weights(training: TrainingSpec, sweep: Place) -> Weights | None:
    """What trials of the sweep at that place start from; None for their own draw.

    Raises:
        PreflightError: the sweep has lost its start, or it is damaged.
    """
    if training.start is None:
        return None
    again = f"Give it once more: sweeps run FILE --from {training.start.source}"
    try:
        raw = (sweep / START_FILE).read_bytes()
        found = checkpoint.parsed(raw, sweep / START_FILE)
    except (OSError, CheckpointError) as error:
        raise PreflightError(f"training.start: {error}. {again}") from None
    if checkpoint.digest(raw) != training.start.sha256:
        raise PreflightError(f"training.start: {sweep / START_FILE} is another checkpoint. {again}")
    return model_weights(found, sweep / START_FILE)


def inherited(parent: Place | None, epoch: int) -> checkpoint.Content | None:
    """What a child begins with: its parent's checkpoint of that epoch, without the parent's past.

    Args:
        parent: folder of the trial it goes on from; None for a trial that is nobody's child.
        epoch: the parent's last.

    Raises:
        CheckpointError: the checkpoint is gone or damaged.
    """
    if parent is None:
        return None
    path = checkpoint.files(parent).get(epoch)
    if path is None:
        raise CheckpointError(f"{parent} has no checkpoint of epoch {epoch} any more to go on from")
    return {**checkpoint.load(path), "history": [], "best_epoch": None}


def model_weights(content: checkpoint.Content, where: object) -> Weights:
    """The model's weights in a checkpoint's content.

    Raises:
        CheckpointError: there are none: a loop of the user's own keeps no `model` in it.
    """
    state = content.get("state")
    found = state.get("model") if isinstance(state, dict) else None
    if found is None:
        raise CheckpointError(f"{where} holds no model: its loop's state() has no entry 'model'")
    return found


def misfit(model: nn.Module, start: Weights) -> str:
    """How the weights do not fit the model, in words; empty when they do."""
    here = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    there = {name: tuple(value.shape) for name, value in start.items()}
    wrong = [
        f"{name} is {there.get(name, 'missing')} there, {here.get(name, 'missing')} here"
        for name in [*here, *(name for name in there if name not in here)]
        if here.get(name) != there.get(name)
    ]
    more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
    return "; ".join([*wrong[:_SHOWN], *more])


def put_into(model: nn.Module, start: Weights) -> None:
    """Load the weights.

    Raises:
        PreflightError: they do not fit.
    """
    if found := misfit(model, start):
        raise PreflightError(f"training.start: the checkpoint does not fit the model: {found}")
    model.load_state_dict(start)
