"""Layers that add noise and nothing else."""

from jaxtyping import Float
from torch import Tensor

from gni._checks import check_eps, check_input
from gni._noise import Sampling, Strength, check_sampling, ghost_noise
from gni._other_noise import (
    Dropout,
    Per,
    analytic_noise,
    check_dropout,
    check_real_size,
    draw_analytic,
    draw_dropout,
    noise_dropout,
)
from gni._site import Drawn, GhostSite, NoiseSite


class GhostNoise(GhostSite):
    """Add the noise of a random ghost batch, and nothing else.

    `y = (x - s·delta) / rho^s`, delta and rho (B, C) from N samples that each sample draws from the
    batch with replacement; see `gni.functional.ghost_noise`.

    Training draws anew in every forward and needs a batch of at least 2; eval is the identity and
    takes any batch. Strength 0 is the identity bit for bit, 1 the paper's noise; large N is little
    noise, and to first order (s, N) acts like ghost size N/s². N need not divide the batch and may
    exceed it. Randomness comes from `generator`, or torch's default generator. The noise is a
    constant to autograd. Variances are biased, statistics float32 or better. Under data parallel a
    worker's own batch is what the layer sees.

    Differences from the paper's code: the strength; centred variances; draws made on the device.

    Args:
        ghost_size: N >= 1, on vectors N >= 2 (4 or more is wise).
        strength: s >= 0.
        eps: added to both variances.
        shift: False leaves delta out.
        scale: False leaves rho out.
        sampling: "replacement" draws a ghost for each sample; the older forms take one's own group
            of N, which must divide the batch: "groups" consecutive ones, "shuffled" random ones
            (there the paper's eps was 1e-6).
        channel_dim: the dim of the channels, 1 or -1 as a rule; statistics are over all others.

    Shape:
        (B, C, *space), or with the channels at `channel_dim`; output the same.

    Raises:
        ValueError: a ghost size below 1 or not whole, a negative or NaN strength or eps, and in
            training a batch of one.

    Example:
        >>> layer = GhostNoise(16, strength=0.5)
        >>> layer(torch.randn(32, 8, 4, 4)).shape
        torch.Size([32, 8, 4, 4])

    Reference:
        Kosson et al., arXiv 2305.17205.
    """

    def __init__(
        self,
        ghost_size: int,
        strength: Strength = 1.0,
        *,
        eps: float = 1e-3,
        shift: bool = True,
        scale: bool = True,
        sampling: Sampling = "replacement",
        channel_dim: int = 1,
    ) -> None:
        super().__init__()
        check_sampling(sampling)
        check_eps(eps)
        self.init_ghosts(ghost_size, strength, sampling)
        self.eps = eps
        self.shift = shift
        self.scale = scale
        self.channel_dim = channel_dim

    def forward(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "B *rest"]:
        """Add the noise in training; return `x` itself in eval."""
        if not self.training:
            return x
        return ghost_noise(
            x,
            self.draw(x),
            self.strength,
            eps=self.eps,
            shift=self.shift,
            scale=self.scale,
            channel_dim=self.channel_dim,
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        switches = "".join(
            f", {name}=False" for name in ("shift", "scale") if not getattr(self, name)
        )
        dim = "" if self.channel_dim == 1 else f", channel_dim={self.channel_dim}"
        return f"{self.noise_repr()}, eps={self.eps}{switches}{dim}"


class AnalyticNoise(NoiseSite):
    """Add the noise of a ghost batch of independent normal values.

    `y = (x - s·n/√N) / (c/N)^(s/2)`, n ~ N(0, 1) and c ~ χ²(N - 1), independent per sample and
    channel; see `gni.functional.analytic_noise`.

    Training draws anew in every forward; eval is the identity. The input is taken to be normalised.
    Strength 0 is the identity bit for bit, 1 the paper's noise; large N is little noise. Randomness
    comes from `generator`, or torch's default generator. The noise is a constant to autograd.
    Samples do not meet, so data parallel changes nothing.

    Differences from the paper's code: the strength.

    Args:
        ghost_size: N, real and above 1.
        strength: s >= 0.
        shift: False leaves the shift out.
        scale: False leaves the scale out.
        instance_std: multiply the shift by the sample's own standard deviation over space.
        channel_dim: the dim of the channels.

    Shape:
        (B, C, *space), or with the channels at `channel_dim`; output the same.

    Raises:
        ValueError: a ghost size of 1 or less, a negative or NaN strength.

    Example:
        >>> AnalyticNoise(16.0)(torch.randn(32, 8, 4, 4)).shape
        torch.Size([32, 8, 4, 4])

    Reference:
        Kosson et al., arXiv 2305.17205.
    """

    def __init__(
        self,
        ghost_size: float | int,
        strength: Strength = 1.0,
        *,
        shift: bool = True,
        scale: bool = True,
        instance_std: bool = False,
        channel_dim: int = 1,
    ) -> None:
        super().__init__()
        self.init_noise(ghost_size, strength)
        self.shift = shift
        self.scale = scale
        self.instance_std = instance_std
        self.channel_dim = channel_dim

    def checked_size(self, value: object) -> float | int:
        """Allow real sizes above 1."""
        return check_real_size(value)

    def forward(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "B *rest"]:
        """Add the noise in training; return `x` itself in eval."""
        if not self.training:
            return x
        check_input(x, self.channel_dim)
        shape = (x.shape[0], x.shape[self.channel_dim])
        return analytic_noise(
            x,
            draw_analytic(shape, self.ghost_size, generator=self.source(), device=x.device),
            self.strength,
            shift=self.shift,
            scale=self.scale,
            instance_std=self.instance_std,
            channel_dim=self.channel_dim,
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        names = [n for n in ("shift", "scale") if not getattr(self, n)]
        return self.noise_repr() + "".join(f", {name}=False" for name in names)


class NoiseDropout(Drawn):
    """Dropout as multiplicative noise, Bernoulli or Gaussian, per element or per channel.

    Bernoulli: `y = x·m/(1-p)`, m one with probability 1-p. Gaussian: `y = x·(1 + std·n)`; see
    `gni.functional.noise_dropout`.

    Training draws anew in every forward; eval is the identity. p = 0 is the identity. Randomness
    comes from `generator`, or torch's default generator.

    Differences from the paper's code: the Gaussian std is √(p/(1-p)) as in the literature; the
    code's p/(1-p) is an option.

    Args:
        p: in [0, 1).
        kind: "bernoulli" or "gaussian".
        per: "element", or "channel" for one value per sample and channel.
        literature_std: False takes the standard deviation of the paper's code.
        channel_dim: the dim of the channels.

    Shape:
        (B, C, *space), or with the channels at `channel_dim`; output the same.

    Raises:
        ValueError: p outside [0, 1), an unknown kind or `per`.

    Example:
        >>> NoiseDropout(0.2, kind="gaussian")(torch.randn(32, 8)).shape
        torch.Size([32, 8])

    Reference:
        Kosson et al., arXiv 2305.17205.
    """

    def __init__(
        self,
        p: float | int,
        *,
        kind: Dropout = "bernoulli",
        per: Per = "element",
        literature_std: bool = True,
        channel_dim: int = 1,
    ) -> None:
        super().__init__()
        check_dropout(p, kind, per)
        self.p = p
        self.kind: Dropout = kind
        self.per: Per = per
        self.literature_std = literature_std
        self.channel_dim = channel_dim

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the noise in training; return `x` itself in eval."""
        if not self.training:
            return x
        draw = draw_dropout(
            x,
            kind=self.kind,
            per=self.per,
            channel_dim=self.channel_dim,
            generator=self.source(),
        )
        return noise_dropout(x, draw, self.p, kind=self.kind, literature_std=self.literature_std)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"p={self.p}, kind={self.kind!r}, per={self.per!r}"
