from __future__ import annotations

import journals
import numpy
import pytest

from sweeps.driver.conductor import Conductor
from sweeps.driver.folder import opened
from sweeps.report.canvas import limits, scale_of
from sweeps.report.figures import draw, learning_curves
from sweeps.report.maps import ghost_map, isolation
from sweeps.report.page import curves as section
from sweeps.report.results import Sweep
from sweeps.spec import Dimension


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Sweep:
    folder = tmp_path_factory.mktemp("storage") / "digits"
    journals.write_sweep(folder)
    return Sweep(folder)


def lines(axes) -> list[tuple[list, list]]:
    return [
        (list(map(float, a)), list(map(float, b))) for a, b in (x.get_data() for x in axes.lines)
    ]


def test_every_trial_has_its_curve_and_every_rung_its_line(sweep):
    axes = learning_curves(sweep).axes[0]
    drawn = lines(axes)
    for trial in sweep.ranked():
        values = trial.values("val_accuracy")
        assert ([float(e) for e in values], list(values.values())) in drawn
    for rung in (1, 3, 9):
        assert ([rung, rung], [0, 1]) in drawn
    low, high = axes.get_ylim()
    everything = sweep.curves()["val_accuracy"]
    assert low < everything.min() and everything.max() < high


def test_the_best_curve_alone_is_marked(sweep):
    axes = learning_curves(sweep).axes[0]
    thick = [x for x in axes.lines if x.get_linewidth() > 2]
    assert len(thick) == 1
    values = sweep.state.trials[sweep.best.trial].values("val_accuracy")
    assert list(thick[0].get_ydata()) == list(values.values())


def test_the_map_has_every_trial_where_it_was_and_the_ridge_where_it_belongs(sweep):
    axes = ghost_map(sweep).axes[0]
    places = {tuple(p) for group in axes.collections for p in numpy.asarray(group.get_offsets())}
    assert places == {
        (t.params["model.noise.ghost_size"], t.params["model.noise.strength"])
        for t in sweep.ranked()
    }
    ridges = [(numpy.array(x), numpy.array(y)) for x, y in lines(axes)]
    assert len(ridges) >= 4
    for x, y in ridges:
        nu = x / y**2
        assert numpy.allclose(nu, nu[0])


def test_without_both_noise_axes_each_dimension_is_drawn_alone(tmp_path):
    space = {
        "model.noise.strength": {"choice": [0.0, 1.0, 2.0]},
        "training.optimizer.lr": {"loguniform": [1e-2, 1]},
        "model.noise.ghost_size": 16,
    }
    journals.write_sweep(tmp_path / "x", journals.made_up_spec(space=space), trials=6, fails=())
    sweep = Sweep(tmp_path / "x")
    assert [p.name for p in draw(sweep, tmp_path)] == ["learning_curves.png", "isolation.png"]
    panels = isolation(sweep).axes
    assert [a.get_xlabel() for a in panels] == ["strength", "lr (log scale)"]
    full = [t for t in sweep.ranked() if t.status == "finished"]
    (xs, ys) = lines(panels[1])[0]
    assert xs == sorted(xs)
    assert set(zip(xs, ys, strict=True)) <= {
        (t.params["training.optimizer.lr"], sweep.value(t)) for t in full
    }
    assert max(ys) == sweep.best.value


@pytest.mark.parametrize(
    ("raw", "scale"),
    [
        ({"choice": ["sgd", "adamw"]}, "category"),
        ({"choice": [True, False]}, "category"),
        ({"choice": [4, 8, 64]}, "log"),
        ({"choice": [0, 8, 64]}, "linear"),
        ({"choice": [1, 2, 3]}, "linear"),
        ({"uniform": [0, 2]}, "linear"),
        ({"logint": [4, 64]}, "log"),
    ],
)
def test_an_axis_is_laid_out_as_its_dimension_is_searched(raw, scale):
    assert scale_of(Dimension.model_validate(raw)) == scale


def test_a_scale_leaves_out_only_some_of_the_worst(sweep):
    low, high = limits(sweep, [0.1, *(0.9 + 0.01 * k for k in range(9))])
    assert 0.85 < low < 0.9 and high > 0.98


def test_a_perfect_accuracy_and_one_lone_trial_can_be_drawn(tmp_path):
    journals.write_sweep(tmp_path / "x", trials=1, fails=())
    sweep = Sweep(tmp_path / "x")
    for result in sweep.state.trials[0].results:
        result["metrics"]["val_accuracy"] = 1.0
    assert len(draw(sweep, tmp_path)) == 2


def test_rungs_in_seconds_are_marked_where_each_trial_was_compared(tmp_path):
    """Trials of 1, 2 and 3 s an epoch reach 4 and 9 s at epochs of their own."""
    spec = journals.made_up_spec(
        name="timed", stopping={"name": "asha", "seconds": [4, 9]}, search={"trials": 3}
    )
    with opened(spec, tmp_path / "timed") as journal:
        conductor = Conductor(journal)
        for seconds in (1.0, 2.0, 3.0):
            trial = conductor.next().trial
            for epoch in range(1, 28):
                metrics = {"val_accuracy": 0.5 + 0.1 * seconds, "seconds": seconds}
                if conductor.result(trial, epoch, metrics):
                    break
    sweep = Sweep(tmp_path / "timed")
    expected = [(4, 0.6), (9, 0.6), (2, 0.7), (5, 0.7), (2, 0.8), (3, 0.8)]
    marks = lines(learning_curves(sweep).axes[0])[-1]
    assert sorted(zip(*marks, strict=True)) == sorted(expected)
    figure = section.learning_curves(sweep).figures[0]
    (drawn,) = [trace for trace in figure.data if trace.name == "compared at a rung"]
    assert sorted(drawn.x) == sorted(epoch for epoch, _ in expected)
    draw(sweep, tmp_path)
