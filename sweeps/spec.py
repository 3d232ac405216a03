"""The spec: what to run, as one frozen tree.

A sweep is a `SweepSpec`: the fixed part (`data`, `model`, `training`), the `space` of values to try
at dotted paths into that fixed part, and how to search, stop, place and record. One trial is a
`TrialSpec`: the fixed part with one point of the space put in, and a seed. A sweep's identity is
the hash of its resolved form. This module imports neither torch nor Ray nor Optuna nor MLflow.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from sweeps.confirming import ConfirmSpec
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
    LATER,
    BudgetSpec,
    ObjectiveSpec,
    PriorSpec,
    ResourcesSpec,
    SearchSpec,
    SecondSpec,
    StoppingSpec,
    TrackingSpec,
)

__all__ = [
    "ARM",
    "GROUPED",
    "NU",
    "START_FILE",
    "STRENGTH",
    "BudgetSpec",
    "ConfirmSpec",
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
    "PriorSpec",
    "ResourcesSpec",
    "Scalar",
    "ScheduleSpec",
    "SearchSpec",
    "SecondSpec",
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
    "steps",
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
    confirm: bool = Field(default=False, exclude_if=lambda confirm: not confirm)
    """Read the test images too, once: test_loss and test_accuracy after the last epoch."""
    restarted: int = Field(default=0, exclude_if=lambda epoch: not epoch)
    """The epoch after which its cosine began anew; 0: it did not (`sweeps extend`)."""

    def going_on(self, after: int, until: int) -> TrialSpec:
        """The child that goes on from the end of epoch `after`, with a new cosine to `until`."""
        training = self.training.model_copy(update={"epochs": until})
        return self.model_copy(update={"training": training, "restarted": after})


ARM = "arm"
"""The axis of the space whose values name `SweepSpec.arms`."""
STRENGTH = "model.noise.strength"
NU = "model.noise.nu"
"""An axis in place of the noise's strength s: ν = s²/N, the amount of noise at ghost size N."""


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
    confirm: ConfirmSpec | None = Field(default=None, exclude_if=lambda confirm: confirm is None)
    """What is confirmed on test data when the search has ended; null: nothing."""
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
        """Hash of all that decides results; where they are kept and how many run at once do not.

        Fields of `LATER` count only when they are set.
        """
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
        usual = SweepSpec(name="usual").model_dump(mode="json")
        for room, field in (path.split(".") for path in LATER):
            if content[room].get(field) == usual[room].get(field):
                content[room].pop(field, None)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def trial(
        self, params: Mapping[str, Scalar | None], seed: int, *, confirm: bool = False
    ) -> TrialSpec:
        """The trial at one point of the space, or at a baseline's; `confirm`: on test data too.

        Raises:
            pydantic.ValidationError: a value that its field refuses.
        """
        fixed = self.model_dump(mode="python", include={"data", "model", "training", "objective"})
        arm = self.arms[str(params[ARM])] if ARM in params else {}
        settle(fixed, {**arm, **params})
        threads = self.resources.threads_per_trial
        return TrialSpec(**fixed, threads=threads, seed=seed, confirm=confirm)


def settle(tree: dict[str, Any], settings: Mapping[str, Scalar | None]) -> None:
    """Put settings at their paths in `tree`: s²/N as the strength, an arm's name not at all."""
    for path, value in settings.items():
        if path not in (ARM, NU):
            put(tree, path, value)
    if (nu := settings.get(NU)) is not None:
        put(tree, STRENGTH, _strength(float(nu), tree["model"]["noise"]))


def _strength(nu: float, noise: dict[str, Any] | None) -> float:
    """s = √(ν·N); a negative ν gives a negative one, which its field refuses."""
    size = (noise or {}).get("ghost_size", NoiseSpec().ghost_size)
    return math.copysign(math.sqrt(abs(nu) * size), nu)


def rungs(spec: SweepSpec) -> list[int]:
    """Epochs at which ASHA or Hyperband decides, below the last epoch: grace · reduction^k.

    None where its rungs are in seconds.
    """
    if spec.stopping.name in ("none", "median") or spec.stopping.seconds:
        return []
    epochs, out = spec.stopping.grace, []
    while epochs < spec.training.epochs:
        out.append(epochs)
        epochs *= spec.stopping.reduction
    return out


def steps(spec: SweepSpec) -> list[int] | list[float]:
    """The rungs of ASHA or Hyperband: epochs, or seconds where it says so."""
    return list(spec.stopping.seconds) or rungs(spec)


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
