"""Is the data there? Checked before anything starts, in a moment and without torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sweeps.errors import Mistake
from sweeps.spec import DataSpec
from sweeps.trial.imports import check_import_path

__all__ = [
    "DIGITS",
    "IMAGE_SUFFIXES",
    "check_data",
    "check_import_path",
    "class_folders",
    "data_root",
    "left_to_train",
    "most_images",
]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class _Download:
    """Files of a torchvision data set, relative to `data.root`, and their compressed size."""

    folder: str
    files: tuple[str, ...]
    size: str
    images: int
    """In its training split."""


_IDX = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
_CIFAR10 = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
_DOWNLOADS = {
    "mnist": _Download("MNIST/raw", _IDX, "12 MB", 60_000),
    "fashion_mnist": _Download("FashionMNIST/raw", _IDX, "31 MB", 60_000),
    "cifar10": _Download("cifar-10-batches-py", _CIFAR10, "170 MB", 50_000),
    "cifar100": _Download("cifar-100-python", ("train", "test", "meta"), "169 MB", 50_000),
}
KNOWN = ("digits", *_DOWNLOADS, "image_folder")
DIGITS = 1_500
"""Of scikit-learn's 1,797 digits those to train and validate on."""


def data_root(spec: DataSpec) -> Path:
    """`data.root` with `~` and `$VARIABLES` expanded, absolute."""
    return Path(os.path.expandvars(spec.root)).expanduser().absolute()


def check_data(spec: DataSpec) -> list[Mistake]:
    """What is wrong with the `data` section, as far as a look at the disk can tell."""
    if ":" in spec.name:
        return check_import_path(spec.name, "data.name")
    if spec.name not in KNOWN:
        close = get_close_matches(spec.name, KNOWN, n=1)
        remedy = f"Did you mean {close[0]}?" if close else ""
        rule = f"unknown data set. Known: {', '.join(KNOWN)}, package.module:function"
        return [Mistake("data.name", rule, repr(spec.name), remedy)]
    if spec.name == "image_folder":
        return _check_image_folder(data_root(spec))
    if spec.name in _DOWNLOADS:
        return _check_download(spec, _DOWNLOADS[spec.name])
    return []


def most_images(spec: DataSpec) -> int | None:
    """How many images an epoch visits at most, as far as the spec alone can tell; None: unknown."""
    whole = _DOWNLOADS[spec.name].images if spec.name in _DOWNLOADS else None
    known = [count for count in (DIGITS if spec.name == "digits" else whole, spec.limit) if count]
    return left_to_train(spec, min(known)) if known else None


def left_to_train(spec: DataSpec, images: int) -> int:
    """Of so many training images those that are not held out for validation."""
    return images if spec.evaluate == "test" else images - round(images * spec.validation)


def how_to_get(spec: DataSpec) -> str:
    """What a user does to get a data set that torchvision knows, with its size."""
    known = _DOWNLOADS[spec.name]
    files = f"the files {', '.join(known.files)} into {data_root(spec) / known.folder}"
    if spec.download:
        return f"Try again where the network is reached ({known.size}), or put {files}"
    return f"Set data.download: true ({known.size} through torchvision), or put {files}"


def class_folders(part: Path) -> list[Path]:
    """The folders of one part (`train/` or `test/`), a class each, by name."""
    return sorted(p for p in part.iterdir() if p.is_dir() and not p.name.startswith("."))


def _holds_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:  # lazy: a class may hold many thousands
        return any(Path(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in entries)


def _check_download(spec: DataSpec, known: _Download) -> list[Mistake]:
    root = data_root(spec)
    missing = [name for name in known.files if not (root / known.folder / name).is_file()]
    if not missing:
        return []
    if not spec.download:
        rule = f"{spec.name} lacks {', '.join(missing)} in {root / known.folder}"
        return [Mistake("data.root", rule, repr(spec.root), how_to_get(spec))]
    existing = next(p for p in (root, *root.parents) if p.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return []
    rule = f"{spec.name} is to be downloaded ({known.size}), but {existing} cannot be written"
    return [Mistake("data.root", rule, repr(spec.root), "Name a folder that you may write")]


def _check_image_folder(root: Path) -> list[Mistake]:
    layout = f"Lay the images out as {root}/train/CLASS/*.png (or .jpg), and test/CLASS/* if any"
    train, test = root / "train", root / "test"
    if not train.is_dir():
        return [Mistake("data.root", "an image folder holds train/", f"no {train}", layout)]
    classes = class_folders(train)
    if len(classes) < 2:
        found = f"{len(classes)} in {train}"
        return [
            Mistake("data.root", "train/ holds one folder per class, at least 2", found, layout)
        ]
    mistakes = [
        Mistake("data.root", "each class holds .png or .jpg images", f"none in {folder}", layout)
        for folder in classes
        if not _holds_images(folder)
    ]
    if test.is_dir():
        known = {folder.name for folder in classes}
        strange = [folder.name for folder in class_folders(test) if folder.name not in known]
        if strange:
            rule = "test/ has the classes of train/"
            mistakes.append(Mistake("data.root", rule, f"only in test/: {', '.join(strange)}"))
    return mistakes
