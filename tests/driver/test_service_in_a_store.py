"""A sweep in an S3 store, cut off from it and gone on with elsewhere."""

from __future__ import annotations

import re

import pytest
from botocore.exceptions import EndpointConnectionError
from test_service import TINY

import sweeps
from sweeps.driver import changes
from sweeps.errors import StorageError
from sweeps.storage import at
from sweeps.storage.client import client
from sweeps.storage.segments import Segments

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


def test_cut_off_it_ends_with_a_message_and_goes_on_when_the_store_answers(
    store, storage, tmp_path, monkeypatch
) -> None:
    spec = {
        **TINY,
        "name": "cut",
        "search": {"trials": 2, "sampler": "random"},
        "stopping": {"name": "none"},
        "tracking": {"uri": f"sqlite:///{storage}/mlflow.db"},
    }
    monkeypatch.setattr("sweeps.storage.client.PATIENCE_S", 0.5)

    def away(**options):
        raise EndpointConnectionError(endpoint_url="there")

    with monkeypatch.context() as patch:

        def cut_off(record, state) -> None:
            if state.epochs == 3:
                patch.setattr(client(), "put_object", away)

        with pytest.raises(StorageError, match=r"s3://.*: the store does not answer"):
            sweeps.run(spec, storage=store, observe=cut_off)
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
    assert changes.extend(after.folder, trials=1) == ["search.trials: 2 -> 3"]
    assert sweeps.load("cut", storage=store).spec.search.trials == 3
