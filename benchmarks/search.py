"""Claim: a search that is told the truth needs fewer epochs for the same regret.

    python benchmarks/search.py [--searches 50] [--arms ...] [--part corner] [--out FILE]

Replays searches on real learning curves (benchmarks/search_table.py made them; this needs no data
and no training). Four simulated workers, every epoch takes about one unit of time; a search ends
when its epochs are used up. A searcher sees three of the six seeds; its regret is measured on the
mean of the other three: how far the configuration that it would name is behind the best of the
whole table. It names the best mean of last values among the points trained in full; before there
is one, the best last value. Search k takes the k-th of the 20 ways to choose three seeds;
the intervals take searches as independent, though those of the same three seeds are less so.

What all arms share: the points are those of the table, five axes of ordered levels that each
searcher knows as integers from 0, so that no arm depends on how a table is read between its points;
rungs after 1, 3 and 9 of 27 epochs, a third goes on; and a point proposed again trains with the
next of the three seeds, which Ray Tune and Optuna would not see to by themselves.

The best of the whole table lies near the middle of most axes, which suits what begins there. With
`--part corner` a search has fewer levels of three axes, so that the best lies at their ends.

ours: this project's search and stopping, whose rungs compare the best epoch so far; promoting: with
`stopping.promote`, so that trials wait at rungs. Ray Tune as shipped: its OptunaSearch with its
ASHA, which tells Optuna of trials stopped early as if they were complete. Optuna alone: TPE with
its own successive halving, or with the median pruner that it takes unless told otherwise.
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
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import numpy
import optuna
from search_arms import ARMS, CHANCE, Arm
from search_points import AXES, EPOCHS, PARTS, SEEDS
from search_surface import curves_of, surface

WORKERS = 4
BUDGETS = (135, 270, 540, 1080)
REACHED = (0.02, 0.01, 0.005)

_COMPARED = ("ours: tpe, asha", "ours: tpe, promoting", "ours: cmaes, asha")
USUAL = [name for name in ARMS if "gp" not in name]


class Named:
    """What a searcher would name: the point trained in full with the best mean, or else the best.

    Args:
        behind: the regret of every point.
    """

    def __init__(self, behind: numpy.ndarray):
        self._behind = behind
        self._full: dict[tuple[int, ...], list[float]] = {}
        self._best, self.regret = -1.0, float(behind.max())

    def take(self, point: tuple[int, ...], epoch: int, value: float) -> None:
        """Take in a value."""
        if epoch == EPOCHS:
            self._full.setdefault(point, []).append(value)
            means = {p: statistics.fmean(values) for p, values in self._full.items()}
            self.regret = float(self._behind[max(means, key=means.__getitem__)])
        elif not self._full and value > self._best:
            self._best, self.regret = value, float(self._behind[point])


class Replay:
    """One search on the table, four trials at a time."""

    def __init__(self, searcher: Arm, curves: numpy.ndarray, index: int):
        self._seen = list(itertools.combinations(range(SEEDS), 3))[index % 20]
        unseen = [seed for seed in range(SEEDS) if seed not in self._seen]
        worth = numpy.nan_to_num(curves[..., unseen, -1], nan=CHANCE).mean(-1)
        self._searcher, self._curves, self._jitter = searcher, curves, Random(index)
        self._named = Named(worth.max() - worth)
        self._queue: list[tuple[float, int, int]] = []
        self._runs: list[tuple[tuple[int, ...], int, dict[int, float]]] = []
        self._repeats: Counter[tuple[int, ...]] = Counter()

    def regrets(self) -> list[float]:
        """The regret after each epoch."""
        out: list[float] = []
        for _ in range(WORKERS):
            self._start(0.0)
        while len(out) < max(BUDGETS):
            now, number, epoch = heapq.heappop(self._queue)
            status = self._train(number, epoch)
            out.append(self._named.regret)
            if status:
                self._searcher.end(number, status, self._runs[number][2])
                self._start(now)
            else:
                self._push(now, number, epoch + 1)
        return out

    def _start(self, now: float) -> None:
        promoted = self._searcher.promoted()
        if promoted is not None:
            self._push(now, promoted, max(self._runs[promoted][2]) + 1)
            return
        number = len(self._runs)
        point = self._searcher.propose(number)
        self._runs.append((point, self._seen[self._repeats[point] % 3], {}))
        self._repeats[point] += 1
        self._push(now, number, 1)

    def _push(self, now: float, number: int, epoch: int) -> None:
        heapq.heappush(self._queue, (now + self._jitter.uniform(0.9, 1.1), number, epoch))

    def _train(self, number: int, epoch: int) -> str:
        """One epoch; how the trial ended, if it did."""
        point, seed, values = self._runs[number]
        value = float(self._curves[(*point, seed, epoch - 1)])
        if numpy.isnan(value):
            return "diverged"
        values[epoch] = value
        self._named.take(point, epoch, value)
        if epoch == EPOCHS:
            return "finished"
        return "pruned" if self._searcher.stops(number, epoch, value) else ""


def search(name: str, index: int, part: str = "whole") -> list[float]:
    """The regret after each epoch of an arm's search with that number."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.WARNING)
    curves = curves_of(part)
    return Replay(ARMS[name](index, curves.shape[: len(AXES)]), curves, index).regrets()


