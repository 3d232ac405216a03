"""A sweep in an S3 store: killed, cut off from it, and gone on with elsewhere."""

from __future__ import annotations

import time

import pytest
from test_kills import SPEC, check_mlflow, finish, run_through, streams

from sweeps.storage import at, working_folder

pytestmark = pytest.mark.root


def test_killed_cut_off_and_resumed_without_what_was_local(  # noqa: PLR0917 - fixtures
    namespaced, store, store_server, tmp_path, tmp_path_factory, monkeypatch
) -> None:
    """Each driver has an empty cache, as on another machine; the first two leave a lease."""
    (tmp_path / "tiny.yaml").write_text(SPEC + f"storage: {store}\n")
    sweep = at(store) / "tiny"

    def records(cache: str, what: str) -> str:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        return f"grep -c '{what}' {working_folder(store) / 'tiny' / 'journal.jsonl'}"

    def until(cache: str, count: int) -> str:
        found = records(cache, '"result"')
        return f"until [ $({found}) -ge {count} ] 2>/dev/null; do sleep 0.05; done"

    process = namespaced(f"""
        export XDG_CACHE_HOME=$PWD/one
        sweeps run tiny.yaml & driver=$!
        ( {until("one", 3)} ) 2>/dev/null
        kill -9 $(pgrep -f ray::TrialActor | head -1)
        ( {until("one", 9)} ) 2>/dev/null
        kill -9 $driver; wait $driver; echo "killed with $?"
        rm -rf one; touch killed; until [ -e dead ]; do sleep 0.05; done
        export XDG_CACHE_HOME=$PWD/two SWEEPS_STORE_PATIENCE=2
        sweeps resume tiny --storage {store} & driver=$!
        ( {until("two", 20)} ) 2>/dev/null
        touch away; wait $driver; echo "cut off with $?"
        rm -rf two; touch back; until [ -e again ]; do sleep 0.05; done
        export XDG_CACHE_HOME=$PWD/three SWEEPS_STORE_PATIENCE=60
        sweeps status tiny --storage {store}
        sweeps resume tiny --storage {store}; echo "resumed with $?"
    """)

    def wait_for(name: str) -> None:
        while not (tmp_path / name).exists() and process.poll() is None:
            time.sleep(0.05)

    wait_for("killed")
    (sweep / "driver.lease").unlink()  # as if it had run out
    (tmp_path / "dead").touch()
    wait_for("away")
    store_server.stop()
    wait_for("back")
    store_server.start()
    (sweep / "driver.lease").unlink()
    (tmp_path / "again").touch()
    out = finish(process)
    assert "killed with 137" in out and "cut off with 2" in out and "resumed with 0" in out
    assert "the store does not answer" in out and "Traceback" not in out
    assert "tiny: interrupted" in out
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "three"))
    undisturbed = run_through(SPEC, tmp_path_factory)
    assert streams(working_folder(store) / "tiny") == undisturbed
    check_mlflow(working_folder(store), trials=4)
