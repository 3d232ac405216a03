"""The normaliser-free ResNet-26 for small images.

Brock, De, Smith, "Characterizing signal propagation to close the performance gap in unnormalized
ResNets" (2021, arXiv 2101.08692), with SkipInit (De and Smith, 2020, arXiv 2002.10444) and the 3×3
stem for 32×32 images, as the ghost noise paper (arXiv 2305.17205) trains it on CIFAR-10.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

import gni
from models.blocks import pooled, scaled
from models.checks import require_count
from models.config import NormConfig, require_default
from models.norms import norm2d

ALPHA = 0.2
"""Weight of every residual branch."""
GAMMA = math.sqrt(2 / (1 - 1 / math.pi))
"""What brings the variance of a rectified standard normal back to 1."""
NORMLESS = NormConfig(kind="none")
"""Neither norm nor noise."""


class ScaledWSConv2d(gni.WSConv2d):
    """A standardised convolution whose weights are scaled to GAMMA / √fan-in, with gain and bias.

    Shape:
        (B, channels_in, H, W) → (B, channels, ⌈H / stride⌉, ⌈W / stride⌉), `size` odd.
    """

    eps_in_variance = True

    def __init__(self, channels_in: int, channels: int, size: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels, size, stride, size // 2)

    def standardised_weight(self) -> Tensor:
        """Return the weight that the layer applies."""
        return GAMMA * super().standardised_weight()


class NormFreeBlock(nn.Module):
    """`skip + ALPHA · gain · conv3(act(conv2(act(conv1(h)))))` where `h = beta · act(x)`.

    `act` is the noise, then ReLU: three noise sites. The convolutions are 1×1, 3×3 and 1×1, the
    middle one of a quarter of the channels (2 at least); `gain` is a scalar that starts at zero
    (SkipInit). Where the shape changes, `skip` is a 1×1 convolution of `h`, averaged over 2×2 at
    stride 2. Otherwise it is `x`.

    Args:
        channels_in: channels of `x`.
        channels: channels of the output.
        stride: 1 or 2.
        beta: one over the standard deviation that `x` has at the start.
        norm: the noise.

    Shape:
        (B, channels_in, H, W) → (B, channels, ⌈H / stride⌉, ⌈W / stride⌉).
    """

    def __init__(
        self, channels_in: int, channels: int, stride: int, beta: float, norm: NormConfig
    ) -> None:
        super().__init__()
        middle = max(2, channels // 4)
        self.beta = beta
        self.noise1 = norm2d(norm, channels_in)
        self.conv1 = ScaledWSConv2d(channels_in, middle, 1)
        self.noise2 = norm2d(norm, middle)
        self.conv2 = ScaledWSConv2d(middle, middle, 3, stride)
        self.noise3 = norm2d(norm, middle)
        self.conv3 = ScaledWSConv2d(middle, channels, 1)
        self.gain = nn.Parameter(torch.zeros(()))
        self.skip: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
            self.skip = nn.Sequential(pool, ScaledWSConv2d(channels_in, channels, 1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Add the branch to the skip."""
        h = self.beta * torch.relu(self.noise1(x))
        skip = x if self.skip is None else self.skip(h)
        h = self.conv1(h)
        h = self.conv2(torch.relu(self.noise2(h)))
        h = self.conv3(torch.relu(self.noise3(h)))
        return skip + ALPHA * self.gain * h


class NFResNet26(nn.Module):
    """3×3 stem, eight blocks of 256, 512, 1024, 2048 channels, noise, ReLU, mean, Linear.

    No norms; 25 noise sites, one right before every ReLU. Three of the four stages start by halving
    the map, so an image of 32×32 ends as 4×4.

    Weights start from torch's default generator, the convolutions as N(0, 1 / fan-in), the Linear
    as N(0, 0.01²), biases as zero, and are the same with and without noise.

    Differences from the paper's code: weights are standardised by the unbiased variance; GAMMA is
    exact (there a sample estimate, 0.06 % more); the gains are vectors, so that weight decay, which
    leaves one-dimensional parameters alone, leaves them alone (there they were decayed).

    Args:
        in_channels: channels of the images.
        classes: K, the length of the output.
        width_multiplier: scales the channels of every stage.
        norm: kind "none"; its noise is what stands before every ReLU.

    Shape:
        (B, in_channels, H, W) → (B, K), H and W at least 8 for four stages of different size.

    Raises:
        ValueError: an argument out of range; a norm, dropout, or another kind of convolution.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        width_multiplier: float = 1.0,
        norm: NormConfig = NORMLESS,
    ) -> None:
        super().__init__()
        require_count("in_channels", in_channels, 1, "grey images have 1, colour images 3")
        require_count("classes", classes, 1, "it is the length of the output")
        _require_normless(norm)
        before = scaled(64, width_multiplier)
        self.stem = ScaledWSConv2d(in_channels, before, 3)
        blocks: list[nn.Module] = []
        variance = 1.0
        for stage, width in enumerate((256, 512, 1024, 2048)):
            channels = scaled(width, width_multiplier)
            for first in (True, False):
                stride = 2 if first and stage else 1
                blocks.append(NormFreeBlock(before, channels, stride, variance**-0.5, norm))
                # The skip of a stage's first block normalises, so the sum starts anew there.
                variance = (1.0 if first else variance) + ALPHA**2
                before = channels
        self.blocks = nn.Sequential(*blocks)
        self.noise = norm2d(norm, before)
        self.head = nn.Linear(before, classes)
        _start(self)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Compute the logits."""
        h = self.blocks(self.stem(x))
        return self.head(pooled(torch.relu(self.noise(h))))


def _require_normless(norm: NormConfig) -> None:
    if norm.kind != "none":
        raise ValueError(
            f"nf_resnet26 is normaliser-free: norm.kind must be 'none', got {norm.kind!r}; write "
            "'none', or take preact_resnet18"
        )
    require_default("nf_resnet26", norm, "dropout", "conv")


def _start(model: NFResNet26) -> None:
    """Draw the weights of convolutions and head, in the order of `model.modules()`."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="linear")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    nn.init.normal_(model.head.weight, std=0.01)
    nn.init.zeros_(model.head.bias)
