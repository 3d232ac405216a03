"""The sections of the spec that make a trial: data, model, training."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sweeps.fields import Fraction, Frozen, ImportPath, PositiveInt, Scalar


class DataSpec(Frozen):
    """What to train on, and how a batch of it is augmented."""

    name: str = "digits"
    """digits, mnist, fashion_mnist, cifar10, cifar100, image_folder, or `module:function`."""
    root: str = "data"
    """Folder that holds (or receives) the data; `~` and `$VARIABLES` are expanded."""
    download: bool = True
    """Let torchvision download what is missing from `root`."""
    validation: Fraction = 0.2
    """Share of the training images held out for validation; of no effect with `evaluate: test`."""
    evaluate: Literal["validation", "test"] = "validation"
    """What the metrics after each epoch are of: val_* of the held out images; or test_* of the test
    images, and then all training images are trained on. The latter is for studies without selection
    alone: a whole grid without early stopping."""
    split_seed: int | None = Field(default=0, ge=0)
    """Seed of the train/validation split; null: each trial's own seed."""
    limit: PositiveInt | None = None
    """Use only that many images of the training split (train and validation together), and with
    `evaluate: test` as many test images at most."""
    crop_padding: int = Field(default=0, ge=0)
    """Pixels of zero padding before a random crop back to the image's size; 0: no crop. Streamed
    images take none: they have their own crops."""
    flip: bool = False
    """Mirror each training image left to right with probability 1/2."""
    normalize: bool = True
    """Per channel, subtract the training images' mean and divide by their standard deviation."""
    image_size: PositiveInt | None = None
    """Side in pixels to which an image folder is resized; others keep their own size."""
    resident_limit: PositiveInt = 4 * 2**30
    """Bytes of uint8 images up to which an image folder is held in memory; above it is streamed,
    and as is usual for ImageNet it trains on random crops of 8 to 100 % of an image's area and is
    judged on the middle square of 7/8 of its shorter side."""


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
    """Whether the noise moves the mean."""
    scale: bool = True
    """Whether the noise changes the variance."""
    before_affine: bool | None = None
    """Whether it stands before the norm's gain and bias; null: before in batch norms, after in
    layer and group norm."""

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
    running: Literal["mean", "sequential"] = "mean"
    """Running statistics of ghost_batch: one step a batch towards the mean over its groups, or one
    step a group in order (arXiv 1705.08741, Algorithm 1). Of no effect in other kinds."""


class DropoutSpec(Frozen):
    """Dropout before the second convolution of every block."""

    kind: Literal["bernoulli", "gaussian"] = "bernoulli"
    per: Literal["element", "channel"] = "element"
    """One draw an element, or one a sample and channel."""
    p: float = Field(default=0.1, ge=0, lt=1)
    """Probability of dropping; 0 drops nothing."""
    literature_std: bool = True
    """Gaussian: the deviation sqrt(p / (1 - p)); false: p / (1 - p), as in the paper's code."""


class ConvSpec(Frozen):
    """What the convolutions are."""

    kind: Literal["plain", "standardised"] = "plain"
    """standardised: each output channel's weights have mean 0 and deviation 1/sqrt(fan-in)."""
    gain: bool = True
    """Whether a standardised convolution learns a gain for each output channel."""


class ModelSpec(Frozen):
    """Which network, and what stands at its norm sites and between them."""

    name: str = "mlp"
    """One of our own (`networks.OWN_MODELS`), `torchvision:NAME`, or `package.module:function`."""
    options: dict[str, Scalar] = Field(default_factory=dict)
    """Arguments of the network, such as `depth` and `width` of the mlp."""
    norm: NormSpec = NormSpec()
    noise: NoiseSpec | None = None
    dropout: DropoutSpec | None = None
    """Dropout in the blocks of preact_resnet18 and resnet20."""
    conv: ConvSpec = ConvSpec()
    """Convolutions of preact_resnet18 and resnet20."""


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

    @model_validator(mode="after")
    def _steps_have_milestones(self) -> ScheduleSpec:
        if self.name == "step" and not self.milestones:
            raise ValueError(
                "step needs milestones, or it never steps. Give epochs such as [15, 25]"
            )
        return self


START_FILE = "start.pt"
"""A sweep's copy of the checkpoint that its trials start from."""


class StartSpec(Frozen):
    """A checkpoint whose weights every trial starts from; `sweeps run --from` fills it in."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the checkpoint's content."""
    source: str = ""
    """Path or MLflow run that it was taken from; no part of the sweep's identity."""


class TrainingSpec(Frozen):
    """How one trial trains."""

    epochs: int = Field(default=27, ge=1, le=1_000_000)
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
    """Autocast on a GPU. There float32 convolutions use TF32 (10 bits of mantissa), by cuDNN's
    default; `torch.backends.cudnn.allow_tf32 = False` turns that off, in a module of your own that
    the workers import (that of a `model.name: package.module:function`, say)."""
    cpu_precision: Literal["float32", "bfloat16"] = "float32"
    """Autocast on a CPU: bfloat16 is faster on one with AVX512-BF16 or AMX, slower on others."""
    channels_last: bool = False
    """Memory format on a GPU; a CPU gains nothing from it and keeps its own."""
    compile: Literal[False, True, "cuda_graphs"] = False
    """Compile the updates (torch.compile), with CUDA graphs if so: half a minute before the first
    one, so for long trials; needs a C++ compiler on every machine. The noise has other draws."""
    deterministic: bool = False
    """Ask torch for deterministic kernels, so that a GPU repeats a trial bit for bit."""
    seed: int = Field(default=0, ge=0)
    """Seed of initialisation, order, augmentation and noise; a repeat of a point takes the next."""
    checkpoint_every: PositiveInt | str = 1
    """Epochs from one checkpoint to the next (`2` or `2 epochs`), or minutes (`10 minutes`), which
    cut an epoch where they fall. The last epoch always writes one."""
    weight_distance: bool = False
    """Record how far all weights are from their start (L2) after updates 1, 2, 3, 4, 6, 8, 11, …"""
    start: StartSpec | None = None
    """Start from these weights instead of each trial's own draw."""
    loop: ImportPath | None = None
    """A training loop of your own instead of ours, `package.module:function`."""

    @field_validator("checkpoint_every", mode="after")
    @classmethod
    def _epochs_or_minutes(cls, value: int | str) -> int | str:
        found = re.fullmatch(r"(\d+(?:\.\d+)?) (epoch|minute)s?", str(value))
        if isinstance(value, int):
            return value
        if not found or float(found[1]) <= 0 or (found[2] == "epoch" and "." in found[1]):
            raise ValueError(f"it takes `2 epochs` or `10 minutes`, above 0; found {value!r}")
        return int(found[1]) if found[2] == "epoch" else value

    @property
    def checkpoint_minutes(self) -> float | None:
        """Minutes from one checkpoint to the next, where it is not a number of epochs."""
        every = self.checkpoint_every
        return float(every.split()[0]) if isinstance(every, str) else None

    @model_validator(mode="after")
    def _warmup_ends(self) -> TrainingSpec:
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs must not exceed epochs; found "
                f"{self.schedule.warmup_epochs:g} of {self.epochs}. Lower it"
            )
        return self
