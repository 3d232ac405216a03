"""The worker's side: one Tune actor that trains one trial after another.

The images come once, through Ray's shared memory; the actor, its imports and its copy of the images
on the device are kept from trial to trial. A trial's own exception is a result, so that the actor
lives on; only what kills the process is an error to Tune.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ray import tune
from ray.air.constants import TRAINING_ITERATION

from sweeps.driver.adapters import REPORT
from sweeps.errors import (
    UNWRITABLE,
    PreflightError,
    StorageError,
    TrialDiverged,
    TrialStopped,
    how_to_mend,
)
from sweeps.spec import SweepSpec
from sweeps.storage import at, trial_folder
from sweeps.trial.stop import Stop
from sweeps.trial.watchdog import Watchdog

_NO_MEMORY = ("out of memory", "can't allocate memory", "_ALLOC_FAILED")
"""In errors of CUDA, of a CPU's allocator, and of cuBLAS and cuDNN for their own workspace."""
_HOLD_S = 1.0
"""How often one that holds a device that is left out asks whether it is to go on."""


class TrialActor(tune.Trainable):
    """Runs assignments; `step` is one epoch."""

    def setup(
        self, config: dict[str, Any], spec: Any = None, data: Any = None, path: str = ""
    ) -> None:
        """Keep what all trials share, then start on the first; `path` holds the user's modules."""
        if path not in sys.path:
            sys.path.insert(0, path)
        self._spec, self._data = SweepSpec.model_validate(spec), data
        self._stop = Stop(at(config["folder"]))
        self._watchdog = Watchdog(self._spec.resources.silent_minutes)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start on the next trial in the same process."""
        self._last_result = {}
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch, or say why not.

        Raises:
            TrialStopped: this machine is about to go; Tune gives the process up.
            Exception: its device failed; the process can do nothing there any more.
        """
        if self._holds:
            return self._held()
        if self._broken:
            raise self._broken
        epoch = 0
        try:
            with self._stop, self._watchdog:
                epoch, metrics = next(self._epochs)
            report = {"epoch": epoch, "metrics": metrics, "gpu": _gpus()}
        except StorageError as error:
            report = {"unwritable": f"{error}. Mend that"}
        except PreflightError as error:
            report = {"refused": str(error)}
        except TrialStopped as error:
            if self._stop.terminated:
                raise
            report = {"stopped": str(error)}
        except Exception as error:
            if "CUDA error" in str(error) and not _is_memory(error):
                if not _gpus():
                    raise
                self._broken = error  # raised in the next step: the driver has to hear of it first
                return {TRAINING_ITERATION: epoch, REPORT: json.dumps(self._device_failed(error))}
            if isinstance(error, OSError) and error.errno in UNWRITABLE:
                report = {"unwritable": f"{error}. {how_to_mend(error)}"}
            else:
                report = self._failed(error)
        return {TRAINING_ITERATION: epoch, REPORT: json.dumps(report)}

    def cleanup(self) -> None:
        """Close the running trial's generator."""
        self._epochs.close()

    def _begin(self, config: dict[str, Any]) -> None:
        self._holds = (socket.gethostname(), _gpus()) in map(tuple, config["left_out"])
        self._asked = False
        self._broken: Exception | None = None
        self._epochs = self._train(config)

    def _held(self) -> dict[str, Any]:
        """The trial's way back at once, then a word every so often."""
        if self._asked:
            time.sleep(_HOLD_S)
        self._asked = True
        return {TRAINING_ITERATION: 0, REPORT: json.dumps({"held": _gpus()})}

    def _device_failed(self, error: Exception) -> dict[str, Any]:
        return {"broken": failure(error) | {"device": f"GPU {_gpus()}"}, "gpu": _gpus()}

    def _failed(self, error: Exception) -> dict[str, Any]:
        content = failure(error) | {"device": _device(self._spec)}
        if not _is_memory(error):
            status = "diverged" if isinstance(error, TrialDiverged) else "failed"
            return {"failure": {"status": status, "error": content}}
        self._epochs.close()
        _free_memory(error)
        return {"memory": content}

    def _train(self, config: dict[str, Any]) -> Generator[tuple[int, dict], None, None]:
        """The epochs of one assignment; imports and set-up errors come with the first.

        The sweep's first start tries the networks of the whole space before it.
        """
        from sweeps.trial.rehearse import rehearse
        from sweeps.trial.session import train
        from sweeps.trial.start import weights

        spec, data, place = self._spec, self._data, at(config["folder"])
        device = _device(spec)
        start = weights(spec.training, place)
        if config["trial"] == 0 and not config["known_epoch"]:
            rehearse(spec, data, start)
        trial = spec.trial(config["params"], config["seed"], confirm=config["confirm"])
        parent = config["parent"]
        if parent is not None:
            trial = trial.going_on(config["after"], config["epochs"])
        folder = trial_folder(place, config["trial"])
        results = train(
            trial,
            data,
            folder,
            device=device,
            known_epoch=config["known_epoch"],
            stop=self._stop,
            beat=self._watchdog.beat,
            start=start,
            parent=None if parent is None else trial_folder(place, parent),
        )
        for result in results:
            yield result.epoch, result.metrics
        raise RuntimeError(f"the training loop ended before epoch {trial.training.epochs}")


def failure(error: Exception) -> dict[str, Any]:
    """What the journal keeps of an exception inside a trial, and where it was."""
    trace = "".join(traceback.format_exception(error))
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": trace,
        "node": socket.gethostname(),
    }


def _gpus() -> str:
    """Numbers of the GPUs that Ray gave this worker; empty on a CPU."""
    import ray

    return ",".join(map(str, ray.get_gpu_ids()))


def _device(spec: SweepSpec, devices: Path = Path("/dev")) -> str:
    """A GPU where trials ask for one; the CPU where GPUs are a number that Ray was told.

    Raises:
        RuntimeError: there are GPUs, and torch cannot use them: the CPU would take weeks, unseen.
    """
    import torch

    if not spec.resources.gpus:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if any(devices.glob("nvidia[0-9]*")):
        rule = f"torch {torch.__version__} needs a driver for CUDA {torch.version.cuda}"
        raise RuntimeError(f"CUDA error: {rule}, and sees no GPU here. See nvidia-smi")
    return "cpu"


def _is_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )


def _free_memory(error: BaseException | None) -> None:
    """Give back what a trial that did not fit left behind, in the frames of its error too."""
    import torch

    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
