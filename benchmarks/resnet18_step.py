"""Claim: a whole training step of ResNet-18 with ghost noise is bound by arithmetic, and fast.

    python benchmarks/resnet18_step.py [--device cuda] [--rounds 5] [--updates 6] [--out FILE]

Images per second of training, data and optimiser included, of pre-activation ResNet-18 with batch
norm and ghost noise of 16 at its 20 sites: random images of CIFAR's shape, crop with 4 pixels of
padding and mirroring, batches of 128, SGD with momentum. In one run, whose arms take turns:

    plain        BN, noise by a (B, N, C) gather and affine as one operation after another (the
                 paper's formulas, norms.PaperNoise), torch.optim.SGD, torchvision's transforms in a
                 DataLoader of 2 workers; float32 and contiguous, and once more in bfloat16 and
                 channels_last
    batch norm   the first without noise
    ours         `sweeps.trial.loop.fit`, that is a trial as a sweep trains it, by the options of
                 the spec: precision, training.compile, and on a GPU channels_last and CUDA graphs

Each figure is the median over the rounds; what compiling takes is printed beside it and not in it.
On a CPU all arms use all cores and the allocator of our workers.
Goal: the best of ours at least 1.8 times the plain one in float32 on a CPU, 3 times on a GPU.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import models
from benchmarks.data_path import per_image, processor, random_images
from benchmarks.norms import PaperNoise, tuned_allocator
from sweeps.spec import SweepSpec
from sweeps.trial.arrays import Dataset
from sweeps.trial.loop import fit

BATCH, GHOST = 128, 16
GOALS = {"cpu": 1.8, "cuda": 3.0}
PLAIN = "plain, float32"
Epochs = Iterator[float]
"""Images per second of one epoch after the other."""


def network(*, noise: bool) -> nn.Module:
    """The network with BatchNorm2d, each in the plain composition with noise if so."""
    model = models.create("preact_resnet18", in_channels=3, image_size=32, classes=10)
    for parent in list(model.modules()) if noise else ():
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, PaperNoise(child.num_features, GHOST, vectors=False))
    return model


def plain(data: Dataset, device: str, *, noise: bool = True, half: bool = False) -> Epochs:
    """What a user would write with torch and torchvision alone."""
    loader = per_image(data, BATCH, pinned=device == "cuda")
    layout = torch.channels_last if half else torch.contiguous_format
    model = network(noise=noise).to(device, memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, nesterov=True, weight_decay=5e-4)
    while True:
        start, count = time.perf_counter(), 0
        for batch, wanted in loader:
            images = batch.to(device, memory_format=layout, non_blocking=True)
            labels = wanted.to(device, non_blocking=True)
            with torch.autocast(device, torch.bfloat16, enabled=half):
                logits = model(images)
            F.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            count += len(labels)
        if device == "cuda":
            torch.cuda.synchronize()
        yield count / (time.perf_counter() - start)


def ours(data: Dataset, device: str, **training: object) -> Epochs:
    """A trial as a sweep trains it; its own figure of a training epoch."""
    spec = SweepSpec(
        name="benchmark",
        data={"crop_padding": 4, "flip": True, "validation": 0.01},
        model={"name": "preact_resnet18", "noise": {"ghost_size": GHOST}},
        training={"batch_size": BATCH, "epochs": 1000, **training},
        resources={"threads_per_trial": torch.get_num_threads()},
    )
    for result in fit(spec.trial({}, seed=0), data, device=device):
        yield result.metrics["images_per_second"]


def arms(data: Dataset, device: str) -> dict[str, Epochs]:
    """All of them by name."""
    half = {"cpu_precision": "bfloat16", "precision": "bfloat16"}
    found = {
        PLAIN: plain(data, device),
        "plain, bfloat16 channels_last": plain(data, device, half=True),
        "batch norm alone, float32": plain(data, device, noise=False),
        "ours, float32": ours(data, device),
        "ours, bfloat16": ours(data, device, **half),
        "ours, float32 compiled": ours(data, device, compile=True),
        "ours, bfloat16 compiled": ours(data, device, compile=True, **half),
    }
    if device == "cuda":
        last = {"channels_last": True, **half}
        found["ours, bfloat16 channels_last"] = ours(data, device, **last)
        found["ours, bfloat16 channels_last compiled"] = ours(data, device, compile=True, **last)
        found["ours, the same with CUDA graphs"] = ours(data, device, compile="cuda_graphs", **last)
    return found


def timed(step: Callable[[], float]) -> tuple[float, float]:
    """What it gives, and its seconds."""
    start = time.perf_counter()
    return step(), time.perf_counter() - start


def main() -> None:
    """Warm every arm up, then let them take turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", choices=sorted(GOALS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = options.device
    data = random_images(round(options.updates * BATCH / 0.99))
    each = arms(data, device)
    first = {name: timed(epochs.__next__)[1] for name, epochs in each.items()}
    for epochs in each.values():  # what is compiled is so anew after another has been
        next(epochs)
    found: dict[str, list[float]] = {name: [] for name in each}
    for _ in range(options.rounds):
        for name, epochs in each.items():
            found[name].append(next(epochs))
    text = report(found, first, options)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def report(
    found: dict[str, list[float]], first: dict[str, float], options: argparse.Namespace
) -> str:
    """A line an arm, and whether the goal is reached."""
    device = options.device
    hardware = torch.cuda.get_device_name() if device == "cuda" else processor()
    median = {name: statistics.median(values) for name, values in found.items()}
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {hardware}, {torch.get_num_threads()} threads of "
        f"{os.cpu_count()} cores, torch {torch.__version__}, python {platform.python_version()}",
        f"n = {options.rounds} epochs of {options.updates} updates of {BATCH}, arms in turns",
        f"{'images per second of training':<40}{'median':>8}{'least':>8}{'most':>8}{'ratio':>7}"
        f"{'first epoch':>14}",
    ]
    for name, values in found.items():
        ratio = median[name] / median[PLAIN]
        figures = "".join(f"{v:8.1f}" for v in (median[name], min(values), max(values)))
        lines.append(f"{name:<40}{figures}{ratio:7.2f}{first[name]:12.1f} s")
    best = max((n for n in found if n.startswith("ours")), key=lambda n: median[n])
    ratio, goal = median[best] / median[PLAIN], GOALS[device]
    verdict = "reached" if ratio >= goal else "NOT reached"
    lines.append(f"best of ours ({best}) / {PLAIN}: {ratio:.2f} (goal {goal}: {verdict})")
    return "\n".join(lines)


if __name__ == "__main__":
    if "cuda" not in sys.argv:
        tuned_allocator()
    main()
