"""Claim: a confirmation finds what is there, and finds one where none is in at most 5 %.

    python benchmarks/confirmation.py [--sweeps 1000] [--trainings 1000] [--out FILE]

1. Coverage of a 95 % interval of a mean over n seeds: ours, both of scipy's own bootstraps, and
   Student's, for normal, skewed and counted values.
2. No difference: whole sweeps through the real conductor, searcher, ASHA, journal, choice of the
   top 3, ten fresh seeds and verdict, with made-up trials. Every configuration and the baseline
   have the same true accuracy; validation has a luck of its own for each configuration, so the
   search has something to be fooled by. Seeds are independent: pairing helps nobody. Beside it
   what one would say who believes the search's own figures. Once more with the accuracies of real
   trainings: one configuration on many seeds, of which each made-up trial is given one.
3. Power: the same with configurations that are 0.3 and 0.5 points better.

Prints shares with their 95 % binomial intervals. Exit status 1 when ours covers less than BCa at 10
seeds, or a false "better" is above 5 % by more than binomial error.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.confirmation_pool import Pool, pool
from sweeps.confirmed.found import Confirmation, confirmation_of
from sweeps.driver.conductor import Assignment, Conductor
from sweeps.journal import Journal
from sweeps.spec import SweepSpec
from sweeps.state import State
from sweeps.statistics import mean_interval, student_interval

EPOCHS = 3
POINT = 0.01


@dataclass(frozen=True)
class World:
    """What is true in a made-up sweep, in points of accuracy."""

    gain: float = 0.0
    """By which every configuration of the search is better than the baseline."""
    sd: float = 0.2
    """Of a run over seeds, on test data."""
    luck: float = 0.3
    """Deviation over configurations of what validation adds to the truth."""
    images: int | None = None
    """Accuracies are whole numbers of right ones among so many; None: any number."""
    top: int = 3
    seeds: int = 10
    pool: Pool | None = None
    """Real trainings, in place of the truths above."""


def sweep(world: World, number: int, folder: Path) -> State:
    """One made-up sweep from its first record to its last; a function of its arguments alone."""
    spec = SweepSpec.model_validate(
        {
            "name": f"s{number}",
            "model": {"noise": {}},
            "training": {"epochs": EPOCHS, "seed": number},
            "space": {
                "model.noise.strength": {"uniform": [0, 2]},
                "training.optimizer.lr": {"loguniform": [0.01, 1]},
            },
            "search": {"sampler": "random", "trials": 12, "seed": number},
            "confirm": {
                "top": world.top,
                "seeds": world.seeds,
                "baselines": {"plain": {"model.noise": None}},
                "resamples": 1000,
            },
        }
    )
    folder.mkdir()
    with Journal(folder) as journal:
        content = spec.model_dump(mode="json")
        journal.write("sweep", spec=content, identity=spec.identity(), versions={})
        conductor = Conductor(journal)
        while assignment := conductor.next():
            _train(conductor, assignment, world)
        assert conductor.complete
        return journal.state


def _train(conductor: Conductor, a: Assignment, world: World) -> None:
    dice = random.Random(f"{a.seed} {sorted(a.params.items(), key=str)}")
    values = _made_up(a, world, dice) if world.pool is None else _drawn(world.pool, dice)
    for epoch, validation in enumerate(values[:-1], start=1):
        metrics = {"val_accuracy": validation}
        if a.confirm and epoch == EPOCHS:
            metrics["test_accuracy"] = values[-1]
        if conductor.result(a.trial, epoch, metrics):
            return


def _drawn(pool: Pool, dice: random.Random) -> list[float]:
    """One of the trainings."""
    number = dice.randrange(len(pool.tested))
    return [*pool.curves[number], pool.tested[number]]


def _made_up(a: Assignment, world: World, dice: random.Random) -> list[float]:
    """Validation accuracy after each epoch, then on test data."""
    luck = random.Random(f"{sorted(a.params.items(), key=str)}").gauss(0, world.luck)
    truth = 95.0 + (0.0 if "model.noise" in a.params else world.gain)
    epochs = range(1, EPOCHS + 1)
    curve = [POINT * (truth + luck + dice.gauss(0, world.sd) - 2 / epoch) for epoch in epochs]
    return [*curve, _seen(POINT * (truth + dice.gauss(0, world.sd)), world)]


def _seen(accuracy: float, world: World) -> float:
    return accuracy if world.images is None else round(accuracy * world.images) / world.images


def findings(world: World, sweeps: int) -> Iterator[tuple[Confirmation, float]]:
    """Each sweep's confirmation, and by how much its best trial beats the baseline's by itself."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        for number in range(sweeps):
            state = sweep(world, number, Path(place) / str(number))
            found = confirmation_of(state)
            assert found is not None and found.complete
            best = [arm.validation for arm in found.arms]
            yield found, best[0] - best[-1]


