"""What norm sites are put together from, besides the norms and the noise."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ChannelAffine(nn.Module):
    """Gain and bias of each channel: `y = weight · x + bias`, both (C,), from one and zero.

    The last step of a norm whose noise stands between normalisation and gain.

    Args:
        channels: C.
        channel_dim: the dim of the channels, 1 or -1.
    """

    def __init__(self, channels: int, *, channel_dim: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.channel_dim = channel_dim

    def forward(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "B *rest"]:
        """Scale and shift each channel of `x`."""
        shape = [1] * x.dim()
        shape[self.channel_dim] = -1
        return torch.addcmul(self.bias.view(shape), x, self.weight.view(shape))


class ChannelsFirst(nn.Module):
    """Give tokens to a norm of (B, C, T): (B, T, C) → (B, T, C)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """Transpose, normalise, transpose."""
        return self.norm(x.transpose(1, 2)).transpose(1, 2)
