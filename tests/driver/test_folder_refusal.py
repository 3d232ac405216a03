"""A sweep that is refused for what it borrows leaves nothing behind."""

from __future__ import annotations

import pytest

from sweeps.driver.folder import opened
from sweeps.errors import SpecError
from sweeps.spec import SweepSpec


def test_a_missing_earlier_sweep_is_refused_before_a_folder_is_made(tmp_path) -> None:
    spec = SweepSpec.model_validate({"name": "s", "search": {"from": ["gone"]}})
    with (
        pytest.raises(SpecError, match=r"search\.from: there is no such sweep"),
        opened(spec, tmp_path / "s"),
    ):
        pass
    assert not list(tmp_path.iterdir())
