"""Optuna's own charts of the space: importance, parallel coordinates, contours, slices.

All are drawn from trials at one epoch (sweeps/report/study.py), never from a mix of budgets.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import optuna
from optuna import visualization
from optuna.importance import (
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from plotly import graph_objects as go
from plotly.colors import sample_colorscale

from sweeps.report.canvas import limits, varied
from sweeps.report.page.axes import dimension_axis
from sweeps.report.page.layout import BLUE, GREY, SCALE, Section, colour_bar, dressed
from sweeps.report.results import Sweep
from sweeps.report.study import Comparable, comparable

LEAST = 16
"""Trials below which importance says nothing; with more than 4 parameters, 4 for each."""
_MOST_TRIALS = 1000
"""Above this fANOVA takes more than a few seconds."""
_MOST_CHOICES = 8
"""Values of all choices together: fANOVA takes 2 s with 8, 40 s with 14, for ever with 27."""
_FANOVA = (
    "fANOVA: how much of the variance between trials each parameter explains, averaged over the "
    "others."
)
_PED_ANOVA = (
    "PED-ANOVA (fANOVA takes too long for so many choices): how far each parameter sets the best "
    "tenth of the trials apart, as a share."
)
_MOST_DRAWN = 200
"""A contour holds the square of this many numbers; parallel coordinates are a trace a trial."""
_MOST_AXES = 9
_IN_CONTOURS = 3
_FEWEST = 8
"""Trials below which a contour draws what nobody has seen."""
_LINES = [[0.0, "#8A8A8A"], [0.5, "#56B4E9"], [1.0, "#D55E00"]]
_TITLE = "What matters"


def search_sections(sweep: Sweep) -> list[Section]:
    """Importance, parallel coordinates, contours and slices; or why there are none."""
    count = len(varied(sweep))
    if not count:
        return [Section("importance", _TITLE, ["The space varies nothing."])]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    least = max(LEAST, 4 * count)
    enough = comparable(sweep, least)
    some = enough or comparable(sweep, 2)
    if some is None:
        few = "Fewer than two trials have a value at the same epoch, so nothing can be compared."
        return [Section("importance", _TITLE, [few])]
    names, first = _importance(sweep, enough, least)
    some = _thinned(some, _MOST_DRAWN)
    sections = [first, _parallel(sweep, some, names), _contours(sweep, some, names)]
    return [*filter(None, sections), _slices(sweep, some, names)]


def _importance(sweep: Sweep, found: Comparable | None, least: int) -> tuple[list[str], Section]:
    """The parameters, if possible the most important first, and the section that shows it."""
    names = [sweep.labels[path] for path in varied(sweep)]
    if found is None:
        few = (
            f"Importance (fANOVA) needs at least {least} trials with a value at the same epoch "
            f"for {len(names)} parameters; this sweep has fewer."
        )
        return names, Section("importance", _TITLE, [few])
    found = _thinned(found, _MOST_TRIALS)
    values = {trial.value for trial in found.study.trials}
    if len(values) == 1:
        same = [f"All {found.trials} trials have the same value at epoch {found.epoch}."]
        return names, Section("importance", _TITLE, same)
    if len(names) == 1:
        alone = [f"{names[0]} is the only parameter: all else between trials is the seeds' noise."]
        return names, Section("importance", _TITLE, alone)
    importances, how = _shares(sweep, found)
    figure = go.Figure()
    ordered = list(importances)
    figure.add_bar(
        x=list(importances.values()), y=ordered, orientation="h", marker={"color": BLUE},
        text=[f"{v:.0%}" for v in importances.values()], textposition="auto",
    )  # fmt: skip
    axis = {"title": {"text": "share"}, "range": [0, 1]}
    dressed(figure, 130 + 34 * len(ordered), xaxis=axis, yaxis={"autorange": "reversed"})
    text = f"{_basis(sweep, found)} {how} It says nothing about noise that seeds make."
    return ordered, Section("importance", _TITLE, [text], figures=[figure])


def _shares(sweep: Sweep, found: Comparable) -> tuple[dict[str, float], str]:
    """What each parameter matters, and by what measure."""
    choices = [d for d in varied(sweep).values() if d.kind == "choice"]
    if sum(len(d.values) for d in choices) <= _MOST_CHOICES:
        fanova = FanovaImportanceEvaluator(seed=0)
        return get_param_importances(found.study, evaluator=fanova), _FANOVA
    ped_anova = PedAnovaImportanceEvaluator()
    return get_param_importances(found.study, evaluator=ped_anova), _PED_ANOVA


def _parallel(sweep: Sweep, found: Comparable, names: list[str]) -> Section | None:
    if len(names) < 2:
        return None
    figure = visualization.plot_parallel_coordinate(
        found.study, names[:_MOST_AXES], target_name=sweep.spec.objective.metric
    )
    _recolour(figure, sweep, _values(found))
    figure.update_traces(
        selector={"mode": "markers"}, marker_colorbar=colour_bar(sweep.spec.objective.metric)
    )
    dressed(figure, 440, hovermode="closest")
    text = [f"{_basis(sweep, found)} One line a trial."]
    return Section("parallel", "Parallel coordinates", text, figures=[figure])


def _recolour(figure: go.Figure, sweep: Sweep, values: list[float]) -> None:
    """Colours that can be seen on light and dark; the worst few values share one."""
    low, high = limits(sweep, values)
    maximise, least, most = sweep.spec.objective.mode == "max", min(values), max(values)
    lines: Any = figure.select_traces({"mode": "lines"})
    for trace in lines:
        value = least + trace.y[0] * (most - least)  # Optuna scales each axis to 0..1
        place = min(1.0, max(0.0, (value - low) / (high - low)))
        (trace.line.color,) = sample_colorscale(_LINES, [place if maximise else 1 - place])
    figure.update_traces(
        selector={"mode": "markers"}, marker={"colorscale": _LINES, "color": [low, high],
        "cmin": low, "cmax": high, "reversescale": not maximise},
    )  # fmt: skip


def _contours(sweep: Sweep, found: Comparable, names: list[str]) -> Section | None:
    """A contour for each pair of the most important parameters."""
    pairs = list(itertools.combinations(names[:_IN_CONTOURS], 2))
    if not pairs or found.trials < _FEWEST:
        return None
    low, high = limits(sweep, _values(found))
    figures = []
    for pair in pairs:
        figure = visualization.plot_contour(
            found.study, list(pair), target_name=sweep.spec.objective.metric
        )
        figure.update_traces(
            selector={"type": "contour"}, colorscale=SCALE, zmin=low, zmax=high,
            contours={"start": low, "end": high, "size": (high - low) / 8}, autocontour=False,
            reversescale=sweep.spec.objective.mode == "min",
            colorbar=colour_bar(sweep.spec.objective.metric),
        )  # fmt: skip
        figures.append(_with_ticks(dressed(figure, 440), sweep))
    text = [f"{_basis(sweep, found)} Between the points the colours are interpolated."]
    return Section("contour", "Contours", text, figures=figures)


def _slices(sweep: Sweep, found: Comparable, names: list[str]) -> Section:
    figures = []
    for name in names[:_MOST_AXES]:
        figure = visualization.plot_slice(
            found.study, [name], target_name=sweep.spec.objective.metric
        )
        shade = {"colorscale": SCALE, "showscale": False, "size": 8, "line": {"color": GREY}}
        figure.update_traces(marker=shade)
        low, high = limits(sweep, _values(found))
        figures.append(_with_ticks(dressed(figure, 320, yaxis={"range": [low, high]}), sweep))
    text = [f"{_basis(sweep, found)} Darker points came earlier; the worst may lie below the axis."]
    return Section("slice", "Slices", text, figures=figures)


def _with_ticks(figure: go.Figure, sweep: Sweep) -> go.Figure:
    """Plain numbers on logarithmic axes, as in the other figures."""
    paths = {short: path for path, short in sweep.labels.items()}
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        path = paths.get(axis.title.text or "")
        if path and axis.type == "log":
            ours = dimension_axis(sweep.spec.space[path], axis.title.text)
            axis.update({k: v for k, v in ours.items() if k in ("tickvals", "ticktext", "title")})
    return figure


def _basis(sweep: Sweep, found: Comparable) -> str:
    last = " (the last)" if found.epoch == sweep.spec.training.epochs else ""
    which = found.trials if found.step == 1 else f"{found.trials} (1 in {found.step} of all)"
    return (
        f"From the {which} of {len(sweep.searched())} trials that have a value at epoch "
        f"{found.epoch}{last}, each by its {sweep.spec.objective.metric} there."
    )


def _values(found: Comparable) -> list[float]:
    return [trial.value for trial in found.study.trials if trial.value is not None]


def _thinned(found: Comparable, most: int) -> Comparable:
    """The same with at most so many trials, evenly over their order."""
    step = math.ceil(found.trials / most)
    if step == 1:
        return found
    thinner = optuna.create_study(direction=found.study.direction)
    thinner.add_trials(found.study.trials[::step])
    return replace(found, study=thinner, trials=len(thinner.trials), step=step)
