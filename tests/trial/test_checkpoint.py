import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.errors import CheckpointError
from sweeps.trial import checkpoint
from sweeps.trial.checkpoint import DamagedCheckpointWarning, best, files, load, newest, save


def content(value=0, **more):
    return {"weights": {"w": torch.full((3,), float(value))}, "note": "x", **more}


def test_what_is_saved_is_loaded(tmp_path, same):
    kept = {"a": [1, 2.5, None, True, "s"], "t": (torch.arange(3), torch.ones(2).half())}
    path = save(tmp_path / "new", 12, content(**kept))
    assert path == tmp_path / "new" / "epoch-000012.pt"
    loaded = load(path)
    assert [loaded.pop(key) for key in ("format", "epoch", "step")] == [1, 12, 0]
    assert same(loaded, content(**kept))


def test_torch_loads_the_file_as_it_is(tmp_path):
    path = save(tmp_path, 1, content(7))
    assert torch.load(path, weights_only=True)["weights"]["w"][0] == 7


def test_newest_of_none(tmp_path):
    assert newest(tmp_path) is None
    assert newest(tmp_path / "absent") is None
    assert best(tmp_path) is None


def test_the_last_two_and_the_best_are_kept(tmp_path):
    for epoch in range(1, 7):
        save(tmp_path, epoch, content(best_epoch=min(epoch, 2)))
    assert list(files(tmp_path)) == [2, 5, 6]
    assert best(tmp_path) == tmp_path / "epoch-000002.pt"
    save(tmp_path, 7, content(best_epoch=7))
    assert list(files(tmp_path)) == [6, 7]


def test_epochs_are_ordered_as_numbers(tmp_path):
    for epoch in (999_999, 1_000_000):
        save(tmp_path, epoch, content())
    assert newest(tmp_path)["epoch"] == 1_000_000


def test_other_files_are_no_checkpoints(tmp_path):
    save(tmp_path, 1, content())
    for name in ("epoch-2.pt.bak", "epoch-x.pt", "notes.txt"):
        (tmp_path / name).touch()
    assert list(files(tmp_path)) == [1]


@given(where=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["flip", "cut", "append"]))
@settings(max_examples=40)
def test_any_damage_is_noticed_and_the_one_before_used(tmp_path_factory, where, kind):
    folder = tmp_path_factory.mktemp("damage")
    for epoch in (1, 2):
        path = save(folder, epoch, content(epoch))
    raw = bytearray(path.read_bytes())
    at = int(where * len(raw))
    if kind == "flip":
        raw[at] ^= 0x10
    else:
        raw = raw[:at] if kind == "cut" else raw + raw[at:]
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"epoch-000002\.pt is damaged"):
        load(path)
    with pytest.warns(DamagedCheckpointWarning, match=r"skipped: .*epoch-000002\.pt is damaged"):
        assert newest(folder)["epoch"] == 1


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path / "epoch-000001.pt")


def test_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    path = save(tmp_path, 1, content())
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="is of format 2; this version reads format 1"):
        load(path)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, moment):
    save(tmp_path, 1, content(1))

    def fail(*args):
        raise OSError(28, "No space left on device")

    target = os if moment == "fsync" else Path
    monkeypatch.setattr(target, moment, fail)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 2, content(2))
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-000001.pt"]
    assert newest(tmp_path)["epoch"] == 1


def test_the_file_appears_only_once_it_is_whole_and_synced(tmp_path, monkeypatch):
    events = []
    sync, replace = os.fsync, Path.replace

    def watch_sync(handle):
        events.append(("sync", (tmp_path / "epoch-000001.pt").exists()))
        sync(handle)

    def watch_replace(path, target):
        events.append(("replace", load(path)["epoch"]))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(Path, "replace", watch_replace)
    save(tmp_path, 1, content())
    assert events == [("sync", False), ("replace", 1), ("sync", True)]


def test_what_a_killed_writer_left_is_cleared(tmp_path):
    (tmp_path / ".epoch-000001.pt.123").write_bytes(b"half")
    save(tmp_path, 2, content())
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-000002.pt"]


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (np.float64(1), r"checkpoint\['x'\]\[0\] must hold .* found float64"),
        ({1}, "found set"),
        (torch.nn.Linear(1, 1), "found Linear"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path, value, where):
    with pytest.raises(TypeError, match=where):
        save(tmp_path, 1, content(x=[value]))
    assert not files(tmp_path)
