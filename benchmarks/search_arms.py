"""The searchers that benchmarks/search.py compares, each behind the same three methods.

A training that diverged ends there. This project is told so; the others are told the accuracy of a
network of nan, that of chance, which a training function without a check would report.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Protocol

import optuna
from search_points import AXES, EPOCHS

SHORT = [path.rpartition(".")[2] for path in AXES]
Sizes = tuple[int, ...]
"""Levels of each axis."""
CHANCE = 0.1
"""What a configuration that diverges is worth."""


class Arm(Protocol):
    """What a replay asks of a searcher."""

    def promoted(self) -> int | None:
        """A trial that was stopped at a rung and goes on now."""
        return None

    def propose(self, number: int) -> tuple[int, ...]:
        """A point: a level of each axis."""
        ...

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Take in an epoch below the last; whether the trial ends."""
        ...

    def end(self, number: int, status: str, values: dict[int, float]) -> None:
        """Take in how a trial ended: finished, pruned or diverged."""
        ...


class Ours(Arm):
    """Search and Stopping as the driver uses them."""

    def __init__(
        self,
        seed: int,
        sizes: Sizes,
        sampler: str = "tpe",
        stopping: str = "asha",
        promote: bool = False,
    ):
        from sweeps.driver.stopping import Stopping
        from sweeps.objectives import Reached
        from sweeps.search.search import Search
        from sweeps.spec import SweepSpec

        space = {name: {"int": [0, n - 1]} for name, n in zip(SHORT, sizes, strict=True)}
        search = {"sampler": sampler, "seed": seed, "trials": 10_000}
        tree = {"name": "b", "space": space, "search": search}
        tree["stopping"] = {"name": stopping, "promote": promote}
        spec = SweepSpec.model_validate(tree | {"training": {"epochs": EPOCHS}})
        self.search, self.stopping, self.reached = Search(spec), Stopping(spec), Reached

    def propose(self, number: int) -> tuple[int, ...]:
        """A point."""
        point, _ = self.search.propose(number)
        return tuple(point[name] for name in SHORT)

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Take in an epoch; whether the trial ends."""
        return self.stopping.stops(number, self.reached(epoch, value))

    def promoted(self) -> int | None:
        """A trial that waits at a rung and goes on now."""
        return self.stopping.promotion.promote() if self.stopping.promotion else None

    def end(self, number: int, status: str, values: dict[int, float]) -> None:
        """Take in how a trial ended, or that it waits."""
        path = [self.reached(*each) for each in values.items()]
        if status == "pruned" and self.stopping.promotion:
            self.search.pause(number, path)
        else:
            self.search.end(number, status, path)


class RayAsShipped(Arm):
    """OptunaSearch and ASHAScheduler, called as Tune's controller calls them."""

    def __init__(self, seed: int, sizes: Sizes):
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        space = {
            name: optuna.distributions.IntDistribution(0, n - 1)
            for name, n in zip(SHORT, sizes, strict=True)
        }
        self.search = OptunaSearch(space, metric="value", mode="max", seed=seed)
        self.asha = ASHAScheduler(
            time_attr="training_iteration", metric="value", mode="max", max_t=EPOCHS,
            grace_period=1, reduction_factor=3,
        )  # fmt: skip

    def propose(self, number: int) -> tuple[int, ...]:
        """A point."""
        config = self.search.suggest(str(number))
        self.asha.on_trial_add(None, SimpleNamespace(trial_id=str(number)))
        return tuple(config[name] for name in SHORT)

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Take in an epoch; whether the trial ends."""
        result = {"training_iteration": epoch, "value": value}
        trial = SimpleNamespace(trial_id=str(number))
        if self.asha.on_trial_result(None, trial, result) == "STOP":
            return True
        self.search.on_trial_result(str(number), result)
        return False

    def end(self, number: int, status: str, values: dict[int, float]) -> None:
        """Take in how a trial ended."""
        values = values | ({len(values) + 1: CHANCE} if status == "diverged" else {})
        epoch, value = list(values.items())[-1]
        self.search.on_trial_complete(str(number), {"training_iteration": epoch, "value": value})


class OptunaAlone(Arm):
    """TPE and a pruner by ask and tell."""

    def __init__(self, seed: int, sizes: Sizes, pruner: optuna.pruners.BasePruner):
        self.sizes = sizes
        self.study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=pruner,
        )
        self.trials: dict[int, optuna.Trial] = {}

    def propose(self, number: int) -> tuple[int, ...]:
        """A point."""
        trial = self.trials[number] = self.study.ask()
        axes = zip(SHORT, self.sizes, strict=True)
        return tuple(trial.suggest_int(name, 0, n - 1) for name, n in axes)

    def stops(self, number: int, epoch: int, value: float) -> bool:
        """Take in an epoch; whether the trial ends."""
        self.trials[number].report(value, epoch)
        return self.trials[number].should_prune()

    def end(self, number: int, status: str, values: dict[int, float]) -> None:
        """Take in how a trial ended."""
        trial = self.trials.pop(number)
        if status == "finished":
            self.study.tell(trial, list(values.values())[-1])
            return
        if status == "diverged":
            trial.report(CHANCE, len(values) + 1)
        self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)


ARMS: dict[str, Callable[[int, Sizes], Arm]] = {
    "ours: tpe, asha": Ours,
    "ours: random, asha": lambda seed, sizes: Ours(seed, sizes, "random"),
    "ours: tpe, promoting": lambda seed, sizes: Ours(seed, sizes, promote=True),
    "Ray Tune as shipped": RayAsShipped,
    "Optuna alone, halving": lambda seed, sizes: OptunaAlone(
        seed, sizes, optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    ),
    "Optuna alone, median": lambda seed, sizes: OptunaAlone(
        seed, sizes, optuna.pruners.MedianPruner()
    ),
    "ours: cmaes, asha": lambda seed, sizes: Ours(seed, sizes, "cmaes"),
    "ours: qmc, asha": lambda seed, sizes: Ours(seed, sizes, "qmc"),
    "ours: tpe, hyperband": lambda seed, sizes: Ours(seed, sizes, stopping="hyperband"),
    "ours: tpe, median": lambda seed, sizes: Ours(seed, sizes, stopping="median"),
    "ours: gp, asha": lambda seed, sizes: Ours(seed, sizes, "gp"),
}
