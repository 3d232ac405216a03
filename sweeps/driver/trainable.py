"""The worker's side: one Tune actor that trains one trial after another.

The images come once, through Ray's shared memory; the actor, its imports and its copy of the images
on the device are kept from trial to trial. A trial's own exception is a result, so that the actor
lives on; only what kills the process is an error to Tune.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ray import tune
from ray.air.constants import TRAINING_ITERATION

from sweeps.driver.adapters import REPORT
from sweeps.driver.folder import trial_folder
from sweeps.errors import TrialDiverged
from sweeps.spec import SweepSpec


class TrialActor(tune.Trainable):
    """Runs assignments; `step` is one epoch."""

    def setup(
        self, config: dict[str, Any], spec: Any = None, data: Any = None, path: str = ""
    ) -> None:
        """Keep what all trials share, then start on the first; `path` holds the user's modules."""
        if path not in sys.path:
            sys.path.insert(0, path)
        self._shared = (SweepSpec.model_validate(spec), data)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start on the next trial in the same process."""
        self._last_result = {}
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch, or say why not."""
        try:
            epoch, metrics = next(self._epochs)
        except Exception as error:
            return {REPORT: json.dumps({"failure": failure(error)})}
        return {TRAINING_ITERATION: epoch, REPORT: json.dumps({"epoch": epoch, "metrics": metrics})}

    def cleanup(self) -> None:
        """Close the running trial's generator."""
        self._epochs.close()

    def _begin(self, config: dict[str, Any]) -> None:
        self._epochs = _epochs(*self._shared, config)


def _epochs(
    spec: SweepSpec, data: Any, config: dict[str, Any]
) -> Generator[tuple[int, dict], None, None]:
    """The epochs of one assignment; imports and set-up errors come with the first."""
    import torch

    from sweeps.trial.session import train

    trial = spec.trial(config["params"], config["seed"])
    device = "cuda" if spec.resources.gpus_per_trial and torch.cuda.is_available() else "cpu"
    folder = trial_folder(Path(config["folder"]), config["trial"])
    for result in train(trial, data, folder, device=device, known_epoch=config["known_epoch"]):
        yield result.epoch, result.metrics
    raise RuntimeError(f"the training loop ended before epoch {trial.training.epochs}")


def failure(error: Exception) -> dict[str, Any]:
    """What the journal keeps of an exception inside a trial."""
    status = "diverged" if isinstance(error, TrialDiverged) else "failed"
    trace = "".join(traceback.format_exception(error))
    content = {"type": type(error).__name__, "message": str(error), "traceback": trace}
    return {"status": status, "error": content}
