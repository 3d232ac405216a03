"""An image folder of the user's own: `train/CLASS/*.png|jpg`, and `test/CLASS/*` if there is one.

Up to `data.resident_limit` bytes it is decoded once into a `Dataset`; above, it stays `ImageFiles`,
decoded batch by batch (sweeps/trial/streaming.py). Decoding runs in threads: Pillow releases the
interpreter's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sweeps.spec import DataSpec
from sweeps.trial.arrays import Dataset
from sweeps.trial.locate import IMAGE_SUFFIXES, class_folders, data_root

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageFiles:
    """A data set as paths, for images that do not fit into memory.

    Paths are relative to `root`; labels number the class folders of `train/` by name.
    """

    root: str
    train_paths: NDArray[np.str_]
    train_labels: NDArray[np.int64]
    test_paths: NDArray[np.str_]
    test_labels: NDArray[np.int64]
    classes: int
    in_channels: int
    image_size: int

    def keep(self, train: NDArray[np.int64], test: NDArray[np.int64]) -> ImageFiles:
        """The same with those training and test images alone."""
        return replace(
            self,
            train_paths=self.train_paths[train],
            train_labels=self.train_labels[train],
            test_paths=self.test_paths[test],
            test_labels=self.test_labels[test],
        )


def read_image_folder(spec: DataSpec) -> Dataset | ImageFiles:
    """The folder at `data.root`, in memory or as files.

    Raises:
        ValueError: images of several sizes (or too many bytes) and no `data.image_size`.
    """
    files = _list(spec)
    count = len(files.train_labels) + len(files.test_labels)
    if count * files.in_channels * files.image_size**2 > spec.resident_limit:
        if spec.image_size is None:
            rule = "an image folder above data.resident_limit needs data.image_size"
            raise ValueError(f"{rule}; {count} images take more than {spec.resident_limit} bytes")
        return files
    train, test = (
        decode_all(files, paths, must_fit=spec.image_size is None)
        for paths in (files.train_paths, files.test_paths)
    )
    return Dataset(train, files.train_labels, test, files.test_labels, classes=files.classes)


def decode_all(
    files: ImageFiles, paths: Sequence[str] | NDArray[np.str_], must_fit: bool
) -> Pixels:
    """Those images (N, C, S, S), their shorter side resized to S and the centre cut out.

    Raises:
        ValueError: `must_fit`, and an image is not S×S as it is.
    """
    size, out = files.image_size, _empty(files, len(paths))

    def decode(i: int) -> None:
        image = open_image(files, paths[i])
        if must_fit and image.size != (size, size):
            rule = "without data.image_size, all images must be square and of one size"
            found = f"{paths[i]} is {image.width} by {image.height}, the first {size} by {size}"
            raise ValueError(f"{rule}; {found}. Set data.image_size to resize them")
        out[i] = resized(image, centre_square(image.size), size)

    in_threads(decode, len(paths))
    return out


def open_image(files: ImageFiles, path: str) -> Image.Image:
    """One image, decoded, grey or colour as the data set is.

    Raises:
        ValueError: the file is not an image, or has more than 8 bits a value.
    """
    with _opened(Path(files.root) / path) as image:
        if image.mode[0] in "IF":
            rule = f"images of 8 bits a value are needed; {path} is of Pillow's mode {image.mode}"
            raise ValueError(f"{rule}. Convert it, as its scale wants it")
        return image.convert("L" if files.in_channels == 1 else "RGB")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def resized(image: Image.Image, box: tuple[float, float, float, float], size: int) -> Pixels:
    """The box (left, top, right, bottom) of an image, resized bilinearly to (C, size, size)."""
    if image.size != (size, size) or box != (0, 0, size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def centre_square(size: tuple[int, int], share: float = 1.0) -> tuple[float, float, float, float]:
    """The box in the middle of (width, height) whose side is `share` of the shorter one."""
    width, height = size
    side = share * min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def in_threads(job: Callable[[int], None], count: int) -> None:
    """Run job(0), …, job(count - 1) on a thread per CPU; the first exception is raised."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(job, range(count)):
            pass


def _empty(files: ImageFiles, count: int) -> Pixels:
    return np.empty((count, files.in_channels, files.image_size, files.image_size), np.uint8)


def _list(spec: DataSpec) -> ImageFiles:
    root = data_root(spec)
    names = [folder.name for folder in class_folders(root / "train")]
    (train_paths, train_labels), (test_paths, test_labels) = (
        _list_part(root, part, names) for part in ("train", "test")
    )
    modes, size = _look_at(root, train_paths)
    return ImageFiles(
        str(root),
        train_paths,
        train_labels,
        test_paths,
        test_labels,
        classes=len(names),
        in_channels=1 if modes <= {"1", "L"} else 3,
        image_size=spec.image_size or min(size),
    )


def _list_part(
    root: Path, part: str, names: list[str]
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Paths relative to `root` by class and name, with their labels; none if there is no folder."""
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        folder = root / part / name
        entries = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - strings are faster
        images = [e for e in entries if os.path.splitext(e)[1].lower() in IMAGE_SUFFIXES]  # noqa: PTH122
        paths += [f"{part}/{name}/{image}" for image in sorted(images)]
        labels += [label] * len(images)
    return np.array(paths, dtype=np.str_), np.array(labels, dtype=np.int64)


def _look_at(root: Path, paths: NDArray[np.str_]) -> tuple[set[str], tuple[int, int]]:
    """Pixel modes of 32 images spread over the set, and the size of the first."""
    modes, size = set[str](), (0, 0)
    for position, i in enumerate(np.linspace(0, len(paths) - 1, 32).astype(int)):
        with _opened(root / str(paths[i])) as image:
            modes.add(image.mode)
            size = size if position else image.size
    return modes, size
