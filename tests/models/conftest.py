"""Small models are fastest, and bit for bit the same, on one thread."""

import jaxtyping
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def unhooked(monkeypatch):
    """Without the type checks of a test run, which come before our own and users do not have."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
