"""Claim, not shown yet: a search that is told the truth loses less for the same epochs.

    python benchmarks/search.py [--searches 50] [--arms ...] [--out benchmarks/results/search.txt]

Replays searches on real learning curves (benchmarks/search_table.py made them; this needs no data
and no training). Four simulated workers, every epoch takes about one unit of time; a search ends
when its epochs are used up. A searcher sees two of the four seeds; its regret is measured on the
mean of the other two: how far the configuration that it would name, the best last value among the
trials trained in full, is behind the best of the whole table. Every search takes another pair.

ours: this project's search and stopping. Ray Tune as shipped: its OptunaSearch with its ASHA, which
tells Optuna of trials stopped early as if they were complete. Optuna alone: TPE with its own
successive halving. Only ours takes the next seed when it proposes a point again.

What it shows so far: nothing either way. A quarter of this table lies within a point of its best,
and what is left after 45 epochs is about the noise between seeds, so that no arm can stand out.
The claim needs a table that is harder to search.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import logging
import os
import platform
import statistics
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy
import optuna
from search_table import AXES, EPOCHS, SEEDS, TABLE

WORKERS = 4
BUDGETS = (45, 90, 180)
REACHED = (0.01, 0.005)
SHORT = [path.rpartition(".")[2] for path in AXES]
SIZES = [len(values) for values in AXES.values()]
CHANCE = 0.1
"""What a configuration that diverges is worth."""


class Ours:
    """Search and Stopping as the driver uses them."""

    def __init__(self, seed: int, sampler: str = "tpe", stopping: str = "asha"):
        from sweeps.driver.stopping import Stopping
        from sweeps.objectives import Reached
        from sweeps.search.search import Search
        from sweeps.spec import SweepSpec

        space = {name: {"int": [0, n - 1]} for name, n in zip(SHORT, SIZES, strict=True)}
        search = {"sampler": sampler, "seed": seed, "trials": 10_000}
        tree = {"name": "b", "space": space, "search": search, "stopping": {"name": stopping}}
        spec = SweepSpec.model_validate(tree | {"training": {"epochs": EPOCHS}})
        self.search, self.stopping, self.reached = Search(spec), Stopping(spec), Reached

    def propose(self, number: int) -> tuple[tuple[int, ...], int]:
        """A point and a seed."""
        point, seed = self.search.propose(number)
        return tuple(point[name] for name in SHORT), seed

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Take in an epoch; whether the trial ends."""
        return self.stopping.stops(number, self.reached(epoch, value))

    def end(self, number: int, status: str, values: dict[int, float]) -> None:
        """Take in how a trial ended."""
        self.search.end(number, status, values)


class RayAsShipped:
    """OptunaSearch and ASHAScheduler, called as Tune's controller calls them."""

    def __init__(self, seed: int):
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        space = {
            name: optuna.distributions.IntDistribution(0, n - 1)
            for name, n in zip(SHORT, SIZES, strict=True)
        }
        self.search = OptunaSearch(space, metric="value", mode="max", seed=seed)
        self.asha = ASHAScheduler(
            time_attr="training_iteration", metric="value", mode="max", max_t=EPOCHS,
            grace_period=1, reduction_factor=3,
        )  # fmt: skip

    def propose(self, number: int) -> tuple[tuple[int, ...], int]:
        """A point and a seed."""
        config = self.search.suggest(str(number))
        self.asha.on_trial_add(None, SimpleNamespace(trial_id=str(number)))
        return tuple(config[name] for name in SHORT), 0

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Take in an epoch; whether the trial ends."""
        result = {"training_iteration": epoch, "value": value}
        trial = SimpleNamespace(trial_id=str(number))
        decision = self.asha.on_trial_result(None, trial, result)
        self.search.on_trial_result(str(number), result)
        return decision == "STOP"

    def end(self, number: int, status: str, values: dict[int, float]) -> None:
        """Take in how a trial ended."""
        if status == "diverged":
            self.search.on_trial_complete(str(number), error=True)
            return
        epoch, value = list(values.items())[-1]
        self.search.on_trial_complete(str(number), {"training_iteration": epoch, "value": value})


class OptunaAlone:
    """TPE and SuccessiveHalvingPruner by ask and tell."""

    def __init__(self, seed: int):
        self.study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        )
        self.trials: dict[int, optuna.Trial] = {}

    def propose(self, number: int) -> tuple[tuple[int, ...], int]:
        """A point and a seed."""
        trial = self.trials[number] = self.study.ask()
        axes = zip(SHORT, SIZES, strict=True)
        return tuple(trial.suggest_int(name, 0, n - 1) for name, n in axes), 0

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Take in an epoch; whether the trial ends."""
        self.trials[number].report(value, epoch)
        return self.trials[number].should_prune()

    def end(self, number: int, status: str, values: dict[int, float]) -> None:
        """Take in how a trial ended."""
        trial = self.trials.pop(number)
        if status == "finished":
            self.study.tell(trial, list(values.values())[-1])
        else:
            failed = status == "diverged"
            state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.PRUNED
            self.study.tell(trial, state=state)


