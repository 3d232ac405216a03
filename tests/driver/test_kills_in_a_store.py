"""A sweep in an S3 store: killed and gone on with elsewhere."""

from __future__ import annotations

import time

import pytest
from test_kills import SPEC, WORKER, check_mlflow, finish, run_through, streams

from sweeps.storage import at, working_folder


@pytest.mark.root
@pytest.mark.heavy
def test_killed_and_resumed_without_what_was_local(
    namespaced, store, tmp_path, tmp_path_factory, monkeypatch
) -> None:
    """A worker dies, then the driver; the next one has an empty cache, as on another machine."""
    place = f"storage: {store}\ntracking: {{uri: 'sqlite:///{tmp_path}/mlflow.db'}}\n"
    (tmp_path / "tiny.yaml").write_text(SPEC + place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    found = f"grep -c result {working_folder(store) / 'tiny' / 'journal.jsonl'}"
    until = f"until [ $({found}) -ge {{}} ]; do sleep 0.05; done 2>/dev/null"
    process = namespaced(f"""
        sweeps run tiny.yaml & driver=$!
        {until.format(5)}
        kill -9 $(pgrep -f '{WORKER}' | head -1) && echo 'a worker was killed'
        {until.format(20)}
        kill -9 $driver; wait $driver; echo "killed with $?"
        touch killed; until [ -e later ]; do sleep 0.05; done
        export XDG_CACHE_HOME=$PWD/two
        sweeps status tiny --storage {store}
        sweeps resume tiny --storage {store}; echo "resumed with $?"
    """)
    while not (tmp_path / "killed").exists() and process.poll() is None:
        time.sleep(0.05)
    (at(store) / "tiny" / "driver.lease").unlink()  # as if it had run out
    (tmp_path / "later").touch()
    out = finish(process)
    assert "a worker was killed" in out
    assert "killed with 137" in out and "resumed with 0" in out
    assert "tiny: interrupted (its driver died)" in out and "Traceback" not in out
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    assert streams(working_folder(store) / "tiny") == run_through(SPEC, tmp_path_factory)
    check_mlflow(tmp_path, trials=4)
