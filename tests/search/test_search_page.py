"""docs/search.md: its example is a spec, and it names every sampler, way of stopping and field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from sweeps.reading import parse
from sweeps.spec import SearchSpec, StoppingSpec

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text()


def test_the_example_is_a_spec() -> None:
    whole, *parts = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert parse(whole).search.priors["model.noise.nu"].confidence == 0.5
    by_time, two = (parse(f"name: part\n{part}") for part in parts)
    assert by_time.stopping.seconds == (60.0, 240.0, 960.0)
    assert two.objective.second and two.objective.second.take == "median"


def test_everything_is_named() -> None:
    names = [*get_args(SearchSpec.model_fields["sampler"].annotation)]
    names += get_args(StoppingSpec.model_fields["name"].annotation)
    names += [*("points", "priors", "from", "ghost_within_batch", "brackets", "min_samples")]
    names += ["seconds", "promote", "second", "take"]
    assert [name for name in names if not re.search(rf"`{name}\b", PAGE)] == []
