"""A space stated in ν = s²/N: the report says so, and draws the map over ν."""

from __future__ import annotations

import math

import numpy
import pytest

from sweeps.journal import Journal
from sweeps.report.figures import draw
from sweeps.report.maps import ghost_map
from sweeps.report.results import Sweep
from sweeps.report.tables import as_text
from sweeps.spec import SweepSpec

SPACE = {
    "model.noise.ghost_size": {"logint": [4, 64]},
    "model.noise.nu": {"loguniform": [0.01, 1]},
}
POINTS = [(4, 0.04), (16, 0.25), (64, 0.01)]


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    return made(tmp_path, SPACE)


def made(tmp_path, space: dict) -> Sweep:
    """A sweep over ghost size and amount of noise with a trial at each of POINTS."""
    spec = SweepSpec.model_validate({"name": "n", "space": space, "training": {"epochs": 1}})
    with Journal(tmp_path) as log:
        content = spec.model_dump(mode="json")
        log.write("sweep", spec=content, identity=spec.identity(), versions={})
        log.write("session", state="started")
        for number, point in enumerate(POINTS):
            log.write("trial", trial=number, params=dict(zip(space, point, strict=True)), seed=0)
            log.write("attempt", trial=number, attempt=1, epoch=0, alone=False)
            result = {"trial": number, "attempt": 1, "epoch": 1, "node": "", "rung": None}
            log.write("result", metrics={"val_accuracy": 0.5}, decision="finish", **result)
            log.write("end", trial=number, status="finished", epoch=1, value=0.5, reason="")
    return Sweep(tmp_path)


def test_a_trials_strength_follows_from_nu(sweep) -> None:
    noises = [sweep.noise(trial) for trial in sweep.state.trials.values()]
    assert [n.strength for n in noises] == [math.sqrt(nu * size) for size, nu in POINTS]


def test_the_report_says_how_the_space_was_stated(sweep) -> None:
    words = " ".join(as_text(sweep).split())
    assert "The space was stated in nu = s²/N and N: s = √(nu·N)." in words


def test_the_map_is_drawn_over_nu(sweep, tmp_path) -> None:
    assert (tmp_path / "ghost_map.png") in draw(sweep, tmp_path)
    axes = ghost_map(sweep).axes[0]
    places = {tuple(p) for group in axes.collections for p in numpy.asarray(group.get_offsets())}
    assert places == set(POINTS)
    assert axes.get_ylabel() == "amount of noise ν = s²/N" and axes.get_yscale() == "log"


def test_ridges_on_a_linear_axis_that_begins_below_zero(tmp_path) -> None:
    strength = {"model.noise.strength": {"uniform": [0, 2]}}
    sweep = made(tmp_path, {"model.noise.ghost_size": {"int": [1, 64]}, **strength})
    axes = ghost_map(sweep).axes[0]
    assert axes.get_xlim()[0] < 0 and axes.get_xscale() == "linear"
    ridges = [line.get_xydata() for line in axes.lines if line.get_linestyle() == "--"]
    assert len(ridges) >= 3
    for line in ridges:
        ratios = line[:, 0] / line[:, 1] ** 2
        assert ratios == pytest.approx(ratios[0]) and (line > 0).all()