def measure(
    arms: list[str], indices: range, processes: int, part: str
) -> dict[str, list[list[float]]]:
    """The regrets of every arm, search after search."""
    with ProcessPoolExecutor(processes) as pool:
        started = {
            name: [pool.submit(search, name, index, part) for index in indices] for name in arms
        }
        return {name: [each.result() for each in some] for name, some in started.items()}


def table(found: dict[str, list[list[float]]], part: str) -> str:
    """The surface, then a row an arm: regrets by epochs, and epochs to reach a regret."""
    count = len(next(iter(found.values())))
    lines = [
        *surface(part),
        f"n = {count} searches, {WORKERS} simulated workers; median (quartiles)",
        "regret in points (0.01 of accuracy) after so many epochs",
        f"{'':<24}" + "".join(f"{f'{b} epochs':<19}" for b in BUDGETS),
    ]
    for name, runs in found.items():
        cells = "".join(f"{_quartiles([100 * r[b - 1] for r in runs]):<19}" for b in BUDGETS)
        lines.append(f"{name:<24}{cells}")
    lines += [
        "epochs after which the regret stays at most so many points; over: more than "
        f"{max(BUDGETS)}",
        f"{'':<24}" + "".join(f"{f'{100 * r:g}':<19}" for r in REACHED),
    ]
    for name, runs in found.items():
        cells = "".join(f"{_reach([_first(run, r) for run in runs]):<19}" for r in REACHED)
        lines.append(f"{name:<24}{cells}")
    if len(found) > 1:
        for name in found:
            lines += ratios(found, name) if name in _COMPARED else []
    return "\n".join(line.rstrip() for line in lines)


def ratios(found: dict[str, list[list[float]]], first: str) -> list[str]:
    """One arm's median epochs to each regret relative to every other arm's."""
    others = [name for name in found if name != first]
    lines = [f"epochs of {first} relative to the others', medians (95 % bootstrap interval)"]
    for name in others:
        cells = "".join(f"{_ratio(found[first], found[name], r):<19}" for r in REACHED)
        lines.append(f"{name:<24}{cells}")
    return lines


def _ratio(ours: list[list[float]], theirs: list[list[float]], regret: float) -> str:
    """Searches with the same number saw the same seeds, so they are drawn in pairs."""
    epochs = numpy.array([[_first(run, regret) for run in runs] for runs in (ours, theirs)])
    count = epochs.shape[1]
    drawn = epochs[:, numpy.random.default_rng(0).integers(count, size=(10_000, count))]
    medians = numpy.median(drawn, 2)
    if numpy.median(epochs, 1).max() > max(BUDGETS):
        return "unknown"
    low, high = numpy.quantile(medians[0] / medians[1], [0.025, 0.975])
    middle = numpy.median(epochs[0]) / numpy.median(epochs[1])
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def _quartiles(numbers: list[float]) -> str:
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def _first(run: list[float], regret: float) -> int:
    """The first epoch from which on the regret stays at most that, to the end."""
    return max((k + 1 for k, r in enumerate(run) if r > regret), default=0) + 1


def _reach(epochs: list[int]) -> str:
    low, middle, high = (
        "over" if q > max(BUDGETS) else f"{q:.0f}"
        for q in statistics.quantiles(epochs, n=4, method="inclusive")
    )
    return f"{middle} ({low}-{high})"


def main() -> None:
    """Replay and print; with --out also keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="number of the first search")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=USUAL)
    parser.add_argument("--part", choices=PARTS, default="whole")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    hardware = f"{os.cpu_count()} cores ({platform.machine()}), no GPU used"
    indices = range(options.first, options.first + options.searches)
    start = time.monotonic()
    found = measure(options.arms, indices, options.processes, options.part)
    took = f"{time.monotonic() - start:.0f} s in {options.processes} processes"
    text = f"{datetime.now(UTC):%Y-%m-%d}, {hardware}, {took}\n{table(found, options.part)}"
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
