"""From the `data` section to a data set, read once for all trials of a sweep. No torch.

The test images are read alongside; only `data.evaluate: test` shows them to a trial.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeps.errors import DataNotFound, PreflightError, SpecError
from sweeps.spec import DataSpec
from sweeps.trial.arrays import Dataset, from_arrays
from sweeps.trial.folder import ImageFiles, read_image_folder
from sweeps.trial.imports import load_object
from sweeps.trial.locate import DIGITS, check_data, data_root, how_to_get, left_to_train
from sweeps.trial.streams import numpy_generator

__all__ = ["Data", "Dataset", "ImageFiles", "load", "stratified_order"]

Data = Dataset | ImageFiles


def load(spec: DataSpec) -> Data:
    """Read, or first download, the data set that the spec names.

    Returns:
        the arrays, or for an image folder above `resident_limit` its files, decoded batch by batch.

    Raises:
        DataNotFound: it is not there and could not be downloaded.
        PreflightError: its images or arrays are not as they must be, or there are no test images to
            evaluate on.
        SpecError: an unknown name, or an import path that leads nowhere.
        Exception: whatever a function of the user's own raises.
    """
    if mistakes := check_data(spec):
        missing = mistakes[0].path == "data.root"
        raise DataNotFound("\n".join(map(str, mistakes))) if missing else SpecError(mistakes)
    raw = load_object(spec.name)() if ":" in spec.name else None
    try:
        if ":" in spec.name:
            data = from_arrays(raw, spec.name)
        elif spec.name == "image_folder":
            data = read_image_folder(spec)
        else:
            data = _digits() if spec.name == "digits" else _torchvision(spec)
    except ValueError as error:
        raise PreflightError(str(error)) from error
    if spec.evaluate == "test" and not len(data.test_labels):
        remedy = "Give some, or write evaluate: validation"
        raise PreflightError(f"data.evaluate: {spec.name} has no test images. {remedy}")
    return _limited(data, spec) if spec.limit else data


def check_test_images(spec: DataSpec, data: Data) -> None:
    """Raises PreflightError where the data has no test images to confirm on."""
    if not len(data.test_labels):
        raise PreflightError(f"confirm: {spec.name} has no test images. Give some, or leave it out")


def training_images(spec: DataSpec, data: Data) -> int:
    """How many images an epoch visits: all, but for those held out for validation."""
    return left_to_train(spec, len(data.train_labels))


def stratified_order(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order (N,) of the indices, of which every beginning has about equal class shares.

    The k-th image of a class with n images, at random, gets the place (k + u) / n, u in [0, 1).
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + rng.random(len(members))) / len(members)
    return np.argsort(place, kind="stable")


def _digits() -> Dataset:
    """Scikit-learn's 1,797 digits of 8×8 pixels, with a fixed, stratified test split."""
    table = _digits_table()
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = table[:, -1].astype(np.int64)
    order = stratified_order(labels, numpy_generator(0, "split"))
    test, train = order[:-DIGITS], order[-DIGITS:]
    return Dataset(images[train], labels[train], images[test], labels[test], classes=10)


def _digits_table() -> NDArray[np.float64]:
    """(1797, 65): pixels 0..16 and the label.

    Read from scikit-learn's own file where it lies: its import takes 2 s, the file 20 ms.
    """
    package = find_spec("sklearn")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return np.column_stack((np.asarray(pixels), np.asarray(labels)))


def _torchvision(spec: DataSpec) -> Dataset:
    from torchvision import datasets

    makers: dict[str, Callable[..., Any]] = {
        "mnist": datasets.MNIST,
        "fashion_mnist": datasets.FashionMNIST,
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
    }
    try:
        parts = [
            makers[spec.name](data_root(spec), train=train, download=spec.download)
            for train in (True, False)
        ]
    except (OSError, RuntimeError) as error:
        reason = f"{spec.name} could not be read or downloaded: {error}"
        raise DataNotFound(f"{reason}. {how_to_get(spec)}") from error
    arrays = [array for part in parts for array in (_channels_first(part.data), part.targets)]
    return from_arrays(tuple(arrays), spec.name)


def _channels_first(images: Any) -> NDArray[np.uint8]:
    """(N, H, W) or (N, H, W, C) as torchvision keeps them -> (N, H, W) or (N, C, H, W)."""
    images = np.asarray(images)
    return np.moveaxis(images, -1, 1) if images.ndim == 4 else images


def _limited(data: Data, spec: DataSpec) -> Data:
    """`data` with `limit` of the images that are used, drawn by `split_seed`."""
    if spec.evaluate == "test":
        test = _some(data.test_labels, spec, 2)
    else:
        test = np.arange(len(data.test_labels))
    return data.keep(_some(data.train_labels, spec, 1), test)


def _some(labels: NDArray[np.int64], spec: DataSpec, part: int) -> NDArray[np.int64]:
    order = stratified_order(labels, numpy_generator(spec.split_seed or 0, "split", part))
    return np.sort(order[: spec.limit])
