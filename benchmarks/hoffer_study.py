"""The figure and the table of `sweeps/configs/hoffer/hoffer_study.yaml`, from its folder.

    python benchmarks/hoffer_study.py SOURCE [SOURCES] OUTPUT_FOLDER

A source is the folder of a sweep, or the hoffer_study.csv that an earlier call wrote. Writes to
OUTPUT_FOLDER hoffer_study.png, the distance of the weights from their start against updates before
and after the remedies of Hoffer et al. (2017, arXiv 1705.08741), and hoffer_study.csv, all that it
is made of; prints the table in Markdown. Slopes are fitted on ln(update) up to the first step of
the learning rate, per seed.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

import matplotlib
import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeps.report.replicates import Growth, fitted
from sweeps.report.results import Sweep, distance_rows
from sweeps.spec import ARM

BATCHES = (256, 512, 1024, 2048, 4096)
PANELS = {
    "as they are": ("small64", *(f"large{batch}" for batch in BATCHES)),
    "√ learning rate, ghost batch norm of 64": (
        "small64",
        *(f"large{batch}_sqrt_gbn64" for batch in BATCHES),
    ),
}
FIRST_STEP = 10
"""Epoch of the first step of the learning rate; slopes are fitted up to there."""
COLUMNS = ("arm", "seed", "test_accuracy", "epoch", "update", "distance")


@dataclass
class Run:
    """One trial: its accuracy on the test images, and distances by update."""

    accuracy: float
    distances: dict[int, float] = field(default_factory=dict)
    early: dict[int, float] = field(default_factory=dict)
    """Those up to the first step of the learning rate."""

    @property
    def fit(self) -> Growth:
        """Of the early distances."""
        found = fitted(self.early)
        assert found
        return found


Row = tuple[str, int, float, int, int, float]
Arms = dict[str, dict[int, Run]]


def rows_of(source: Path) -> Iterator[Row]:
    """Those of a file that was written here, or of a sweep's finished trials; see `COLUMNS`."""
    if source.is_file():
        with source.open(newline="") as file:
            for row in csv.DictReader(file):
                arm, seed, accuracy, epoch, update, distance = (row[name] for name in COLUMNS)
                yield arm, int(seed), float(accuracy), int(epoch), int(update), float(distance)
        return
    for trial in Sweep(source).state.trials.values():
        if trial.status == "finished":
            accuracy = trial.values("test_accuracy")[trial.epoch]
            for row in distance_rows(trial):
                place = row["epoch"], row["update"], round(row["distance"], 4)
                yield trial.params[ARM], trial.seed, accuracy, *place


def arms(rows: list[Row]) -> Arms:
    """The runs of each arm by seed, whatever sweep they came from."""
    found: Arms = defaultdict(dict)
    for arm, seed, accuracy, epoch, update, distance in rows:
        run = found[arm].setdefault(seed, Run(accuracy))
        run.distances[update] = distance
        if epoch <= FIRST_STEP:
            run.early[update] = distance
    return found


def mean_sd(values: list[float]) -> str:
    """`98.86 ± 0.05`, the sample deviation."""
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}"


def table(found: Arms) -> str:
    """A row an arm, then how far the slopes lie apart in each panel, up to each batch."""
    lines = ["| arm | n | test accuracy, % | slope | R² of the fit |", "|---|---|---|---|---|"]
    for name, runs in found.items():
        accuracy = [100 * run.accuracy for run in runs.values()]
        r2 = fmean(run.fit.r2 for run in runs.values())
        slopes = mean_sd([run.fit.slope for run in runs.values()])
        lines.append(f"| {name} | {len(runs)} | {mean_sd(accuracy)} | {slopes} | {r2:.2f} |")
    lines += ["", "| largest / smallest slope | " + " | ".join(f"to {b}" for b in BATCHES) + " |"]
    lines += ["|---" * (1 + len(BATCHES)) + "|"]
    for title, names in PANELS.items():
        means = [fmean(run.fit.slope for run in found[name].values()) for name in names]
        apart = [max(means[:upto]) / min(means[:upto]) for upto in range(2, len(means) + 1)]
        lines.append(f"| {title} | " + " | ".join(f"{each:.2f}" for each in apart) + " |")
    return "\n".join(lines)


def panel(axes: Axes, title: str, names: tuple[str, ...], found: Arms) -> None:
    """Means over seeds as points, the fit as a line as far as it was fitted."""
    colours = matplotlib.colormaps["viridis"](numpy.linspace(0, 0.9, len(names)))
    for name, colour in zip(names, colours, strict=True):
        runs = list(found[name].values())
        updates = sorted(set.intersection(*(set(run.distances) for run in runs)))
        means = [fmean(run.distances[update] for run in runs) for update in updates]
        slope = fmean(run.fit.slope for run in runs)
        start = fmean(run.fit.intercept for run in runs)
        label = f"{name}: slope {slope:.2f} (n = {len(runs)})"
        axes.plot(updates, means, "o", color=colour, markersize=3.5, label=label)
        ends = numpy.array([updates[0], max(runs[0].early)])
        axes.plot(ends, start + slope * numpy.log(ends), color=colour, linewidth=1.1)
    axes.set_xscale("log")
    axes.set_xlabel("update (log scale)")
    axes.set_ylabel("L2 distance of all weights from their start")
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(fontsize=7.5, loc="best")


def main(*paths: str) -> None:
    """Read the sources, draw, print."""
    *sources, target = map(Path, paths)
    target.mkdir(parents=True, exist_ok=True)
    rows = [row for source in sources for row in rows_of(source)]
    found = arms(rows)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        panel(axes, title, names, found)
    figure.savefig(target / "hoffer_study.png", dpi=130)
    with (target / "hoffer_study.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
    print(table(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
