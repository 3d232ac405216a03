"""The figure and the table of `sweeps/configs/fashion_ghost.yaml`, from its folder.

    python benchmarks/fashion_study.py SWEEP_FOLDER [MORE_FOLDERS] OUTPUT_FOLDER

Writes OUTPUT_FOLDER/fashion_ghost.png and prints the table in Markdown. A configuration's value is
the mean over its seeds of the accuracy on the held out images after the last epoch; differences to
batch norm are paired by seed, with a 95 % interval of Student's t. The gap is accuracy on those
images by eval's statistics less that by training's, in batches of the training's size: the
train-test discrepancy of the trained networks (positive: eval is better).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from gni import analysis
from sweeps.report.results import Sweep, effective_size
from sweeps.spec import ARM, TrialSpec
from sweeps.state import Trial
from sweeps.storage import trial_folder
from sweeps.trial import checkpoint
from sweeps.trial.batches import Batch, ResidentBatches
from sweeps.trial.datasets import load
from sweeps.trial.session import load_model

LINES = {
    "gni": "ghost noise",
    "gbn": "ghost batch norm",
    "xbn": "exclusive batch norm",
    "analytic": "analytic noise",
}


@dataclass
class Configuration:
    """One arm with its finished trials; accuracies in percent by seed."""

    name: str
    spec: TrialSpec
    accuracy: dict[int, float] = field(default_factory=dict)
    gap: dict[int, float] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The arm's name up to its first digit or underscore; layer norm's are its own."""
        return self.name.rstrip("0123456789.") if "_" not in self.name else ""

    @property
    def size(self) -> int:
        """Ghost size of the noise, else of the norm."""
        noise = self.spec.model.noise
        return noise.ghost_size if noise else self.spec.model.norm.ghost_size


def mean_sd(values: dict[int, float]) -> str:
    """`85.03 ± 0.21`, the sample deviation."""
    spread = f" ± {stdev(values.values()):.2f}" if len(values) > 1 else ""
    return f"{fmean(values.values()):.2f}{spread}"


def paired(arm: Configuration, base: Configuration) -> tuple[float, float] | None:
    """Mean difference over common seeds and half the width of its 95 % interval."""
    seeds = arm.accuracy.keys() & base.accuracy.keys()
    differences = [arm.accuracy[seed] - base.accuracy[seed] for seed in sorted(seeds)]
    if len(differences) < 2:
        return None
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return fmean(differences), float(half)


def configurations(sweep: Sweep, found: dict[str, Configuration]) -> None:
    """Add all arms with a finished trial, with accuracies and gaps."""
    data = load(sweep.spec.data)
    for trial in sweep.state.trials.values():
        if trial.status == "finished":
            spec = sweep.spec.trial(trial.params, trial.seed)
            entry = found.setdefault(trial.params[ARM], Configuration(trial.params[ARM], spec))
            entry.accuracy[trial.seed] = 100 * trial.values("val_accuracy")[trial.epoch]
            held_out = list(ResidentBatches(spec, data, "cpu").evaluation())
            entry.gap[trial.seed] = gap(sweep, trial, spec, held_out)


def gap(sweep: Sweep, trial: Trial, spec: TrialSpec, held_out: list[Batch]) -> float:
    """Accuracy by eval's statistics less that by training's, in percent, of the last weights."""
    folder = trial_folder(sweep.folder, trial.number)
    model = load_model(checkpoint.files(folder)[trial.epoch])
    torch.manual_seed(trial.number)
    seen = analysis.discrepancy(model, cut(held_out, spec.training.batch_size))
    return 100 * (seen.eval_accuracy - seen.train_accuracy)


