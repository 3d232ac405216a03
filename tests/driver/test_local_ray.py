"""Which Ray a sweep without an address gets: one of its own, whatever else ran on this machine."""

from __future__ import annotations

import pytest
import ray

from sweeps.driver import cluster
from sweeps.errors import PreflightError


@pytest.mark.parametrize(
    ("inherited", "joined"),
    [(None, "local"), ("local", "local"), ("auto", "auto")],
)
def test_no_ray_that_lies_about_is_joined_unless_the_environment_says_so(
    monkeypatch, inherited, joined
) -> None:
    asked = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if inherited:
        monkeypatch.setenv("RAY_ADDRESS", inherited)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda address=None, **options: asked.append(address))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(cluster, "_use_the_workers_that_wait", lambda: None)
    with cluster.connected(None):
        pass
    assert asked == [joined]


def test_a_node_that_does_not_come_up_is_a_plain_message(monkeypatch):
    def busy(*_, **__):
        raise Exception("The current node timed out during startup. This could happen because …")

    monkeypatch.setattr(ray, "init", busy)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    match = r"startup\. Nothing is lost; run it again"
    with pytest.raises(PreflightError, match=match), cluster.connected(None):
        pass
