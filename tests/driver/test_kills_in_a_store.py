"""A sweep in an S3 store: killed, or cut off from it, and gone on with elsewhere."""

from __future__ import annotations

import re
import time

import pytest
from test_kills import SPEC, check_mlflow, finish, run_through, streams
from test_service import TINY

import sweeps
from sweeps.errors import StorageError
from sweeps.storage import at, working_folder
from sweeps.storage.segments import Segments


@pytest.mark.root
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
        kill -9 $(pgrep -f ray::TrialActor | head -1)
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
    assert "killed with 137" in out and "resumed with 0" in out
    assert "tiny: interrupted (its driver died)" in out and "Traceback" not in out
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    assert streams(working_folder(store) / "tiny") == run_through(SPEC, tmp_path_factory)
    check_mlflow(tmp_path, trials=4)


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_cut_off_it_ends_with_a_message_and_goes_on_when_the_store_answers(
    store, store_server, storage, tmp_path, monkeypatch
) -> None:
    spec = {
        **TINY,
        "name": "cut",
        "search": {"trials": 2, "sampler": "random"},
        "stopping": {"name": "none"},
        "tracking": {"uri": f"sqlite:///{storage}/mlflow.db"},
    }
    monkeypatch.setattr("sweeps.storage.client.PATIENCE_S", 0.5)

    def cut_off(record, state) -> None:
        if state.epochs == 3:
            store_server.stop()

    try:
        with pytest.raises(StorageError, match=r"s3://.*: the store does not answer"):
            sweeps.run(spec, storage=store, observe=cut_off)
    finally:
        store_server.start()
    before = sweeps.load("cut", storage=store).state
    assert before.epochs == 3 and not before.finished
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    (at(store) / "cut" / "driver.lease").unlink()
    after = sweeps.resume("cut", storage=store)
    assert [t.status for t in after.state.trials.values()] == ["finished", "finished"]
    assert after.state.epochs == 6 and after.best_model()
    writers = re.findall(r'"writer":"(\w+)"', Segments(at(store) / "cut").read().decode())
    assert len(set(writers)) == 2
    assert (at(store) / "cut" / "report" / "summary.txt").exists()
    assert not sweeps.stop("cut", storage=store)
    more = sweeps.extend("cut", trials=1, storage=store)
    assert len(more.state.trials) == 3 and more.state.finished
