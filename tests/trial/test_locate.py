import subprocess
import sys

import pytest
from PIL import Image

from sweeps.spec import DataSpec
from sweeps.trial.locate import check_data, check_import_path


def only(mistakes) -> str:
    assert len(mistakes) == 1, mistakes
    return str(mistakes[0])


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / part / name / "1.png")
    return tmp_path


def image_folder(root) -> DataSpec:
    return DataSpec(name="image_folder", root=str(root))


def test_digits_need_nothing():
    assert check_data(DataSpec(root="/no/such/place", download=False)) == []


def test_unknown_name_lists_the_known_and_the_closest():
    message = only(check_data(DataSpec(name="cifar_10")))
    assert message.startswith("data.name: unknown data set")
    for known in (
        "digits",
        "mnist",
        "fashion_mnist",
        "cifar100",
        "image_folder",
        "module:function",
    ):
        assert known in message
    assert "Did you mean cifar10?" in message


@pytest.mark.parametrize(
    ("name", "file", "size"),
    [
        ("mnist", "MNIST/raw", "12 MB"),
        ("fashion_mnist", "FashionMNIST/raw", "31 MB"),
        ("cifar10", "cifar-10-batches-py", "170 MB"),
        ("cifar100", "cifar-100-python", "169 MB"),
    ],
)
def test_missing_files_without_download(tmp_path, name, file, size):
    message = only(check_data(DataSpec(name=name, root=str(tmp_path), download=False)))
    assert message.startswith(f"data.root: {name} lacks ")
    assert str(tmp_path / file) in message
    assert f"data.download: true ({size}" in message


def test_only_the_missing_files_are_named(tmp_path):
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python" / "train").touch()
    spec = DataSpec(name="cifar100", root=str(tmp_path), download=False)
    assert "cifar100 lacks test, meta in" in only(check_data(spec))
    for name in ("test", "meta"):
        (tmp_path / "cifar-100-python" / name).touch()
    assert check_data(spec) == []


def test_missing_files_may_be_downloaded_into_a_new_folder(tmp_path):
    assert check_data(DataSpec(name="mnist", root=str(tmp_path / "new" / "data"))) == []


def test_a_download_needs_a_folder_to_write(tmp_path):
    (tmp_path / "data").touch()
    message = only(check_data(DataSpec(name="mnist", root=str(tmp_path / "data"))))
    assert f"{tmp_path / 'data'} cannot be written" in message
    assert "12 MB" in message


def test_root_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IMAGES", str(tmp_path / "images"))
    for root, place in (("~/x", tmp_path / "x"), ("$IMAGES/y", tmp_path / "images" / "y")):
        assert str(place) in only(check_data(DataSpec(name="mnist", root=root, download=False)))


def test_image_folder(folder):
    assert check_data(image_folder(folder)) == []


def test_image_folder_without_train(tmp_path):
    message = only(check_data(image_folder(tmp_path)))
    assert f"no {tmp_path / 'train'}" in message
    assert "train/CLASS/*.png" in message


def test_image_folder_with_one_class(tmp_path):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    assert "at least 2 (found 1 in" in only(check_data(image_folder(tmp_path)))


def test_image_folder_with_an_empty_class(folder):
    (folder / "train" / "eel").mkdir()
    (folder / "train" / "eel" / "notes.txt").touch()
    assert f"none in {folder / 'train' / 'eel'}" in only(check_data(image_folder(folder)))


def test_image_folder_with_a_class_in_test_alone(folder):
    (folder / "test" / "eel").mkdir()
    assert "only in test/: eel" in only(check_data(image_folder(folder)))


def test_import_path_is_found_in_the_current_directory_and_not_executed(module):
    module("pack/__init__.py", "raise RuntimeError('executed')")
    module("pack/mine.py", "raise RuntimeError('executed')\ndef arrays(): ...\n")
    assert check_data(DataSpec(name="pack.mine:arrays")) == []
    assert "pack" not in sys.modules


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("absent:f", "no module named 'absent'"),
        ("mine.sub:f", "no module named 'mine.sub'"),
        ("mine:lood", "Did you mean load?"),
        ("mine:zzzzz", "Define zzzzz at its top level"),
        ("broken:f", "is not valid Python"),
        ("mine", "is written package.module:function"),
        ("mine:1", "is written package.module:function"),
        ("..:f", "is written package.module:function"),
    ],
)
def test_bad_import_paths(module, path, expected):
    module("mine.py", "def load(): ...")
    module("broken.py", "def load(:")
    message = only(check_import_path(path, "training.loop"))
    assert message.startswith("training.loop: ")
    assert expected in message


@pytest.mark.parametrize(
    "source",
    [
        "def f(): ...",
        "class f: ...",
        "f = print",
        "from os import getcwd as f",
        "import f",
        "if True:\n    def f(): ...",
        "try:\n    from a import f\nexcept ImportError:\n    f = None",
        "from os.path import *",
        "def __getattr__(name): ...",
    ],
)
def test_ways_to_define_a_name(module, source):
    module("mine.py", source)
    assert check_import_path("mine:f", "data.name") == []


def test_names_inside_functions_do_not_count(module):
    module("mine.py", "def g():\n    f = 1\n")
    assert "defines no 'f'" in only(check_import_path("mine:f", "data.name"))


def test_compiled_modules_pass():
    assert check_import_path("numpy._core._multiarray_umath:anything", "data.name") == []


def test_checking_imports_no_torch():
    code = (
        "import sys, sweeps.trial, sweeps.trial.locate as l; from sweeps.spec import DataSpec\n"
        "l.check_data(DataSpec(name='torchvision.datasets:MNIST'))\n"
        "print([m for m in ('torch', 'torchvision', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