def cut(batches: list[Batch], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole batches of the training's size, mixed: held out images come class by class."""
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    for rows in order.split(size):
        if len(rows) == size:
            yield images[rows], labels[rows]


def draw(found: dict[str, Configuration], path: Path) -> None:
    """Accuracy and gap by ghost size, and accuracy by size and strength with ridges."""
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    accuracy, ridge, discrepancy = figure.subplots(1, 3)
    by_size(accuracy, found, "accuracy", "accuracy on held out images, %")
    by_size(discrepancy, found, "gap", "eval's less training's statistics, points")
    by_strength(ridge, found)
    figure.savefig(path, dpi=130)


def by_size(axes: Axes, found: dict[str, Configuration], what: str, label: str) -> None:
    """A line a method, bars of one deviation, batch norm as a band."""
    for family, title in LINES.items():
        arms = sorted((c for c in found.values() if c.family == family), key=lambda c: c.size)
        arms = [arm for arm in arms if fmean(arm.accuracy.values()) > 50]
        values = [list(getattr(arm, what).values()) for arm in arms]
        spread = [stdev(v) if len(v) > 1 else 0.0 for v in values]
        sizes = [arm.size for arm in arms]
        axes.errorbar(sizes, [fmean(v) for v in values], spread, marker="o", capsize=3, label=title)
    base = list(getattr(found["bn"], what).values())
    low_high = (fmean(base) - stdev(base), fmean(base) + stdev(base)) if len(base) > 1 else base * 2
    axes.axhspan(*low_high, color="0.5", alpha=0.3, label="batch norm ± sd")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("ghost size N")
    axes.set_ylabel(label)
    axes.legend(fontsize=8)


def by_strength(axes: Axes, found: dict[str, Configuration]) -> None:
    """A dot a configuration of ghost noise, and lines of equal N/s²."""
    arms = [c for c in found.values() if c.name.startswith("gni")]
    arms = [arm for arm in arms if fmean(arm.accuracy.values()) > 50]
    points = [(c.size, c.spec.model.noise.strength) for c in arms if c.spec.model.noise]
    means = [fmean(c.accuracy.values()) for c in arms]
    dots = axes.scatter(*zip(*points, strict=True), c=means, s=300, cmap="viridis", zorder=2)
    for (size, strength), mean in zip(points, means, strict=True):
        axes.annotate(
            f"{mean:.1f}",
            (size, strength),
            (0, 14),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    strengths = torch.linspace(0.4, 2.4, 50)
    for level in (4, 16, 64):
        axes.plot(level * strengths**2, strengths, "--", color="0.6", lw=1, zorder=1)
        axes.annotate(
            f"N/s² = {level}", (level * 2.3**2, 2.3), fontsize=8, color="0.4", ha="center"
        )
    axes.set_xscale("log", base=2)
    axes.set_xlabel("ghost size N")
    axes.set_ylabel("strength s")
    axes.set_ylim(0.35, 2.6)
    axes.set_xlim(2**-1.5, 2**10)
    axes.figure.colorbar(dots, ax=axes, label="accuracy on held out images, %")


def _place(name: str, order: list[str]) -> int:
    """Batch norm first, then the methods by size, then the rest as it comes."""
    return order.index(name) if name in order else -1 if name == "bn" else len(order)


def table(found: dict[str, Configuration]) -> str:
    """A row an arm, as Markdown."""
    head = "| arm | N/s² | n | accuracy, % | less batch norm, paired [95 %] | gap, points |"
    lines = [head, "|---|---|---|---|---|---|"]
    for arm in found.values():
        noise = arm.spec.model.noise
        nu = f"{effective_size(noise):g}" if noise else "–"
        difference = paired(arm, found["bn"]) if arm.name != "bn" else None
        shown = f"{difference[0]:+.2f} ± {difference[1]:.2f}" if difference else "–"
        row = (arm.name, nu, len(arm.accuracy), mean_sd(arm.accuracy), shown, mean_sd(arm.gap))
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


def main(*folders: str) -> None:
    """Read the sweeps, draw, print."""
    *sources, target = folders
    Path(target).mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # beside other work several threads wait for one another
    found: dict[str, Configuration] = {}
    for source in sources:
        configurations(Sweep(Path(source)), found)
    order = [f"{family}{size}" for family in LINES for size in (2**k for k in range(1, 9))]
    found = dict(sorted(found.items(), key=lambda each: _place(each[0], order)))
    draw(found, Path(target) / "fashion_ghost.png")
    print(table(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
