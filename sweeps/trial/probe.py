"""`python -m sweeps.trial.probe`: train one trial for some seconds and tell what it took.

Reads {"trial": …, "device": …, "seconds": …} from stdin and prints one JSON object, see `Probe`. A
process of its own, since the peak of its memory is a figure. Its checkpoints are real, in a
temporary folder.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import torch

from sweeps.errors import TrialDiverged, TrialStopped
from sweeps.spec import TrialSpec
from sweeps.trial import checkpoint
from sweeps.trial.datasets import Data, load, training_images
from sweeps.trial.session import train
from sweeps.trial.training import Training

LEAST = 5
"""Updates that are timed at least."""


@dataclass(frozen=True)
class Probe:
    """What a trial took."""

    epoch_seconds: float
    """Training, evaluation and checkpoint of one epoch."""
    memory: int
    """Peak bytes: allocated on a GPU; on a CPU of the whole process, its images among them."""
    checkpoint: int
    """Bytes of one."""
    epochs: int
    """Whole ones trained; with none, an epoch is reckoned from updates."""


def probe(trial: TrialSpec, data: Data, device: str, seconds: float) -> Probe:
    """Train until `seconds` and LEAST updates have passed, or to the end."""
    start, updates, epochs = perf_counter(), [perf_counter()], [perf_counter()]

    def beat() -> None:
        if device != "cpu":
            torch.cuda.synchronize()
        updates.append(perf_counter())

    def enough() -> bool:
        return len(updates) > LEAST and perf_counter() - start > seconds

    with tempfile.TemporaryDirectory() as folder:
        try:
            for _ in train(trial, data, Path(folder), device=device, stop=enough, beat=beat):
                epochs.append(perf_counter())
        except (TrialStopped, TrialDiverged):
            pass
        if len(epochs) == 1 and device != "cpu" and trial.training.loop is None:
            Training(trial, data, device).evaluate_a_batch()  # it may take more than an update
        sizes = [len(path.read_bytes()) for path in checkpoint.positions(Path(folder)).values()]
    return Probe(
        epoch_seconds=_epoch(trial, data, updates, epochs),
        memory=_peak(device),
        checkpoint=max(sizes, default=0),
        epochs=len(epochs) - 1,
    )


def _epoch(trial: TrialSpec, data: Data, updates: list[float], epochs: list[float]) -> float:
    """Seconds an epoch: of whole ones after the first, else of the updates after the first."""
    whole = [after - before for before, after in pairwise(epochs)]
    if len(whole) > 1:
        return statistics.median(whole[1:])
    each = [after - before for before, after in pairwise(updates)]
    if whole or not each:
        return sum(whole)
    update = statistics.median(each[1:] or each)
    batch = trial.training.batch_size
    seen = training_images(trial.data, data)
    # Looking at an image takes about a third of training on it: no way back through the network.
    testing = trial.data.evaluate == "test"
    judged = (len(data.test_labels) if testing else len(data.train_labels) - seen) / 3
    return update * (seen // batch + judged / batch)


def _peak(device: str) -> int:
    """Peak bytes of this process; not getrusage, which remembers the parent's too."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    """One probe from stdin to stdout."""
    asked = json.load(sys.stdin)
    trial = TrialSpec.model_validate(asked["trial"])
    found = probe(trial, load(trial.data), asked["device"], asked["seconds"])
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
