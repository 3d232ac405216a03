"""ResNet-20 for small images.

He et al., "Deep Residual Learning for Image Recognition" (2016, arXiv 1512.03385), section 4.2, but
with projections instead of padded zeros where the shape changes, as the ghost noise paper
(arXiv 2305.17205) trains it on CIFAR-10.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.blocks import conv, dropout, pooled, scaled, start_convs
from models.checks import require_count
from models.config import PLAIN, NormConfig
from models.norms import norm2d


class BasicBlock(nn.Module):
    """`relu(skip(x) + norm2(conv2(dropout(relu(norm1(conv1(x)))))))`, both convolutions 3×3.

    Where the shape changes, `skip` is a 1×1 convolution, then a norm of its own: three norm sites
    instead of two. Otherwise it is the identity.

    Shape:
        (B, channels_in, H, W) → (B, channels, ⌈H / stride⌉, ⌈W / stride⌉).
    """

    def __init__(self, channels_in: int, channels: int, stride: int, norm: NormConfig) -> None:
        super().__init__()
        self.conv1 = conv(channels_in, channels, 3, norm, stride=stride)
        self.norm1 = norm2d(norm, channels)
        self.dropout = dropout(norm)
        self.conv2 = conv(channels, channels, 3, norm)
        self.norm2 = norm2d(norm, channels)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            project = conv(channels_in, channels, 1, norm, stride=stride)
            self.skip = nn.Sequential(OrderedDict(conv=project, norm=norm2d(norm, channels)))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Add the branch to the skip, then rectify."""
        h = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.skip(x) + self.norm2(self.conv2(self.dropout(h))))


class ResNet20(nn.Module):
    """3×3 stem with norm and ReLU, nine blocks of 16, 32, 64 channels, mean, Linear.

    21 norm sites; 0.27 M parameters with 3 channels and 10 classes. Two of the three stages start
    by halving the map, so an image of 32×32 ends as 8×8.

    Weights start from torch's default generator, the convolutions as in `start_convs`, the Linear
    as torch's own, and are the same for every norm, noise, dropout and kind of convolution.

    Args:
        in_channels: channels of the images.
        classes: K, the length of the output.
        width_multiplier: scales the channels of every stage.
        norm: what stands at the norm sites; dropout; the kind of every convolution.

    Shape:
        (B, in_channels, H, W) → (B, K), H and W at least 4 for three stages of different size.

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
        widths = [scaled(channels, width_multiplier) for channels in (16, 32, 64)]
        self.stem = conv(in_channels, widths[0], 3, norm)
        self.norm = norm2d(norm, widths[0])
        blocks: list[nn.Module] = []
        before = widths[0]
        for stage, width in enumerate(widths):
            blocks.append(BasicBlock(before, width, 1 if stage == 0 else 2, norm))
            blocks.extend(BasicBlock(width, width, 1, norm) for _ in range(2))
            before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, classes)
        start_convs(self)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Compute the logits."""
        h = self.blocks(torch.relu(self.norm(self.stem(x))))
        return self.head(pooled(h))
