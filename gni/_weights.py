"""Weight standardisation, as a function, a convolution and a linear layer."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gni._checks import check_eps

Scale = Literal["fan_in", "init"]


def standardise_weight(
    weight: Float[Tensor, "O *rest"],
    gain: Float[Tensor, "O"] | None = None,
    *,
    std: float | Float[Tensor, ""],
    eps: float = 1e-5,
    eps_in_variance: bool = False,
) -> Float[Tensor, "O *rest"]:
    """Give every output channel's weights mean 0 and standard deviation `std` times its gain.

    `w = std·gain·(weight - mean)/(sqrt(var) + eps)`, the unbiased variance over a channel's fan-in,
    in float32 or better; gradients flow through mean and variance. With `eps_in_variance` the
    divisor is sqrt(var + eps), as in normaliser-free networks: weights of a deviation of 0.01 then
    come out 5 % small at an eps of 1e-5.

    Raises:
        ValueError: a fan-in below 2, which has no standard deviation.

    Reference:
        Kosson et al., arXiv 2305.17205, use it before layer norm and in the normaliser-free net.
    """
    if weight[0].numel() < 2:
        raise ValueError(
            f"weight standardisation needs a fan-in of at least 2, got {weight[0].numel()}; "
            "use a plain layer here"
        )
    flat = weight.flatten(1).to(torch.promote_types(weight.dtype, torch.float32))
    var, mean = torch.var_mean(flat, dim=1, correction=1, keepdim=True)
    if eps_in_variance:
        factor = (var + eps).rsqrt() * std
    else:  # equal weights have no deviation, and the root of 0 no gradient
        factor = std / (var.clamp_min(torch.finfo(var.dtype).tiny).sqrt() + eps)
    if gain is not None:
        factor = factor * gain.unsqueeze(1)
    return ((flat - mean) * factor).to(weight.dtype).view_as(weight)


class Standardised(nn.Module):
    """What the two layers share: the gain and the standard deviation to scale to."""

    weight: Tensor
    gain: nn.Parameter | None
    init_std: Tensor | None
    eps_in_variance = False

    def init_standardised(self, scale: Scale, gain: bool, eps: float) -> None:
        """Give a constructed layer its options."""
        if scale not in ("fan_in", "init"):
            raise ValueError(f"scale must be 'fan_in' or 'init', got {scale!r}")
        self.scale: Scale = scale
        check_eps(eps)
        self.eps = eps
        ones = torch.ones(len(self.weight), dtype=self.weight.dtype, device=self.weight.device)
        self.register_parameter("gain", nn.Parameter(ones) if gain else None)
        self.register_buffer("init_std", None)
        if scale == "init":
            self.measure_init()

    def measure_init(self) -> None:
        """Take the present standard deviation of the weights for "init"; after a re-init, say."""
        self.init_std = self.weight.detach().std()

    def standardised_weight(self) -> Tensor:
        """Return the weight that the layer applies."""
        fan_in = self.weight[0].numel()
        std = 1 / math.sqrt(fan_in) if self.init_std is None else self.init_std
        return standardise_weight(
            self.weight, self.gain, std=std, eps=self.eps, eps_in_variance=self.eps_in_variance
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{super().extra_repr()}, scale={self.scale!r}, gain={self.gain is not None}"


class WSConv2d(Standardised, nn.Conv2d):
    """Conv2d with standardised weights.

    `w = std·gain·(weight - mean)/(sqrt(var) + eps)` per output channel, unbiased variance; see
    `gni.functional.standardise_weight`. Training and eval are the same and draw nothing.

    Differences from the paper's code: its option to keep the initial scale worked only in the first
    forward, so its runs were scaled to 1/√fan_in. That is our default; "init" is the intention.

    Args:
        in_channels: as in Conv2d, and so are all up to `bias`.
        out_channels: O.
        kernel_size: as in Conv2d.
        stride: as in Conv2d.
        padding: as in Conv2d.
        dilation: as in Conv2d.
        groups: as in Conv2d.
        bias: as in Conv2d.
        scale: "fan_in" scales to 1/√fan_in, "init" to the standard deviation at construction, kept
            in the buffer `init_std`; call `measure_init()` after initialising anew.
        gain: learn a gain per output channel, from 1.
        eps: added to the deviation.

    Shape:
        That of Conv2d.

    Raises:
        ValueError: an unknown scale; a negative eps; in the forward a fan-in below 2.

    Example:
        >>> WSConv2d(3, 8, 3, padding=1)(torch.randn(2, 3, 8, 8)).shape
        torch.Size([2, 8, 8, 8])

    Reference:
        Kosson et al., arXiv 2305.17205.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        *,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        scale: Scale = "fan_in",
        gain: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self.init_standardised(scale, gain, eps)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve with the standardised weight."""
        return self._conv_forward(input, self.standardised_weight(), self.bias)


class WSLinear(Standardised, nn.Linear):
    """Linear with standardised weights; options and remarks as in `WSConv2d`.

    Shape:
        (*, in_features) to (*, out_features).

    Raises:
        ValueError: an unknown scale; a negative eps; in the forward fewer than 2 input features.

    Example:
        >>> WSLinear(8, 4)(torch.randn(2, 8)).shape
        torch.Size([2, 4])

    Reference:
        Kosson et al., arXiv 2305.17205.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        scale: Scale = "fan_in",
        gain: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(in_features, out_features, bias)  # pyright: ignore[reportUnknownMemberType]
        self.init_standardised(scale, gain, eps)

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by the standardised weight."""
        return F.linear(input, self.standardised_weight(), self.bias)
