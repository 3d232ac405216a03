"""The spec: what to run, as one frozen tree.

A sweep is a `SweepSpec`: the fixed part (`data`, `model`, `training`), the `space` of values to try
at dotted paths into that fixed part, and how to search, stop, place and record. One trial is a
`TrialSpec`: the fixed part with one point of the space put in, and a seed. A sweep's identity is
the hash of its resolved form. This module imports neither torch nor Ray nor Optuna nor MLflow.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

Scalar = bool | int | float | str
ImportPath = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Frozen(BaseModel):
    """A read-only section: unknown fields are mistakes, numbers must be finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_not_truths(cls, raw: Any, info: ValidationInfo) -> Any:
        """Refuse `epochs: true`, which pydantic would read as 1, and `flip: "yes"`."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        wants = set(getattr(annotation, "__args__", (annotation,)))
        if isinstance(raw, bool) and wants & {int, float} and bool not in wants:
            raise ValueError(f"a number is needed, found {str(raw).lower()}")
        if isinstance(raw, str) and annotation is bool:
            raise ValueError(f"true or false is needed, found {raw!r}")
        return raw


class DataSpec(Frozen):
    """What to train on, and how a batch of it is augmented."""

    name: str = "digits"
    """digits, mnist, fashion_mnist, cifar10, cifar100, image_folder, or `module:function`."""
    root: str = "data"
    """Folder that holds (or receives) the data; `~` and `$VARIABLES` are expanded."""
    download: bool = True
    """Let torchvision download what is missing from `root`."""
    validation: Fraction = 0.2
    """Share of the training images held out for validation."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the train/validation split."""
    limit: PositiveInt | None = None
    """Use only that many images of the training split (train and validation together)."""
    crop_padding: int = Field(default=0, ge=0)
    """Pixels of zero padding before a random crop back to the image's size; 0: no crop."""
    flip: bool = False
    """Mirror each training image left to right with probability 1/2."""
    normalize: bool = True
    """Per channel, subtract the training images' mean and divide by their standard deviation."""
    image_size: PositiveInt | None = None
    """Side in pixels to which an image folder is resized; others keep their own size."""
    resident_limit: PositiveInt = 4 * 2**30
    """Bytes of uint8 images up to which an image folder is held in memory; above it is streamed."""


class NoiseSpec(Frozen):
    """Ghost noise at every norm site (arXiv 2305.17205, section 4)."""

    kind: Literal["ghost", "analytic"] = "ghost"
    """ghost: statistics of drawn samples. analytic: normal and chi-square draws of that form."""
    ghost_size: PositiveInt = 16
    """Samples N drawn with replacement for each sample's statistics; analytic from 2."""
    strength: float = Field(default=1.0, ge=0)
    """s in y = (x - s·delta) / rho^s; 0 is no noise, 1 the paper's."""
    eps: float = Field(default=1e-3, gt=0)
    shift: bool = True
    scale: bool = True

    @model_validator(mode="after")
    def _makes_some_noise(self) -> NoiseSpec:
        if not self.shift and not self.scale:
            raise ValueError("noise without shift and scale is none. Turn one on, or noise: null")
        if self.kind == "analytic" and self.ghost_size < 2:
            raise ValueError("analytic noise needs ghost_size >= 2, found 1. Raise it")
        return self


GROUPED = ("ghost_batch", "exclusive_batch", "eval_norm")
"""Norms that share statistics among `ghost_size` samples."""


class NormSpec(Frozen):
    """What stands at every norm site."""

    kind: Literal[
        "batch", "ghost_batch", "exclusive_batch", "eval_norm", "layer", "group", "none"
    ] = "batch"
    ghost_size: PositiveInt = 16
    """Samples per group of the grouped kinds (`GROUPED`); must divide the batch."""
    groups: PositiveInt = 32
    """Groups of group norm."""
    eps: float = Field(default=1e-5, gt=0)
    momentum: float = Field(default=0.1, gt=0, le=1)


class ModelSpec(Frozen):
    """Which network, and what stands at its norm sites."""

    name: str = "mlp"
    """One of our own (`checks.OWN_MODELS`), `torchvision:NAME`, or `package.module:function`."""
    options: dict[str, Scalar] = Field(default_factory=dict)
    """Arguments of the network, such as `depth` and `width` of the mlp."""
    norm: NormSpec = NormSpec()
    noise: NoiseSpec | None = None


class OptimizerSpec(Frozen):
    """SGD with momentum, or AdamW. One-dimensional parameters are not decayed."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0)
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    lr_scaling: Literal["none", "sqrt", "linear"] = "none"
    """How lr grows with batch_size / base_batch_size."""
    base_batch_size: PositiveInt = 128

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> OptimizerSpec:
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0. Set nesterov: false or raise momentum")
        return self


class ScheduleSpec(Frozen):
    """Learning rate over updates."""

    name: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: float = Field(default=0, ge=0)
    """Linear rise from `warmup_lr`; the cosine counts from update 0, warm-up included."""
    warmup_lr: float = Field(default=1e-6, ge=0)
    min_lr: float = Field(default=0.0, ge=0)
    milestones: tuple[PositiveInt, ...] = ()
    """Epochs after which `step` multiplies the learning rate by `gamma`."""
    gamma: float = Field(default=0.1, gt=0)


class TrainingSpec(Frozen):
    """How one trial trains."""

    epochs: PositiveInt = 27
    batch_size: int = Field(default=128, ge=2)
    """Images per update. The last partial batch of an epoch is dropped, as in the paper's code."""
    accumulate: PositiveInt = 1
    """Forward passes per update; each sees batch_size / accumulate images."""
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the whole gradient; longer ones are scaled down to it."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Autocast on a GPU; a CPU always trains in float32."""
    channels_last: bool = False
    deterministic: bool = False
    """Ask torch for deterministic kernels, so that a GPU repeats a trial bit for bit."""
    seed: int = Field(default=0, ge=0)
    """Seed of initialisation, order, augmentation and noise; a repeat of a point takes the next."""
    checkpoint_every: PositiveInt = 1
    """Epochs from one checkpoint to the next; the last epoch always writes one."""
    loop: ImportPath | None = None
    """A training loop of your own instead of ours, `package.module:function`."""


