"""The spec: what to run, as one frozen tree.

A sweep is a `SweepSpec`: the fixed part (`data`, `model`, `training`), the `space` of values to try
at dotted paths into that fixed part, and how to search, stop, place and record. One trial is a
`TrialSpec`: the fixed part with one point of the space put in, and a seed. A sweep's identity is
the hash of its resolved form. This module imports neither torch nor Ray nor Optuna nor MLflow.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import Field, field_validator, model_validator

from sweeps.dimension import Dimension, DimensionKind
from sweeps.fields import Fraction, Frozen, ImportPath, PositiveInt, Scalar, put, section
from sweeps.sections import (
    GROUPED,
    START_FILE,
    ConvSpec,
    DataSpec,
    DropoutSpec,
    ModelSpec,
    NoiseSpec,
    NormSpec,
    OptimizerSpec,
    ScheduleSpec,
    StartSpec,
    TrainingSpec,
)
from sweeps.service import (
    BudgetSpec,
    ObjectiveSpec,
    ResourcesSpec,
    SearchSpec,
    StoppingSpec,
    TrackingSpec,
)

__all__ = [
    "ARM",
    "GROUPED",
    "START_FILE",
    "BudgetSpec",
    "ConvSpec",
    "DataSpec",
    "Dimension",
    "DimensionKind",
    "DropoutSpec",
    "Fraction",
    "Frozen",
    "ImportPath",
    "ModelSpec",
    "NoiseSpec",
    "NormSpec",
    "ObjectiveSpec",
    "OptimizerSpec",
    "PositiveInt",
    "ResourcesSpec",
    "Scalar",
    "ScheduleSpec",
    "SearchSpec",
    "StartSpec",
    "StoppingSpec",
    "SweepSpec",
    "TrackingSpec",
    "TrainingSpec",
    "TrialSpec",
    "put",
    "rungs",
    "section",
    "space_size",
    "trial_count",
]


class TrialSpec(Frozen):
    """One trial, resolved: a pure function's whole input, next to the images themselves."""

    data: DataSpec
    model: ModelSpec
    training: TrainingSpec
    objective: ObjectiveSpec
    threads: PositiveInt
    seed: int


ARM = "arm"
"""The axis of the space whose values name `SweepSpec.arms`."""


class SweepSpec(Frozen):
    """A whole sweep."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    description: str = ""
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    arms: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    """Named settings to compare, each a value for some dotted paths: an axis `arm` of the space."""
    space: dict[str, Dimension] = Field(default_factory=dict)
    search: SearchSpec = SearchSpec()
    objective: ObjectiveSpec = ObjectiveSpec()
    stopping: StoppingSpec = StoppingSpec()
    resources: ResourcesSpec = ResourcesSpec()
    budget: BudgetSpec = BudgetSpec()
    storage: str = "sweep-data"
    """Folder, or `s3://bucket/prefix`, under which each sweep has a folder of its own name."""
    tracking: TrackingSpec = TrackingSpec()

    @field_validator("space", mode="before")
    @classmethod
    def _absent_space_is_empty(cls, raw: Any) -> Any:
        return {} if raw is None else raw

    @model_validator(mode="before")
    @classmethod
    def _arms_are_an_axis(cls, raw: Any) -> Any:
        """Put all arms into the space, unless it says which."""
        if not isinstance(raw, dict) or not isinstance(raw.get("arms"), dict) or not raw["arms"]:
            return raw
        space = raw.get("space") or {}
        if not isinstance(space, dict):
            return raw
        return {**raw, "space": {ARM: {"choice": list(raw["arms"])}, **space}}

    def identity(self) -> str:
        """Hash of all that decides results; where they are kept and how many run at once do not."""
        place = set() if self.data.name == "image_folder" else {"root"}
        content = self.model_dump(
            mode="json",
            exclude={
                "storage": True,
                "tracking": True,
                "description": True,
                "data": place | {"download"},
                "training": {"start": {"source"}},
                "budget": True,
                "resources": {"concurrency", "max_attempts", "silent_minutes"},
            },
        )
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def trial(self, params: dict[str, Scalar], seed: int) -> TrialSpec:
        """The trial at one point of the space.

        Raises:
            pydantic.ValidationError: a value that its field refuses.
        """
        fixed = self.model_dump(mode="python", include={"data", "model", "training", "objective"})
        arm = self.arms[str(params[ARM])] if ARM in params else {}
        for path, value in {**arm, **params}.items():
            if path != ARM:
                put(fixed, path, value)
        return TrialSpec(**fixed, threads=self.resources.threads_per_trial, seed=seed)


def rungs(spec: SweepSpec) -> list[int]:
    """Epochs at which ASHA decides, below the last epoch: grace · reduction^k."""
    if spec.stopping.name == "none":
        return []
    epochs, out = spec.stopping.grace, []
    while epochs < spec.training.epochs:
        out.append(epochs)
        epochs *= spec.stopping.reduction
    return out


def space_size(spec: SweepSpec) -> int | None:
    """Points of the space; None when it is continuous."""
    size = 1
    for dimension in spec.space.values():
        match dimension.kind:
            case "choice" | "fixed":
                size *= len(dimension.values)
            case "int" | "logint":
                low, high = (int(v) for v in dimension.values)
                size *= high - low + 1
            case _:
                return None
    return size


def trial_count(spec: SweepSpec) -> int:
    """Trials that the sweep makes: `search.trials`, else all points of a grid, else 32.

    Never more than `budget.max_trials`.
    """
    wanted = 32
    if spec.search.trials is not None:
        wanted = spec.search.trials
    elif spec.search.sampler == "grid":
        wanted = (space_size(spec) or 1) * spec.search.replicates
    return min(wanted, spec.budget.max_trials or wanted)
