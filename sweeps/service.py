"""The sections of the spec that say how a sweep runs: search, stopping, resources, budget."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from sweeps.fields import WRITTEN, Fraction, Frozen, PositiveInt, Scalar

LATER = (
    *("search.points", "search.priors", "search.from", "search.ghost_within_batch"),
    *("stopping.brackets", "stopping.min_samples", "stopping.seconds", "training.start"),
    *("training.cpu_precision", "training.compile"),
    *("stopping.promote", "stopping.compare"),
)
"""Fields that came after the first sweeps: left at their defaults they are no part of a sweep's
identity, so that older sweeps keep theirs."""


class PriorSpec(Frozen):
    """Where on one axis good values are believed to lie: a bare value, or one with confidence."""

    value: Scalar
    confidence: Fraction = 0.75
    """Share of the startup trials that follow it on this axis; the others are uniform."""

    @model_validator(mode="before")
    @classmethod
    def _read_bare_value(cls, raw: Any) -> Any:
        return {"value": raw} if isinstance(raw, bool | int | float | str) else raw


class SearchSpec(Frozen):
    """Which points of the space to try, in what order."""

    model_config = ConfigDict(serialize_by_alias=True)

    sampler: Literal["tpe", "gp", "cmaes", "qmc", "random", "grid"] = "tpe"
    """Tree-structured Parzen estimators, Gaussian process, evolution strategy, scrambled Sobol
    sequence, independent draws, or every point. What each makes of trials that were stopped early,
    diverged or failed stands in sweeps/search/samplers.py."""
    trials: int | None = Field(default=None, ge=1, le=1_000_000)
    """How many trials; a grid defaults to all its points, each `replicates` times."""
    replicates: PositiveInt = 1
    """Seeds for each point of a grid; the whole grid runs on one seed before the next."""
    seed: int = Field(default=0, ge=0)
    startup_trials: PositiveInt = 10
    """Random trials before TPE or GP start to model."""
    points: tuple[dict[str, Scalar], ...] = ()
    """Points to try first, in this order; axes that one leaves out are the sampler's."""
    priors: dict[str, PriorSpec] = Field(default_factory=dict)
    """For axes of the space, where good values are believed to lie; TPE and GP draw their startup
    trials around them: a normal with a tenth of the range (of its logarithm on a logarithmic axis)
    as deviation, or that value of a choice. Later trials know priors through those alone."""
    from_: tuple[str, ...] = Field(default=(), alias="from")
    """Earlier sweeps in the same storage, with the same objective: what their trials that fit this
    space came to is told to the sampler before the first trial. They are not in the report."""
    ghost_within_batch: bool = False
    """Never propose noise with a ghost size above the batch that one forward pass sees. (Ghosts are
    drawn with replacement, so it may be.)"""


TIMINGS = ("seconds", "images_per_second")
"""Metrics of the training loop that no two runs of a trial report alike."""


