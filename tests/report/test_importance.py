"""What matters in a space with more choices than fANOVA can take."""

from __future__ import annotations

import pytest

from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.report.page.search import search_sections
from sweeps.report.results import Sweep
from sweeps.spec import SweepSpec


@pytest.mark.parametrize(("alone", "said"), [(True, "is the only parameter"), (False, "PED-ANOVA")])
def test_many_choices_do_not_keep_the_report_busy_for_hours(tmp_path, alone, said) -> None:
    """fANOVA's time doubles with every other choice; an arm of 27 would never end."""
    space = {"training.optimizer.lr": {"choice": [0.001 * k for k in range(1, 28)]}}
    space |= {} if alone else {"model.noise.strength": {"uniform": [0, 2]}}
    spec = SweepSpec.model_validate(
        {
            "name": "many",
            "model": {"noise": {}},
            "space": space,
            "search": {"sampler": "random", "trials": 40},
            "training": {"epochs": 1},
            "stopping": {"name": "none"},
        }
    )
    with opened(spec, tmp_path / "many") as journal:
        conductor = Conductor(journal)
        while assignment := conductor.next():
            strength = assignment.params.get("model.noise.strength", 0.0)
            value = 0.5 + 0.1 * strength + 0.01 * (assignment.trial % 7)
            conductor.result(assignment.trial, 1, {"val_accuracy": value})
    first = search_sections(Sweep(tmp_path / "many"))[0]
    assert said in " ".join(first.text)
    assert len(first.figures) == (0 if alone else 1)
