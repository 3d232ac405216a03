"""The batched data path against torchvision's transforms in a DataLoader: images per second.

Both make the same batches from the same random uint8 images of CIFAR's shape: random crop to 32×32
with 4 pixels of zero padding, mirroring with probability 1/2, normalisation per channel, batches of
256. Ours runs in the training process on one thread (sweeps/trial/batches.py); theirs per image in
2 worker processes, kept from epoch to epoch: RandomCrop, RandomHorizontalFlip, ToTensor, Normalize.
Epochs of the two take turns in one run; each figure is the median over the rounds.

    python -m benchmarks.data_path [--images 20000] [--rounds 5]

Goal: at least 8 times as many images per second.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from sweeps.spec import SweepSpec
from sweeps.trial.arrays import Dataset
from sweeps.trial.batches import ResidentBatches

GOAL = 8
BATCH = 256


def random_images(count: int) -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(count) % 10
    return Dataset(images, labels, images[:0], labels[:0], classes=10)


class PerImage(TorchDataset):
    """As in torchvision's own CIFAR10: an array becomes a Pillow image, then is transformed."""

    def __init__(self, data: Dataset) -> None:
        self.images = np.ascontiguousarray(data.train_images.transpose(0, 2, 3, 1))
        self.labels = data.train_labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, 4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.29,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def per_image(data: Dataset, batch: int, *, pinned: bool = False) -> DataLoader:
    """What one would write with torchvision alone, in 2 workers kept from epoch to epoch."""
    return DataLoader(
        PerImage(data),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
        pin_memory=pinned,
    )


def timed(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Images per second of one epoch."""
    start, count = time.perf_counter(), 0
    for images, labels in batches:
        assert images.shape[1:] == (3, 32, 32)
        assert images.dtype == torch.float32
        count += len(labels)
    return count / (time.perf_counter() - start)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):9,.0f}  ({min(values):,.0f} to {max(values):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)

    data = random_images(options.images)
    spec = SweepSpec(
        name="benchmark",
        data={"crop_padding": 4, "flip": True, "validation": 1e-4},
        training={"batch_size": BATCH},
    )
    ours = ResidentBatches(spec.trial({}, seed=0), data, "cpu")
    theirs = per_image(data, BATCH)
    found: dict[str, list[float]] = {"ours": [], "theirs": []}
    timed(ours.train(1))  # not counted: each once to warm up
    timed(theirs)
    for epoch in range(2, options.rounds + 2):
        found["ours"].append(timed(ours.train(epoch)))
        found["theirs"].append(timed(theirs))

    ratio = statistics.median(found["ours"]) / statistics.median(found["theirs"])
    print(f"hardware            {processor()}, {os.cpu_count()} CPUs")
    print(f"torch               {torch.__version__}, python {platform.python_version()}")
    print(f"n                   {options.rounds} epochs each, {options.images:,} images, in turns")
    print("images per second   median (least to most)")
    print(f"  batched, 1 thread        {spread(found['ours'])}")
    print(f"  DataLoader, 2 workers    {spread(found['theirs'])}")
    verdict = "reached" if ratio >= GOAL else "MISSED"
    print(f"ratio               {ratio:.1f} (goal: at least {GOAL}, {verdict})")


if __name__ == "__main__":
    main()
