import pickle
import struct

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sweeps.errors import DataNotFound, PreflightError, SpecError
from sweeps.spec import DataSpec
from sweeps.trial.arrays import from_arrays
from sweeps.trial.datasets import load, stratified_order


def arrays(**changes):
    good = {
        "train_images": np.zeros((6, 1, 4, 4), np.uint8),
        "train_labels": np.array([0, 1, 2] * 2),
        "test_images": np.zeros((2, 1, 4, 4), np.uint8),
        "test_labels": np.array([0, 2]),
    }
    return good | changes


def test_digits_are_scikit_learns(digits):
    pixels, labels = load_digits(return_X_y=True)
    images = np.concatenate([digits.train_images, digits.test_images]).reshape(-1, 64)
    found = np.column_stack([np.concatenate([digits.train_labels, digits.test_labels]), images])
    wanted = np.column_stack([labels, np.rint(pixels / 16 * 255)])
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, wanted.tolist()))
    assert images.dtype == np.uint8
    assert (digits.classes, digits.in_channels, digits.image_size) == (10, 1, 8)


def test_digits_keep_their_test_split(digits):
    other = load(DataSpec(split_seed=5, limit=100))
    assert np.array_equal(other.test_images, digits.test_images)
    shares = np.bincount(digits.test_labels) / np.bincount(load_digits().target)
    assert np.ptp(shares) < 0.02


@pytest.mark.parametrize("count", [10, 33, 500])
def test_every_beginning_of_a_stratified_order_has_the_class_shares(count):
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    order = stratified_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(1000))
    found = np.bincount(labels[order[:count]], minlength=3)
    assert np.abs(found - count * np.array([0.7, 0.2, 0.1])).max() <= 1


def test_stratified_order_is_random_within_a_class():
    labels = np.zeros(50, int)
    orders = [stratified_order(labels, np.random.default_rng(s)).tolist() for s in (0, 1)]
    assert orders[0] != orders[1] != list(range(50))


def test_limit_draws_by_split_seed(digits):
    a, b, again = (load(DataSpec(limit=100, split_seed=s)) for s in (0, 1, 0))
    assert a.train_images.shape == (100, 1, 8, 8)
    assert set(np.bincount(a.train_labels)) <= {9, 10, 11}
    assert np.array_equal(a.train_images, again.train_images)
    assert not np.array_equal(a.train_images, b.train_images)
    assert len(load(DataSpec(limit=10**6)).train_labels) == len(digits.train_labels)


def test_pickles_out_of_band(digits):
    buffers = []
    small = pickle.dumps(digits, protocol=5, buffer_callback=buffers.append)
    assert len(small) < 2000
    memory = [bytes(buffer) for buffer in buffers]
    copy = pickle.loads(small, buffers=memory)
    assert np.array_equal(copy.train_images, digits.train_images)
    assert not copy.train_images.flags.writeable


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_mnist_from_its_files(tmp_path, name, folder):
    rng, raw = np.random.default_rng(0), tmp_path / folder / "raw"
    images, labels = rng.integers(0, 256, (30, 28, 28)), np.arange(30) % 10
    for part, some in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        write_idx(raw / f"{part}-images-idx3-ubyte", images[some])
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels[some])
    data = load(DataSpec(name=name, root=str(tmp_path), download=False))
    assert np.array_equal(data.train_images[:, 0], images[:20])
    assert np.array_equal(data.test_images[:, 0], images[20:])
    assert np.array_equal(data.train_labels, labels[:20])


def test_cifar_is_turned_to_channels_first(monkeypatch, tmp_path):
    class Files:
        def __init__(self, root, train, download):
            assert (root, download) == (tmp_path, True)
            self.data = np.arange(2 * 32 * 32 * 3).reshape(2, 32, 32, 3).astype(np.uint8)
            self.targets = [0, 1]

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Files)
    data = load(DataSpec(name="cifar10", root=str(tmp_path)))
    assert data.train_images.shape == (2, 3, 32, 32)
    assert data.train_images[1, 2, 5, 7] == Files(tmp_path, True, True).data[1, 5, 7, 2]


def test_missing_data_says_how_to_get_it(tmp_path):
    with pytest.raises(DataNotFound, match=r"cifar10 lacks .*data\.download: true \(170 MB"):
        load(DataSpec(name="cifar10", root=str(tmp_path), download=False))


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("Error downloading")])
def test_a_failed_download_says_how_to_get_it(tmp_path, monkeypatch, error):
    def fail(self):
        raise error

    monkeypatch.setattr("torchvision.datasets.MNIST.download", fail)
    wanted = rf"{error}\. Try again where the network is reached \(12 MB"
    with pytest.raises(DataNotFound, match=wanted):
        load(DataSpec(name="mnist", root=str(tmp_path)))


def test_unknown_name():
    with pytest.raises(SpecError, match="unknown data set"):
        load(DataSpec(name="digitz"))


def test_arrays_by_import_path(module):
    module(
        "mine.py",
        "import numpy as np\n"
        "def arrays():\n"
        "    images, labels = np.zeros((6, 4, 4), np.uint8), np.array([0, 1] * 3, np.int32)\n"
        "    return images, labels, images[:2], labels[:2]\n",
    )
    data = load(DataSpec(name="mine:arrays", limit=4))
    assert data.train_images.shape == (4, 1, 4, 4)
    assert data.train_labels.dtype == np.int64
    assert (data.classes, len(data.test_labels)) == (2, 2)


def test_bad_arrays_by_import_path_are_for_the_user_to_mend(module):
    module("mine.py", "def arrays(): return 1\ndef broken(): raise KeyError('theirs')\n")
    with pytest.raises(PreflightError, match="mine:arrays must return a dict or tuple"):
        load(DataSpec(name="mine:arrays"))
    with pytest.raises(KeyError, match="theirs"):
        load(DataSpec(name="mine:broken"))
    with pytest.raises(SpecError, match="defines no 'absent'"):
        load(DataSpec(name="mine:absent"))


def test_torch_tensors_will_do():
    tensors = {name: torch.as_tensor(value) for name, value in arrays().items()}
    assert from_arrays(tensors, "mine").classes == 3


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "must return a dict or tuple of train_images"),
        ((1, 2, 3), "must return a dict or tuple"),
        ({"train_images": 1}, r"got \['train_images'\]"),
        (arrays(train_images=np.zeros((6, 1, 4, 4))), "must be uint8; got float64"),
        (arrays(train_images=np.zeros((6, 1, 4, 5), np.uint8)), r"H = W; got shape \(6, 1, 4, 5\)"),
        (arrays(train_images=np.zeros((6, 16), np.uint8)), r"got shape \(6, 16\)"),
        (arrays(train_labels=np.zeros(5, int)), "must be 6 integers"),
        (arrays(train_labels=np.zeros(6)), "got float64"),
        (arrays(train_labels=np.array([-1, 0, 1] * 2)), "must start from 0; got -1"),
        (arrays(train_labels=np.array([0, 2] * 3)), r"the largest is 2 .* no image of \[1\]"),
        (arrays(train_labels=np.zeros(6, int)), "at least 2"),
        (arrays(test_labels=np.array([0, 3])), "test label 3 is not among 3 classes"),
        (arrays(test_images=np.zeros((2, 3, 4, 4), np.uint8)), "must be of one shape"),
        (
            arrays(train_images=np.zeros((0, 1, 4, 4), np.uint8), train_labels=np.zeros(0, int)),
            "at least one image",
        ),
    ],
)
def test_wrong_arrays(raw, expected):
    with pytest.raises(ValueError, match=expected):
        from_arrays(raw, "mine:arrays")