class SecondSpec(Frozen):
    """A second epoch metric, traded against the first along a Pareto front; or its bare name."""

    metric: str
    mode: Literal["max", "min"]
    """Defaults to min for a metric whose name ends in loss, error or seconds."""
    take: Literal["last", "median"]
    """Of a trial's epochs the last value, or the median so far; timings default to the median."""

    @model_validator(mode="before")
    @classmethod
    def _usual_ways(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            raw = {"metric": raw}
        if not isinstance(raw, dict):
            return raw
        name = str(raw.get("metric", ""))
        take = "median" if name in TIMINGS else "last"
        return {"mode": _usual_mode(name, "seconds"), "take": take, **raw}


def _usual_mode(metric: str, *more: str) -> str:
    return "min" if metric.endswith(("loss", "error", *more)) else "max"


class ObjectiveSpec(Frozen):
    """The epoch metric that the search improves, or two of them."""

    metric: str = "val_accuracy"
    mode: Literal["max", "min"] = "max"
    """Defaults to min for a metric whose name ends in loss or error."""
    second: SecondSpec | None = Field(default=None, exclude_if=lambda second: second is None)
    """Improved beside `metric`: the search is for the Pareto front of both. The best trial is still
    the best in `metric`; `confirm` takes the front's best in `metric`, and each baseline's."""

    @property
    def aims(self) -> str:
        """`max val_accuracy`, or `max val_accuracy and min seconds`."""
        both = [self, *([self.second] if self.second else [])]
        return " and ".join(f"{each.mode} {each.metric}" for each in both)

    @property
    def test_metric(self) -> str:
        """The same metric of the test images: test_accuracy for val_accuracy."""
        return f"test_{self.metric.removeprefix('val_')}"

    @model_validator(mode="before")
    @classmethod
    def _losses_go_down(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "mode" not in raw:
            return {**raw, "mode": _usual_mode(str(raw.get("metric", "")))}
        return raw


Seconds = Annotated[float, Field(gt=0, strict=True)]


class StoppingSpec(Frozen):
    """When a trial ends before its last epoch."""

    name: Literal["asha", "hyperband", "median", "none"] = "asha"
    """asha: asynchronous successive halving. hyperband: the same with several first rungs, each
    trial in one of these brackets by its number. median: a trial ends when the best of its epochs
    is below the median of the others' means so far."""
    grace: PositiveInt = 1
    """Epochs that every trial gets: the first rung; of the median, the first epoch it looks at."""
    reduction: int = Field(default=3, ge=2)
    """At each rung the best 1/reduction go on to reduction times as many epochs."""
    brackets: PositiveInt | None = None
    """Hyperband: how many, from the one with all rungs; null: down to the one with none."""
    min_samples: PositiveInt = 3
    """Median: so many others must have reached the epoch."""
    promote: bool = False
    """asha: at each rung a trial waits, and goes on from its checkpoint once it is among the best
    1/reduction there (the published form); false: it ends at once unless it is among them."""
    compare: Literal["best", "last"] | None = None
    """asha and hyperband compare the best of a trial's epochs up to the rung, or the last of them;
    null: the best, but the last of a metric whose name ends in loss, which rises as a network
    overfits."""
    seconds: tuple[Seconds, ...] = Field(default=(), exclude_if=lambda seconds: not seconds)
    """Rungs of asha and hyperband by time in place of epochs, ascending: a trial is compared at its
    first epoch with so many recorded seconds of training and evaluation or more."""

    @field_validator("seconds", mode="before")
    @classmethod
    def _some_if_any(cls, raw: Any, info: ValidationInfo) -> Any:
        """Refuse none in a user's spec; older journals hold an empty list where it was left out."""
        if info.context == WRITTEN and raw in ([], ()):
            raise ValueError("needs a rung at least, found []. Leave it out for rungs in epochs")
        return raw


class ResourcesSpec(Frozen):
    """What one trial is given."""

    cpus_per_trial: float = Field(default=1.0, gt=0)
    threads_per_trial: PositiveInt = 1
    """Threads torch uses; part of a trial's identity, since sums depend on it."""
    gpus_per_trial: float | str = 0.0
    """A part of a GPU, or whole ones; auto: a part by the memory that the largest trial is measured
    to need on a GPU of the cluster."""
    concurrency: PositiveInt | None = None
    """Trials at a time at most; default: as many as fit."""
    max_attempts: PositiveInt = 3
    """Workers that may die under a trial one after another, without an epoch between, before it
    counts as failed."""
    silent_minutes: float | None = Field(default=60, gt=0)
    """A trial that finishes no update (a loop of your own: no epoch) for so long has failed."""

    @field_validator("gpus_per_trial", mode="after")
    @classmethod
    def _a_number_or_auto(cls, value: float | str) -> float | str:
        if value != "auto" and (isinstance(value, str) or value < 0):
            raise ValueError(f"a number of at least 0 or auto is needed, found {value!r}")
        return value

    @property
    def gpus(self) -> float:
        """`gpus_per_trial` as a number: a whole GPU while `auto` is not measured."""
        return 1.0 if isinstance(self.gpus_per_trial, str) else self.gpus_per_trial


class BudgetSpec(Frozen):
    """What a sweep may use in all, over every run and resume; null: no limit."""

    max_trials: PositiveInt | None = None
    max_epochs: PositiveInt | None = None
    """Epochs with a result, over all trials."""
    max_hours: float | None = Field(default=None, gt=0)
    """Hours by the clock with a driver running."""
    max_gpu_hours: float | None = Field(default=None, gt=0)
    """Hours of trials, each times its `gpus_per_trial`."""


class TrackingSpec(Frozen):
    """Where MLflow keeps runs."""

    uri: str | None = None
    """Tracking server or store; default: sqlite beside the sweep's folder."""
    artifacts: bool = True
    """Copy the best and last checkpoint of each trial to MLflow."""