def better(found: Confirmation) -> bool:
    """Whether it says of any configuration that it is better."""
    return any(c.finding == "better" for c in found.comparisons)


def share(hits: int, runs: int) -> str:
    """`4.2 % (3.1 to 5.6)`."""
    low, high = stats.binomtest(hits, runs).proportion_ci(method="wilson")
    return f"{100 * hits / runs:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def coverage(runs: int) -> Iterator[str]:
    """Lines of how often each interval covers the true mean."""
    rng = np.random.default_rng(0)
    draws: dict[str, Callable[[int], np.ndarray]] = {
        "normal": lambda n: rng.normal(0, 1, n),
        "skewed to the left": lambda n: 2 - rng.gamma(2, 1, n),
        "right of 300 images": lambda n: rng.binomial(300, 0.95, n) - 285.0,
    }
    yield f"{'n':>3}  {'values':<20} {'ours':>7} {'percentile':>11} {'BCa':>7} {'t':>7}"
    for name, draw in draws.items():
        for n in (3, 5, 10, 20):
            samples = [draw(n) for _ in range(runs)]
            columns = [
                [mean_interval(list(x), resamples=1000) for x in samples],
                [_scipy(x, "percentile") for x in samples],
                [_scipy(x, "BCa") for x in samples],
                [student_interval(list(x)) for x in samples],
            ]
            hits = [sum(low <= 0 <= high for low, high in column) / runs for column in columns]
            ours, percentile, bca, t = (f"{100 * h:.1f} %" for h in hits)
            yield f"{n:>3}  {name:<20} {ours:>7} {percentile:>11} {bca:>7} {t:>7}"
            if n == 10 and hits[0] < hits[2]:
                yield "BELOW BCa"


def _scipy(values: np.ndarray, method: str) -> tuple[float, float]:
    if values.min() == values.max():
        return values[0], values[0]
    seed = np.random.default_rng(0)
    found = stats.bootstrap((values,), np.mean, method=method, n_resamples=1000, rng=seed)
    return found.confidence_interval


def null(sweeps: int, trainings: int) -> Iterator[str]:
    """Lines of how often a difference is found where there is none."""
    real = pool(trainings, EPOCHS)
    mean, sd = 100 * np.mean(real.tested), 100 * np.std(real.tested, ddof=1)
    yield f"real: {trainings} trainings on digits, test accuracy {mean:.2f} ± {sd:.2f} %"
    worlds = (World(), World(images=300, seeds=5), World(top=1), World(pool=real))
    for world in (*worlds, World(pool=real, seeds=5)):
        found = list(findings(world, sweeps))
        false = sum(better(each) for each, _ in found)
        naive = sum(gain > 0 for _, gain in found)
        gains = [100 * gain for _, gain in found]
        values = f"of {world.images} images" if world.images else "any"
        values = "real" if world.pool else values
        yield (
            f"top {world.top}, {world.seeds} seeds, accuracies {values}: "
            f'a false "better" in {share(false, sweeps)}; by the search\'s own figures in '
            f"{share(naive, sweeps)}, by {np.mean(gains):+.2f} points on average"
        )
        if stats.binomtest(false, sweeps, 0.05, alternative="greater").pvalue < 0.05:
            yield "ABOVE 5 %"


def power(sweeps: int) -> Iterator[str]:
    """Lines of how often a true difference is found."""
    for sd in (0.2, 0.4):
        for gain in (0.3, 0.5):
            for top in (1, 3):
                world = World(gain=gain, sd=sd, top=top)
                hits = sum(better(found) for found, _ in findings(world, sweeps))
                what = f"+{gain} points, sd {sd} over seeds, top {top}"
                yield f"{what}: found in {share(hits, sweeps)}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweeps", type=int, default=1000)
    parser.add_argument("--trainings", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    begun, lines = time.monotonic(), []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({platform.machine()})")
    say(f"\nCoverage of 95 % intervals of a mean, {options.sweeps} samples each")
    for line in coverage(options.sweeps):
        say(line)
    say(f"\nNo difference, {options.sweeps} sweeps each, level 5 % (two-sided, Holm)")
    for line in null(options.sweeps, options.trainings):
        say(line)
    say(f"\nPower, {options.sweeps // 4} sweeps each, 10 seeds, independent arms")
    for line in power(options.sweeps // 4):
        say(line)
    say(f"\n{time.monotonic() - begun:.0f} s")
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(any(line.startswith(("BELOW", "ABOVE")) for line in lines))


if __name__ == "__main__":
    sys.exit(main())
