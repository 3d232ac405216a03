"""Objects as paths, addresses, and what is said when a store refuses or does not answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.errors import SpecError, StorageError
from sweeps.storage import ObjectPath, at, client, origin, truth, working_folder, write_whole


def test_an_object_is_used_like_a_file(store) -> None:
    place = at(store) / "folder"
    (place / "epoch-2.pt").write_bytes(b"two")
    write_whole(place / "epoch-1.pt", b"o", b"ne")
    (place / "below" / "epoch-3.pt").write_bytes(b"")
    assert [p.name for p in place.glob("epoch-*.pt")] == ["epoch-1.pt", "epoch-2.pt"]
    assert (place / "epoch-1.pt").read_bytes() == b"one"
    assert (place / "epoch-1.pt").exists() and not (place / "epoch-9.pt").exists()
    assert 0 <= (place / "epoch-1.pt").age() < 60 and (place / "epoch-9.pt").age() is None
    (place / "epoch-1.pt").unlink()
    (place / "epoch-1.pt").unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no {place}/epoch-1.pt"):
        (place / "epoch-1.pt").read_bytes()
    place.remove_all()
    assert list(place.glob("*")) == list((place / "below").glob("*")) == []


def test_of_two_that_create_one_is_refused(store) -> None:
    place = at(store) / "record"
    place.create(b"first")
    with pytest.raises(FileExistsError):
        place.create(b"second")
    assert place.read_bytes() == b"first"


def test_a_large_object_is_sent_in_parts(store, monkeypatch) -> None:
    monkeypatch.setattr("sweeps.storage.objects._IN_PARTS", 10)
    (at(store) / "large").write_bytes(bytes(range(256)) * 40000)
    assert (at(store) / "large").read_bytes() == bytes(range(256)) * 40000


def test_more_than_a_page_is_listed_and_removed(store, monkeypatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    monkeypatch.setattr("sweeps.storage.objects._REMOVED_AT_ONCE", 3)
    place = at(store)
    for number in range(5):
        (place / f"{number}").write_bytes(b"")
    assert [path.name for path in place.glob("*")] == ["0", "1", "2", "3", "4"]
    place.remove_all()
    assert not list(place.glob("*"))


def test_a_working_folder_says_where_the_truth_is(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = working_folder("s3://bucket/a/b/") / "name"
    assert folder == tmp_path / "ghost-noise-sweeps" / "s3" / "bucket" / "a" / "b" / "name"
    assert str(origin(folder)) == str(truth(folder)) == "s3://bucket/a/b/name"
    assert at(str(truth(folder))) == origin(folder)
    assert str(truth(working_folder("s3://bucket") / "name")) == "s3://bucket/name"
    assert working_folder("some") == Path.cwd() / "some"
    assert origin(working_folder("some") / "name") is None
    assert truth(tmp_path) == at(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("address", ["gs://bucket/a", "s3://", "s3://bucket/../x", "s3://b//c"])
def test_an_address_that_is_none_is_refused(address) -> None:
    with pytest.raises(SpecError, match="is a folder, or s3://BUCKET or s3://BUCKET/PREFIX"):
        working_folder(address)


def test_a_missing_bucket_is_told_at_once(store) -> None:
    with pytest.raises(StorageError, match="s3://no-such-bucket/x: there is no such bucket"):
        ObjectPath("no-such-bucket", "x").read_bytes()


def test_credentials_that_are_refused(store) -> None:
    from moto.core import set_initial_no_auth_action_count

    read = set_initial_no_auth_action_count(0)((at(store) / "x").read_bytes)
    with pytest.raises(StorageError, match=r"refuses these credentials \(InvalidAccessKeyId\)"):
        read()


def test_no_credentials_are_told(store, tmp_path, monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    code = f"from sweeps.storage import at; at({store!r}).read_bytes()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StorageError" in run.stderr and "Unable to locate credentials" in run.stderr


def test_a_store_that_is_away_is_waited_for_and_then_given_up(
    store, store_server, monkeypatch
) -> None:
    place = at(store) / "x"
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            store_server.start()

    monkeypatch.setattr(client.time, "sleep", sleep)
    store_server.stop()
    place.write_bytes(b"after a while")
    assert len(pauses) == 3 and place.read_bytes() == b"after a while"
    store_server.stop()
    try:
        assert not place.exists()  # one look is not the end of patience
        with pytest.raises(StorageError, match=f"{place}: the store does not answer: .*connect"):
            place.read_bytes(patience=0.2)
        assert len(pauses) > 3
        pauses.clear()
        with pytest.raises(StorageError):  # given up once: not waited for again
            place.read_bytes()
        assert not pauses
    finally:
        store_server.start()
    assert place.exists()
