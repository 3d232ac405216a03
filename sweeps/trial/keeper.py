"""When one trial's checkpoints are due, and what is in them.

A trial's checkpoint holds, besides what sweeps/trial/checkpoint.py names:

    trial     the trial's spec as JSON
    shape     in_channels, image_size, classes of the data
    history   [{epoch, metrics}, …] of every whole epoch up to this position
    state     what the training loop needs to go on
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sweeps.errors import TrialStopped
from sweeps.spec import TrialSpec
from sweeps.storage import Place
from sweeps.trial import checkpoint
from sweeps.trial.datasets import Data
from sweeps.trial.loop import EpochResult, State


class Keeper:
    """Writes one trial's checkpoints: by epochs or minutes, at the end, and when asked to stop.

    Args:
        saved: the checkpoint that the trial goes on from.
        stop, beat: see `sweeps.trial.session.train`.
    """

    def __init__(  # noqa: PLR0917 - all of them are needed, once
        self,
        trial: TrialSpec,
        data: Data,
        folder: Place,
        saved: checkpoint.Content | None,
        stop: Callable[[], bool],
        beat: Callable[[], None],
    ):
        self.history: list[dict[str, Any]] = saved["history"] if saved else []
        self.epoch: int = saved["epoch"] if saved else 0
        self._best_epoch = saved["best_epoch"] if saved else None
        self._trial, self._folder, self._stop, self._beat = trial, folder, stop, beat
        self._shape = {
            "in_channels": data.in_channels,
            "image_size": data.image_size,
            "classes": data.classes,
        }
        self._written, self._when = (self.epoch, 0), time.monotonic()

    def at_step(self, step: int, state: Callable[[], State]) -> None:
        """After an update: write a checkpoint if its time has come; raise when asked to stop."""
        self._beat()
        stop = self._stop()
        if stop or self._time_is_up():
            self._write(step, state())
        if stop:
            raise TrialStopped(f"stopped after update {step} of epoch {self.epoch + 1}")

    def at_epoch(self, result: EpochResult) -> None:
        """After an epoch: note its result, and write a checkpoint if one is due."""
        self._beat()
        self.epoch = result.epoch
        metrics = {name: float(value) for name, value in result.metrics.items()}
        self.history.append({"epoch": result.epoch, "metrics": metrics})
        every = self._trial.training.checkpoint_every
        due = self._time_is_up() if isinstance(every, str) else result.epoch % every == 0
        if due or result.epoch == self._trial.training.epochs:
            self._write_epoch(result)

    def stop_after(self, result: EpochResult) -> None:
        """Stop between two epochs."""
        if self._written != (result.epoch, 0):
            self._write_epoch(result)
        raise TrialStopped(f"stopped after epoch {result.epoch}")

    def _time_is_up(self) -> bool:
        minutes = self._trial.training.checkpoint_minutes
        return minutes is not None and time.monotonic() - self._when >= 60 * minutes

    def _write_epoch(self, result: EpochResult) -> None:
        self._best_epoch = self._better()
        self._write(0, result.state())

    def _better(self) -> int:
        """The best epoch among those with a checkpoint, the one about to be written included."""
        objective, last = self._trial.objective, self.history[-1]
        if self._best_epoch is None:
            return last["epoch"]
        values = {entry["epoch"]: entry["metrics"][objective.metric] for entry in self.history}
        gain = values[last["epoch"]] - values[self._best_epoch]
        better = (gain if objective.mode == "max" else -gain) > 0
        return last["epoch"] if better else self._best_epoch

    def _write(self, step: int, state: State) -> None:
        content = {
            "best_epoch": self._best_epoch,
            "trial": self._trial.model_dump_json(),
            "shape": self._shape,
            "history": self.history,
            "state": state,
        }
        checkpoint.save(self._folder, self.epoch, content, step=step)
        self._written, self._when = (self.epoch, step), time.monotonic()
