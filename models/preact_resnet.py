"""The pre-activation ResNet-18 for small images.

He et al., "Identity Mappings in Deep Residual Networks" (2016, arXiv 1603.05027), with the 3×3 stem
for 32×32 images, as the ghost noise paper (arXiv 2305.17205) trains it on CIFAR-100.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.blocks import conv, dropout, pooled, scaled, start_convs
from models.checks import require_count
from models.config import PLAIN, NormConfig
from models.norms import norm2d


class PreActBlock(nn.Module):
    """`skip(x) + conv2(dropout(relu(norm2(conv1(relu(norm1(x)))))))`, both convolutions 3×3.

    Where the shape changes, `skip` is a norm of its own, then a 1×1 convolution: three norm sites
    instead of two. Otherwise it is the identity.

    Shape:
        (B, channels_in, H, W) → (B, channels, ⌈H / stride⌉, ⌈W / stride⌉).
    """

    def __init__(self, channels_in: int, channels: int, stride: int, norm: NormConfig) -> None:
        super().__init__()
        self.norm1 = norm2d(norm, channels_in)
        self.conv1 = conv(channels_in, channels, 3, norm, stride=stride)
        self.norm2 = norm2d(norm, channels)
        self.dropout = dropout(norm)
        self.conv2 = conv(channels, channels, 3, norm)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            project = conv(channels_in, channels, 1, norm, stride=stride)
            self.skip = nn.Sequential(OrderedDict(norm=norm2d(norm, channels_in), conv=project))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Add the branch to the skip."""
        h = self.conv1(torch.relu(self.norm1(x)))
        return self.skip(x) + self.conv2(self.dropout(torch.relu(self.norm2(h))))


class PreActResNet18(nn.Module):
    """3×3 stem without norm, eight blocks of 64, 128, 256, 512 channels, norm, ReLU, mean, Linear.

    20 norm sites; 11.22 M parameters with 3 channels and 100 classes. Three of the four stages
    start by halving the map, so an image of 32×32 ends as 4×4.

    Weights start from torch's default generator, the convolutions as in `start_convs`, the Linear
    as torch's own, and are the same for every norm, noise, dropout and kind of convolution.

    Args:
        in_channels: channels of the images.
        classes: K, the length of the output.
        width_multiplier: scales the channels of every stage.
        norm: what stands at the norm sites; dropout; the kind of every convolution.

    Shape:
        (B, in_channels, H, W) → (B, K), H and W at least 8 for four stages of different size.

    Raises:
        ValueError: an argument out of range, or a norm that does not fit the channels.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        width_multiplier: float = 1.0,
        norm: NormConfig = PLAIN,
    ) -> None:
        super().__init__()
        require_count("in_channels", in_channels, 1, "grey images have 1, colour images 3")
        require_count("classes", classes, 1, "it is the length of the output")
        widths = [scaled(channels, width_multiplier) for channels in (64, 128, 256, 512)]
        self.stem = conv(in_channels, widths[0], 3, norm)
        blocks: list[nn.Module] = []
        before = widths[0]
        for stage, width in enumerate(widths):
            blocks.append(PreActBlock(before, width, 1 if stage == 0 else 2, norm))
            blocks.append(PreActBlock(width, width, 1, norm))
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm2d(norm, before)
        self.head = nn.Linear(before, classes)
        start_convs(self)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Compute the logits."""
        h = self.blocks(self.stem(x))
        return self.head(pooled(torch.relu(self.norm(h))))
