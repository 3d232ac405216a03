"""A sweep cut off at each of its writes, by a crash or by an error, goes on as if it had not been.

A crash is seen as what the folder holds at that moment: it is copied after each step of each write,
also with what was being written torn in the middle, and each copy is resumed. An error is made by
the file or call that returns it. Trials are real, and so short that all of it takes seconds.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import folder_of, opened
from sweeps.errors import JournalError, StorageError
from sweeps.journal import FILE, Journal, read
from sweeps.spec import SweepSpec
from sweeps.storage import at, trial_folder, truth
from sweeps.trial.arrays import Dataset
from sweeps.trial.session import train

TIMINGS = {"seconds", "images_per_second"}


def spec(every: int | str = 1) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "name": "s",
            "model": {"options": {"depth": 1, "width": 4}, "noise": {"ghost_size": 4}},
            "training": {"epochs": 3, "batch_size": 16, "checkpoint_every": every},
            "space": {"training.optimizer.lr": {"loguniform": [0.01, 1]}},
            "search": {"trials": 2, "sampler": "random"},
            "stopping": {"name": "none"},
        }
    )


@pytest.fixture(scope="module")
def images() -> Dataset:
    rng = np.random.default_rng(0)
    drawn, labels = rng.integers(0, 256, (70, 1, 4, 4), dtype=np.uint8), np.arange(70) % 2
    return Dataset(drawn[:60], labels[:60], drawn[60:], labels[60:], classes=2)


def run(sweep: SweepSpec, folder: Path, data: Dataset, observe=lambda *_: None) -> None:
    """Start or go on, to the end, in this process and without Ray."""
    with opened(sweep, folder) as journal:
        conductor = Conductor(journal, observe)
        conductor.session("started")
        while one := conductor.next():
            trial, place = sweep.trial(one.params, one.seed), trial_folder(truth(folder), one.trial)
            for result in train(trial, data, place, device="cpu", known_epoch=one.known_epoch):
                if conductor.result(one.trial, result.epoch, result.metrics):
                    break
        conductor.session("finished")


def story(folder: Path) -> list:
    """All that was proposed, measured and decided; each epoch once."""
    trials = read(folder).trials.values()
    return [
        (t.params, t.seed, t.status, [(r["epoch"], _untimed(r), r["decision"]) for r in t.results])
        for t in trials
    ]


def _untimed(result: dict) -> dict:
    return {k: v for k, v in result["metrics"].items() if k not in TIMINGS}


class Watched:
    """The journal's file: what it does is reported before and after."""

    def __init__(self, file, report):
        self._file, self._report = file, report

    def write(self, line):
        self._report("write", self._file, line)
        return self._file.write(line)

    def __getattr__(self, name):
        return getattr(self._file, name)


def watch(monkeypatch, report) -> None:
    """Have `report(step, path or file, line)` called before each step of each write."""
    begin, sync, replace, unlink = Journal.__init__, os.fsync, Path.replace, Path.unlink

    def open_watched(journal, *arguments):
        begin(journal, *arguments)
        journal._file = Watched(journal._file, report)

    def watched_sync(handle):
        report("sync", Path(f"/proc/self/fd/{handle}").readlink(), b"")
        sync(handle)

    def watched_replace(path, target):
        report("replace", path, b"")
        return replace(path, target)

    def watched_unlink(path, missing_ok=False):
        if path.exists():
            report("unlink", path, b"")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Journal, "__init__", open_watched)
    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    monkeypatch.setattr(Path, "unlink", watched_unlink)


@pytest.mark.parametrize("every", [1, "0.000001 minutes"])
def test_every_prefix_of_the_folders_history_resumes(tmp_path, images, monkeypatch, every) -> None:
    folder, copies = tmp_path / "s", []

    def keep(torn: Path | None = None, content: bytes = b"") -> None:
        copy = tmp_path / f"copy-{len(copies)}"
        shutil.copytree(folder, copy)
        if torn:
            (copy / torn.relative_to(folder)).write_bytes(content)
        copies.append(copy)

    def report(step, what, line) -> None:
        if step == "write":
            keep()
            keep(folder / FILE, (folder / FILE).read_bytes() + line[: len(line) // 2])
        elif what.is_dir():
            keep()
        else:
            keep()
            keep(what, what.read_bytes()[: what.stat().st_size // 2])

    with monkeypatch.context() as patch:
        watch(patch, report)
        run(spec(every), folder, images)
    assert len(copies) > 60
    for copy in copies[:: 1 if every == 1 else 9]:
        run(spec(every), copy, images)
        assert story(copy) == story(folder)
        assert not list(copy.glob("trials/*/.*"))


def test_an_error_at_any_step_is_raised_and_the_next_driver_goes_on(
    tmp_path, images, monkeypatch
) -> None:
    """A full disk or a broken one in turn; of the journal's lines a third is written."""
    run(spec(), tmp_path / "whole", images)
    for step in range(1000):
        folder, left = tmp_path / str(step), [step]
        number = errno.EIO if step % 2 else errno.ENOSPC

        def fail(kind, what, line, left=left, number=number) -> None:
            left[0] -= 1
            if left[0] == -1:
                if kind == "write":
                    what.write(line[: len(line) // 3])
                raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            watch(patch, fail)
            try:
                run(spec(), folder, images)
            except (JournalError, OSError, StorageError) as error:
                assert os.strerror(number) in str(error)
        if left[0] >= 0:
            break
        run(spec(), folder, images)
        assert story(folder) == story(tmp_path / "whole")
    assert step > 30


@pytest.mark.parametrize("lost", [5, 6, 8])
def test_a_folder_that_is_gone_is_told_and_not_made_anew(tmp_path, images, lost) -> None:
    """After that record a disk is unmounted, say: the next write of either kind meets it."""
    folder, away = tmp_path / "s", tmp_path / "away"

    def move(record, state) -> None:
        if record["n"] == lost:
            folder.rename(away)

    with pytest.raises(StorageError, match="is gone"):
        run(spec(), folder, images, move)
    assert not folder.exists()
    assert read(away).records == lost + 1
    away.rename(folder)
    run(spec(), folder, images)
    run(spec(), tmp_path / "whole", images)
    assert story(folder) == story(tmp_path / "whole")


def test_every_prefix_of_a_stores_history_resumes(store, images, monkeypatch, tmp_path) -> None:
    """From the call on at which it is killed, a driver reaches the store no more."""
    from sweeps.storage.client import client

    monkeypatch.setattr("sweeps.storage.segments.MERGE", 6)
    s3 = client()
    real = {name: getattr(s3, name) for name in ("put_object", "delete_object", "delete_objects")}
    run(spec(), tmp_path / "whole", images)
    steps = 0
    for survived in range(2, 1000, 7):
        name, left = f"{store}/{survived}", [survived]

        def killed(method, left=left):
            def call(**options):
                if options.get("Key", "").endswith(".lease"):  # its thread's calls are not counted
                    return method(**options)
                left[0] -= 1
                if left[0] < 0:
                    raise StorageError("killed")
                return method(**options)

            return call

        folder = folder_of("s", name)
        with monkeypatch.context() as patch:
            for method, function in real.items():
                patch.setattr(s3, method, killed(function))
            try:
                run(spec(), folder, images)
            except StorageError:
                steps += 1
        shutil.rmtree(folder)
        (at(name) / "s" / "driver.lease").unlink()
        run(spec(), folder, images)
        assert story(folder) == story(tmp_path / "whole")
        if left[0] >= 0:
            break
    assert steps > 3