DimensionKind = Literal["choice", "uniform", "loguniform", "int", "logint", "fixed"]
_RANGES: tuple[DimensionKind, ...] = ("uniform", "loguniform", "int", "logint")


class Dimension(Frozen):
    """One axis of the space: `{choice: [4, 8]}`, `{loguniform: [1e-3, 1]}` or a bare value."""

    kind: DimensionKind
    values: tuple[Scalar, ...]
    """All values of a choice, the two inclusive ends of a range, the one fixed value."""

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, raw: Any) -> Any:
        if isinstance(raw, Dimension):
            return {"kind": raw.kind, "values": raw.values}
        if isinstance(raw, bool | int | float | str):
            return {"kind": "fixed", "values": (raw,)}
        known = ", ".join(DimensionKind.__args__)
        if not isinstance(raw, dict) or len(raw) != 1:
            raise ValueError(f"a dimension is one value or one of {{{known}}}: [values]")
        ((kind, values),) = raw.items()
        if kind not in DimensionKind.__args__:
            raise ValueError(f"unknown kind of dimension {kind!r}. Known: {known}")
        if not isinstance(values, list | tuple):
            values = (values,)
        return {"kind": kind, "values": tuple(values)}

    @model_validator(mode="after")
    def _check_values(self) -> Dimension:
        if not self.values:
            raise ValueError(f"{self.kind} is empty. Give at least one value")
        if self.kind == "fixed" and len(self.values) != 1:
            raise ValueError("fixed takes exactly one value")
        if self.kind == "choice" and len(set(map(repr, self.values))) < len(self.values):
            raise ValueError(f"choice names a value twice: {list(self.values)}")
        if self.kind in _RANGES:
            self._check_range()
        return self

    def _check_range(self) -> None:
        numbers = [v for v in self.values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) != 2 or len(self.values) != 2:
            raise ValueError(
                f"{self.kind} takes [low, high], two numbers; found {list(self.values)}"
            )
        low, high = numbers
        if not low < high:
            raise ValueError(f"empty range: low {low} is not below high {high}")
        if self.kind.startswith("log") and low <= 0:
            raise ValueError(f"{self.kind} needs low > 0; found {low}")
        if self.kind in ("int", "logint") and not all(float(v).is_integer() for v in numbers):
            raise ValueError(f"{self.kind} takes whole numbers; found {list(self.values)}")

    @model_serializer
    def _write_short_form(self) -> dict[str, Any]:
        return {self.kind: list(self.values)}


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
    gpus_per_trial: float = Field(default=0.0, ge=0)
    concurrency: PositiveInt | None = None
    """Trials at a time at most; default: as many as fit."""
    max_attempts: PositiveInt = 3
    """Workers that may die under a trial, in one run or resume, before it counts as failed."""


class TrackingSpec(Frozen):
    """Where MLflow keeps runs."""

    uri: str | None = None
    """Tracking server or store; default: sqlite beside the sweep's folder."""
    artifacts: bool = True
    """Copy the best and last checkpoint of each trial to MLflow."""


class TrialSpec(Frozen):
    """One trial, resolved: a pure function's whole input, next to the images themselves."""

    data: DataSpec
    model: ModelSpec
    training: TrainingSpec
    objective: ObjectiveSpec
    threads: PositiveInt
    seed: int


class SweepSpec(Frozen):
    """A whole sweep."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    description: str = ""
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    space: dict[str, Dimension] = Field(default_factory=dict)
    search: SearchSpec = SearchSpec()
    objective: ObjectiveSpec = ObjectiveSpec()
    stopping: StoppingSpec = StoppingSpec()
    resources: ResourcesSpec = ResourcesSpec()
    storage: str = "sweep-data"
    """Folder under which each sweep has a folder of its own name."""
    tracking: TrackingSpec = TrackingSpec()

    @field_validator("space", mode="before")
    @classmethod
    def _absent_space_is_empty(cls, raw: Any) -> Any:
        return {} if raw is None else raw

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
                "resources": {"concurrency", "max_attempts"},
            },
        )
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def trial(self, params: dict[str, Scalar], seed: int) -> TrialSpec:
        """The trial at one point of the space.

        Raises:
            pydantic.ValidationError: a value that its field refuses.
        """
        fixed = self.model_dump(mode="python", include={"data", "model", "training", "objective"})
        for path, value in params.items():
            put(fixed, path, value)
        return TrialSpec(**fixed, threads=self.resources.threads_per_trial, seed=seed)


def section(annotation: Any) -> type[Frozen] | None:
    """The section of the tree that a field's annotation names, such as `NoiseSpec | None`."""
    options = getattr(annotation, "__args__", (annotation,))
    return next((o for o in options if isinstance(o, type) and issubclass(o, Frozen)), None)


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set `tree[a][b][c] = value` for the path `a.b.c`, making absent or null branches."""
    *branches, leaf = path.split(".")
    for branch in branches:
        if tree.get(branch) is None:
            tree[branch] = {}
        tree = tree[branch]
    tree[leaf] = value


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
    """Trials that the sweep makes: `search.trials`, else all points of a grid, else 32."""
    if spec.search.trials is not None:
        return spec.search.trials
    if spec.search.sampler == "grid":
        return (space_size(spec) or 1) * spec.search.replicates
    return 32
