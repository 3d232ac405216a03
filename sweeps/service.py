"""The sections of the spec that say how a sweep runs: search, stopping, resources, budget."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sweeps.fields import Frozen, PositiveInt


class SearchSpec(Frozen):
    """Which points of the space to try, in what order."""

    sampler: Literal["tpe", "random", "grid"] = "tpe"
    trials: PositiveInt | None = None
    """How many trials; a grid defaults to all its points, each `replicates` times."""
    replicates: PositiveInt = 1
    """Seeds for each point of a grid; the whole grid runs on one seed before the next."""
    seed: int = Field(default=0, ge=0)
    startup_trials: PositiveInt = 10
    """Random trials before TPE starts to model."""


class ObjectiveSpec(Frozen):
    """The epoch metric that the search improves."""

    metric: str = "val_accuracy"
    mode: Literal["max", "min"] = "max"
    """Defaults to min for a metric whose name ends in loss or error."""

    @model_validator(mode="before")
    @classmethod
    def _losses_go_down(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "mode" not in raw:
            down = str(raw.get("metric", "")).endswith(("loss", "error"))
            return {**raw, "mode": "min" if down else "max"}
        return raw


class StoppingSpec(Frozen):
    """Asynchronous successive halving (ASHA), or none."""

    name: Literal["asha", "none"] = "asha"
    grace: PositiveInt = 1
    """Epochs that every trial gets: the first rung."""
    reduction: int = Field(default=3, ge=2)
    """At each rung the best 1/reduction go on to reduction times as many epochs."""


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
