"""The configuration of every site of a model: norm, noise, dropout, convolution. No torch here."""

from dataclasses import asdict, dataclass, is_dataclass
from typing import Literal, get_args

from models.checks import require_count, require_number

NormKind = Literal["batch", "ghost_batch", "exclusive_batch", "eval_norm", "layer", "group", "none"]
NoiseKind = Literal["ghost", "analytic"]
DropoutKind = Literal["bernoulli", "gaussian"]
Per = Literal["element", "channel"]
ConvKind = Literal["plain", "standardised"]
Running = Literal["mean", "sequential"]
GROUPED = ("ghost_batch", "exclusive_batch", "eval_norm")
"""The norms that share statistics among `ghost_size` samples."""


def _require_kind(field: str, kind: str, known: tuple[str, ...]) -> None:
    if kind not in known:
        raise ValueError(
            f"{field} must be one of {', '.join(known)}, got {kind!r}; choose one of them"
        )


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """The noise at every norm site; training only, eval is the identity.

    Raises:
        ValueError: a field outside the range given beneath it.
    """

    kind: NoiseKind = "ghost"
    """ghost: the statistics of ghost batches. analytic: draws that take the form of these."""
    ghost_size: int
    """Samples that each sample draws, with replacement, from its batch; at least 1, analytic 2."""
    strength: float = 1.0
    """How far to go: 0 is the identity, 1 the paper's noise, more is more; at least 0."""
    eps: float = 1e-3
    """Added by ghost noise to both variances; above 0. The paper's experiments use 1e-3."""
    shift: bool = True
    """Whether the noise moves the mean."""
    scale: bool = True
    """Whether the noise changes the variance; at least one of shift and scale is on."""
    before_affine: bool | None = None
    """Whether the noise stands before the norm's gain and bias, or after them. None: before in
    batch norms, after in layer and group norm."""

    def __post_init__(self) -> None:
        _require_kind("noise.kind", self.kind, get_args(NoiseKind))
        least = 2 if self.kind == "analytic" else 1
        remedy = "16 is the paper's best on ResNet-18"
        require_count("noise.ghost_size", self.ghost_size, least, remedy)
        require_number("noise.strength", self.strength, "0 turns the noise off", least=0.0)
        require_number("noise.eps", self.eps, "the paper uses 1e-3", above=0.0)
        if not (self.shift or self.scale):
            raise ValueError(
                "noise.shift and noise.scale must not both be off, got False and False; "
                "for no noise leave noise out (None)"
            )


@dataclass(frozen=True, kw_only=True)
class DropoutConfig:
    """Dropout before the second convolution of every block; training only.

    Raises:
        ValueError: a field outside the range given beneath it.
    """

    p: float
    """Probability of dropping, from 0, which drops nothing, to below 1."""
    kind: DropoutKind = "bernoulli"
    """bernoulli: zero, or scaled up. gaussian: times a normal value of mean 1."""
    per: Per = "element"
    """One draw an element, or one a sample and channel."""
    literature_std: bool = True
    """Gaussian: the standard deviation √(p / (1 - p)) of the literature, or else p / (1 - p), as in
    the code of the ghost noise paper."""

    def __post_init__(self) -> None:
        _require_kind("dropout.kind", self.kind, get_args(DropoutKind))
        _require_kind("dropout.per", self.per, get_args(Per))
        require_number("dropout.p", self.p, "0 drops nothing", least=0.0)
        if self.p >= 1:
            raise ValueError(f"dropout.p must be below 1, got {self.p}; 1 would drop everything")


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """What every convolution of a residual network is.

    Raises:
        ValueError: an unknown kind.
    """

    kind: ConvKind = "plain"
    """plain, or standardised: each output channel's weights have mean 0 and deviation 1/√fan-in."""
    gain: bool = True
    """Whether a standardised convolution learns a gain for each output channel."""

    def __post_init__(self) -> None:
        _require_kind("conv.kind", self.kind, get_args(ConvKind))


@dataclass(frozen=True, kw_only=True)
class NormConfig:
    """How every norm site of a model normalises, the noise there, and what stands between sites.

    Raises:
        ValueError: a field outside the range given beneath it.
    """

    kind: NormKind = "batch"
    """batch; ghost_batch, exclusive_batch or eval_norm, which are batch norms of groups; layer (all
    channels and space of a sample), group; none, with which deep networks need a small lr."""
    ghost_size: int | None = None
    """Samples in a group of ghost_batch, exclusive_batch (at least 2) and eval_norm: required there
    and only there. The noise has a ghost size of its own. A deep network with small maps and few
    samples in a group of exclusive_batch multiplies outliers from layer to layer."""
    groups: int = 32
    """Groups of channels of group norm; must divide the channels of every site."""
    eps: float = 1e-5
    """Added to the variance by the norm; above 0."""
    momentum: float = 0.1
    """Weight of the newest batch in the running statistics of batch norms; in (0, 1]."""
    running: Running = "mean"
    """How ghost_batch tracks its statistics: one step a batch towards the mean over groups, or one
    step a group in order (Hoffer et al., 2017, arXiv 1705.08741, Algorithm 1)."""
    noise: NoiseConfig | None = None
    """The noise, or None for none."""
    dropout: DropoutConfig | None = None
    """The dropout in the blocks of preact_resnet18 and resnet20, or None for none."""
    conv: ConvConfig = ConvConfig()
    """The convolutions of preact_resnet18 and resnet20."""

    def __post_init__(self) -> None:
        _require_kind("norm.kind", self.kind, get_args(NormKind))
        _require_kind("norm.running", self.running, get_args(Running))
        if self.running != "mean" and self.kind != "ghost_batch":
            raise ValueError(
                f"norm.running belongs to norm.kind ghost_batch, got {self.running!r} with "
                f"{self.kind!r}; leave it out"
            )
        self._check_ghost_size()
        require_count("norm.groups", self.groups, 1, "32 is usual")
        require_number("norm.eps", self.eps, "1e-5 is usual", above=0.0)
        require_number("norm.momentum", self.momentum, "0.1 is usual", above=0.0)
        if self.momentum > 1:
            raise ValueError(
                f"norm.momentum must be at most 1, got {self.momentum}; 0.1 is usual: "
                "it weighs the newest batch"
            )

    def _check_ghost_size(self) -> None:
        if self.kind in GROUPED:
            least = 2 if self.kind == "exclusive_batch" else 1
            remedy = "give the number of samples that share statistics"
            require_count("norm.ghost_size", self.ghost_size, least, remedy)
        elif self.ghost_size is not None:
            raise ValueError(
                f"norm.ghost_size belongs to norm.kind {', '.join(GROUPED)}, got {self.ghost_size} "
                f"with {self.kind!r}; for ghost noise set norm.noise.ghost_size instead"
            )


PLAIN = NormConfig()
"""Batch norm without noise."""


def changes(norm: NormConfig, *fields: str) -> list[str]:
    """Name and value of those `fields` that differ from PLAIN, such as `norm.kind='layer'`."""
    return [
        f"norm.{field}={_shown(getattr(norm, field))}"
        for field in fields
        if getattr(norm, field) != getattr(PLAIN, field)
    ]


def require_default(label: str, norm: NormConfig, *fields: str) -> None:
    """Raise ValueError if any of those `fields`, which `label` has no place for, was changed."""
    if changed := changes(norm, *fields):
        raise ValueError(
            f"{label} has no place for {', '.join(changed)}; leave that out, or take "
            "preact_resnet18 or resnet20"
        )


def _shown(value: object) -> str:
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return repr(plain)
