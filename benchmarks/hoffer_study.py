"""The figure and the table of `sweeps/configs/hoffer/hoffer_study.yaml`, from its folder.

    python benchmarks/hoffer_study.py SWEEP_FOLDER [MORE_FOLDERS] OUTPUT_FOLDER

Writes OUTPUT_FOLDER/hoffer_study.png, the distance of the weights from their start against updates
before and after the remedies of Hoffer et al. (2017, arXiv 1705.08741), and prints the table in
Markdown. Slopes are fitted on ln(update) up to the first step of the learning rate, per seed.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

import matplotlib
import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeps.report.replicates import Growth, distances, growth
from sweeps.report.results import Sweep
from sweeps.spec import ARM
from sweeps.state import Trial

PANELS = {
    "as they are": ("small64", "large256", "large1024", "large4096"),
    "√ learning rate, ghost batch norm of 64": (
        "small64",
        "large256_sqrt_gbn64",
        "large1024_sqrt_gbn64",
        "large4096_sqrt_gbn64",
    ),
}
FIRST_STEP = 10
"""Epoch of the first step of the learning rate; slopes are fitted up to there."""
Runs = list[tuple[Trial, Growth]]


def arms(folders: list[str]) -> dict[str, Runs]:
    """The finished trials of each arm, whatever sweep and seed, with the growth of the distance."""
    found: dict[str, Runs] = defaultdict(list)
    for folder in folders:
        sweep = Sweep(Path(folder))
        for trial in sweep.state.trials.values():
            fit = growth(sweep, trial)
            if trial.status == "finished" and fit:
                found[trial.params[ARM]].append((trial, fit))
    return found


def mean_sd(values: list[float]) -> str:
    """`98.86 ± 0.05`, the sample deviation."""
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}"


def table(found: dict[str, Runs]) -> str:
    """A row an arm, then how far the slopes lie apart in each panel, without and with 4096."""
    lines = ["| arm | n | test accuracy, % | slope | R² of the fit |", "|---|---|---|---|---|"]
    for name, runs in found.items():
        accuracy = [100 * t.values("test_accuracy")[t.epoch] for t, _ in runs]
        r2 = fmean(fit.r2 for _, fit in runs)
        slopes = mean_sd([fit.slope for _, fit in runs])
        lines.append(f"| {name} | {len(runs)} | {mean_sd(accuracy)} | {slopes} | {r2:.2f} |")
    for title, names in PANELS.items():
        means = [fmean(fit.slope for _, fit in found[name]) for name in names]
        apart = [max(some) / min(some) for some in (means[:-1], means)]
        lines.append(f"{title}: largest / smallest slope {apart[0]:.2f}, with 4096 {apart[1]:.2f}")
    return "\n".join(lines)


def panel(axes: Axes, title: str, names: tuple[str, ...], found: dict[str, Runs]) -> None:
    """Means over seeds as points, the fit as a line as far as it was fitted."""
    colours = matplotlib.colormaps["viridis"](numpy.linspace(0, 0.85, len(names)))
    for name, colour in zip(names, colours, strict=True):
        curves = [distances(trial) for trial, _ in found[name]]
        updates = sorted(set.intersection(*(set(curve) for curve in curves)))
        means = [fmean(curve[update] for curve in curves) for update in updates]
        slope = fmean(fit.slope for _, fit in found[name])
        start = fmean(fit.intercept for _, fit in found[name])
        label = f"{name}: slope {slope:.2f} (n = {len(curves)})"
        axes.plot(updates, means, "o", color=colour, markersize=4, label=label)
        trial = found[name][0][0]
        last = max(distances(trial, until=FIRST_STEP))
        ends = numpy.array([updates[0], last])
        axes.plot(ends, start + slope * numpy.log(ends), color=colour, linewidth=1.1)
    axes.set_xscale("log")
    axes.set_xlabel("update (log scale)")
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(fontsize=8)


def main(*folders: str) -> None:
    """Read the sweeps, draw, print."""
    *sources, target = folders
    Path(target).mkdir(parents=True, exist_ok=True)
    found = arms(sources)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        panel(axes, title, names, found)
        axes.set_ylabel("L2 distance of all weights from their start")
    figure.savefig(Path(target) / "hoffer_study.png", dpi=130)
    print(table(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