ARMS = {
    "ours: tpe, asha": Ours,
    "ours: random, asha": lambda seed: Ours(seed, "random"),
    "Ray Tune as shipped": RayAsShipped,
    "Optuna alone": OptunaAlone,
    "ours: cmaes, asha": lambda seed: Ours(seed, "cmaes"),
    "ours: qmc, asha": lambda seed: Ours(seed, "qmc"),
    "ours: tpe, hyperband": lambda seed: Ours(seed, stopping="hyperband"),
    "ours: tpe, median": lambda seed: Ours(seed, stopping="median"),
    "ours: gp, asha": lambda seed: Ours(seed, "gp"),
}
USUAL = [name for name in ARMS if "gp" not in name]


def regrets(arm, curves: numpy.ndarray, index: int) -> list[float]:
    """The regret after each epoch of one search."""
    seen = list(itertools.combinations(range(SEEDS), 2))[index % 6]
    unseen = [seed for seed in range(SEEDS) if seed not in seen]
    worth = numpy.nan_to_num(curves[..., unseen, -1], nan=CHANCE).mean(-1)
    searcher, jitter = arm(index), Random(index)
    queue: list[tuple[float, int, int]] = []
    points: dict[int, tuple] = {}
    values: dict[int, dict[int, float]] = {}
    out: list[float] = []
    named: tuple[bool, float, float] = (False, -1.0, worth.max() - CHANCE)

    def start(now: float) -> None:
        number = len(points)
        point, seed = searcher.propose(number)
        points[number], values[number] = (*point, seen[seed % 2]), {}
        heapq.heappush(queue, (now + jitter.uniform(0.9, 1.1), number, 1))

    for _ in range(WORKERS):
        start(0.0)
    while len(out) < max(BUDGETS):
        now, number, epoch = heapq.heappop(queue)
        value = float(curves[*points[number], epoch - 1])
        status = "diverged" if numpy.isnan(value) else "finished" if epoch == EPOCHS else ""
        if status != "diverged":
            values[number][epoch] = value
            if not (status == "finished" and isinstance(searcher, Ours)):
                stopped = searcher.stops(number, epoch, value)
                status = status or ("pruned" if stopped else "")
            behind = worth.max() - worth[*points[number][:-1]]
            named = max(named, (epoch == EPOCHS, value, behind), key=lambda n: n[:2])
        out.append(float(named[2]))
        if status:
            searcher.end(number, status, values[number])
            start(now)
        else:
            heapq.heappush(queue, (now + jitter.uniform(0.9, 1.1), number, epoch + 1))
    return out


def measure(arms: list[str], searches: int, minutes: float) -> dict[str, list[list[float]]]:
    """The regrets of every arm, search after search, all arms in turn, until time is up."""
    curves = numpy.load(TABLE)["curves"]
    found: dict[str, list[list[float]]] = {name: [] for name in arms}
    start = time.monotonic()
    for index in range(searches):
        if time.monotonic() - start > 60 * minutes:
            break
        for name in arms:
            found[name].append(regrets(ARMS[name], curves, index))
    return found


def table(found: dict[str, list[list[float]]]) -> str:
    """A row an arm: quartiles of the regret by epochs, and the epochs to reach one for good."""
    curves = numpy.load(TABLE)["curves"]
    finals = numpy.nan_to_num(curves[..., -1], nan=CHANCE).mean(-1)
    behind = numpy.sort(finals.max() - finals.ravel())
    lines = [
        f"{finals.size} configurations x {EPOCHS} epochs x {SEEDS} seeds, best {finals.max():.4f}, "
        f"median {numpy.median(finals):.4f}, diverged {numpy.isnan(curves[..., 0, -1]).sum()}",
        f"within 0.5 / 1 / 2 points of the best: "
        f"{' / '.join(str((behind < d).sum()) for d in (0.005, 0.01, 0.02))}; "
        f"sd between seeds {100 * numpy.nanmedian(numpy.nanstd(curves[..., -1], -1, ddof=1)):.2f}",
        f"n = {len(next(iter(found.values())))} searches, {WORKERS} simulated workers",
        "regret in points (0.01 of accuracy), median (quartiles); epochs until it stays at most so",
        f"{'':<22}"
        + "".join(f"{f'{b} epochs':<19}" for b in BUDGETS)
        + "".join(f"to {100 * r:<6g}" for r in REACHED),
    ]
    for name, runs in found.items():
        cells = "".join(f"{_quartiles([100 * r[b - 1] for r in runs]):<19}" for b in BUDGETS)
        lines.append(f"{name:<22}{cells}" + "".join(f"{_epochs_to(runs, r):<9}" for r in REACHED))
    return "\n".join(line.rstrip() for line in lines)


def _quartiles(numbers: list[float]) -> str:
    low, middle, high = statistics.quantiles(numbers, n=4)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def _epochs_to(runs: list[list[float]], regret: float) -> str:
    """Median of the first epoch from which on the regret stays there; over: not in half of them."""
    firsts = [max((k + 1 for k, r in enumerate(run) if r > regret), default=0) + 1 for run in runs]
    middle = statistics.median(firsts)
    return f"{middle:.0f}" if middle <= max(BUDGETS) else "over"


def main() -> None:
    """Replay and print; with --out also keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=60, help="begin no search after these")
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=USUAL)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.WARNING)
    hardware = f"{os.cpu_count()} cores ({platform.machine()}), no GPU used"
    found = measure(options.arms, options.searches, options.minutes)
    text = f"{datetime.now(UTC):%Y-%m-%d}, {hardware}\n{table(found)}"
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
