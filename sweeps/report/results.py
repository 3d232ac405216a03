"""A sweep's results, read from its folder: the object that `sweeps.run` and `sweeps.load` give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sweeps import journal
from sweeps.errors import CheckpointError
from sweeps.objectives import front, pair_of
from sweeps.progress import at_work
from sweeps.spec import NoiseSpec, SweepSpec
from sweeps.state import Trial
from sweeps.storage import trial_folder, truth
from sweeps.text import short_names, split_update

if TYPE_CHECKING:
    import pandas
    from torch import nn

_OF_CONFIRM = ("baseline", "of")
_OF_CHILD = ("parent",)
_OF_TWO = ("second", "on_front")
_COLUMNS = ("trial", "status", "seed", "epochs", "value", "best_value", "seconds", "reason")

POINT = ("trial", "epoch", "decision", "rung", "time")
"""The columns of `Sweep.curves` beside the metrics."""


@dataclass(frozen=True)
class Best:
    """The best trial: of those trained in full, the one with the best last value."""

    trial: int
    params: dict[str, Any]
    seed: int
    value: float
    epochs: int
    complete: bool
    """False when no trial was trained in full, and this is the best of the others."""


@dataclass(frozen=True)
class OnFront:
    """A trial that no other beats in both objectives."""

    trial: int
    params: dict[str, Any]
    seed: int
    value: float
    second: float


class Sweep:
    """A sweep as its folder held it when this was made; make another to look again.

    Args:
        folder: the sweep's own folder.

    Raises:
        SweepNotFound: there is no journal in `folder`.
        JournalError: it is damaged before its last line.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.state = journal.read(self.folder)
        assert self.state.spec is not None, "a journal begins with its spec"
        self.spec: SweepSpec = self.state.spec

    def __repr__(self) -> str:
        best = self.best
        found = f", best {self.spec.objective.metric} {best.value:.4g}" if best else ""
        return f"<Sweep {self.spec.name}: {len(self.state.trials)} trials{found}>"

    @property
    def best(self) -> Best | None:
        """The best trial; None when no trial has a value."""
        trial = self.state.best()
        if trial is None:
            return None
        value = self.value(trial)
        assert value is not None
        full = trial.status == "finished"
        return Best(trial.number, trial.params, trial.seed, value, trial.epoch, full)

    @property
    def front(self) -> list[OnFront]:
        """Of two objectives, the trials trained in full that none beats in both.

        The best in the first objective comes first. Empty with one objective.
        """
        out = []
        for trial in front(self.state):
            pair = pair_of(self.spec.objective, trial)
            assert pair is not None
            out.append(OnFront(trial.number, trial.params, trial.seed, *pair))
        return out

    @property
    def labels(self) -> dict[str, str]:
        """Short name of each dotted path of the space; whole where a column of `frame` has it."""
        paths = list(self.spec.space)
        taken = {*_COLUMNS, *_OF_CONFIRM, *_OF_CHILD, *_OF_TWO}
        return {p: p if s in taken else s for p, s in short_names(paths).items()}

    def value(self, trial: Trial) -> float | None:
        """The objective after the trial's last epoch with a finite one."""
        return next(reversed(trial.values(self.spec.objective.metric).values()), None)

    @cached_property
    def at_work(self) -> bool:
        """Whether a driver that lives is in a session of it."""
        return at_work(self.state) and journal.held(self.folder)

    def status(self, trial: Trial) -> str:
        """The trial's status; one that would be running is open while no driver is at work."""
        return "open" if trial.status == "running" and not self.at_work else trial.status

    def ranked(self) -> list[Trial]:
        """The search's trials with a value, best first: those trained in full before all others."""
        sign = 1 if self.spec.objective.mode == "max" else -1
        scored = [(t, v) for t in self.searched() if (v := self.value(t)) is not None]
        scored.sort(key=lambda s: (s[0].status == "finished", sign * s[1]), reverse=True)
        return [trial for trial, _ in scored]

    def searched(self) -> list[Trial]:
        """The trials of the search itself: not those of baselines, nor confirmations."""
        return [trial for trial in self.state.trials.values() if trial.searches]

    def noise(self, trial: Trial) -> NoiseSpec | None:
        """The ghost noise that the trial trained with, from its parameters or the fixed part."""
        try:
            return self.spec.trial(trial.params, trial.seed).model.noise
        except ValidationError:
            return None  # a point that the spec's fields refuse fails as a trial

    def rows(self) -> list[dict[str, Any]]:
        """What `frame` holds, one dict a trial."""
        known = {each.trial for each in self.front}
        trials = self.state.trials.values()
        rows = [self._row(trial, known) for trial in trials]
        if self._with_children:
            rows = [row | {"parent": t.parent} for row, t in zip(rows, trials, strict=True)]
        return rows

    def frame(self) -> pandas.DataFrame:
        """One row a trial: its parameters under short names, what came of them, and why it ended.

        With `confirm:` in the spec, `baseline` names the baseline that the trial is of, and `of`
        the trial whose configuration it confirms. With two objectives, `second` is the trial's
        value of the other one, and `on_front` whether none beats it in both. Once trials went on
        under a schedule begun anew, `parent` names the one that each came from. `value` is the
        objective after the last epoch, `best_value` the best of all its epochs, `seconds` the time
        from each attempt's start to its last result, added up.
        """
        import pandas

        return pandas.DataFrame(self.rows(), columns=self.columns)

    @property
    def columns(self) -> list[str]:
        """The names of the columns of `frame`."""
        own = [*(_OF_TWO if self.spec.objective.second else ())]
        own += [*_OF_CONFIRM] if self.spec.confirm else []
        own += [*_OF_CHILD] if self._with_children else []
        return ["trial", "status", *self.labels.values(), *own, *_COLUMNS[2:]]

    def points(self) -> list[dict[str, Any]]:
        """What `curves` holds, one dict an epoch; metrics of an update are left out."""
        return [
            {"trial": t.number, **{k: r[k] for k in POINT[1:]}, **_of_epoch(r["metrics"])}
            for t in self.state.trials.values()
            for r in t.results
        ]

    def distances(self) -> list[dict[str, Any]]:
        """One dict a recorded distance of the weights from their start: trial, epoch, update."""
        return [row for trial in self.state.trials.values() for row in distance_rows(trial)]

    def curves(self) -> pandas.DataFrame:
        """One row an epoch: trial, every metric, the decision on it, its time in Unix seconds."""
        import pandas

        return pandas.DataFrame(self.points())

    def best_model(self) -> nn.Module:
        """The best trial's network as of its best epoch, on the CPU, in eval mode.

        Raises:
            CheckpointError: no trial has a value, or its checkpoint is missing or damaged.
        """
        best = self.best
        if best is None:
            raise CheckpointError(f"{self.spec.name} has no trial with a result yet")
        from sweeps.trial import checkpoint
        from sweeps.trial.session import load_model

        place = trial_folder(truth(self.folder), best.trial)
        path = checkpoint.best(place)
        if path is None:
            raise CheckpointError(
                f"trial {best.trial} has no checkpoint of its best epoch in {place}"
            )
        return load_model(path)

    def _row(self, trial: Trial, on_front: set[int]) -> dict[str, Any]:
        values = trial.values(self.spec.objective.metric).values()
        pick = max if self.spec.objective.mode == "max" else min
        confirm = self.spec.confirm
        return {
            "trial": trial.number,
            "status": self.status(trial),
            **{short: trial.params.get(path) for path, short in self.labels.items()},
            **(self._second(trial, on_front) if self.spec.objective.second else {}),
            **(dict(zip(_OF_CONFIRM, (trial.baseline, trial.of), strict=True)) if confirm else {}),
            "seed": trial.seed,
            "epochs": trial.epoch,
            "value": self.value(trial),
            "best_value": pick(values, default=None),
            "seconds": round(_seconds(trial), 3),
            "reason": trial.end["reason"] if trial.end else "",
        }

    @property
    def _with_children(self) -> bool:
        return any(trial.parent is not None for trial in self.state.trials.values())

    def _second(self, trial: Trial, on_front: set[int]) -> dict[str, Any]:
        pair = pair_of(self.spec.objective, trial)
        found = (pair and pair[1], trial.number in on_front)
        return dict(zip(_OF_TWO, found, strict=True))


def effective_size(noise: NoiseSpec) -> float:
    """N/s² = 1/ν: the ghost size that makes as much noise at strength 1; infinite without noise."""
    return noise.ghost_size / noise.strength**2 if noise.strength else math.inf


def distance_rows(trial: Trial) -> list[dict[str, Any]]:
    """What `Sweep.distances` holds of one trial."""
    return [
        {"trial": trial.number, "epoch": result["epoch"], "update": update, "distance": value}
        for result in trial.results
        for key, value in result["metrics"].items()
        for name, update in [split_update(key)]
        if name == "weight_distance" and update is not None
    ]


def _of_epoch(metrics: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if split_update(key)[1] is None}


def _seconds(trial: Trial) -> float:
    last = {r["attempt"]: r["time"] for r in trial.results}
    return sum(max(0.0, last.get(a["attempt"], a["time"]) - a["time"]) for a in trial.attempts)
