"""ConvMixer for small images.

Trockman and Kolter, "Patches Are All You Need?" (2022, arXiv 2201.09792), of the size that the
ghost noise paper (arXiv 2305.17205) trains on CIFAR-10.
"""

from jaxtyping import Float
from torch import Tensor, nn

from models.blocks import pooled
from models.checks import require_count
from models.config import PLAIN, NormConfig, require_default
from models.norms import norm2d


class MixerBlock(nn.Module):
    """`h = x + norm1(gelu(depthwise(x)))`, then `norm2(gelu(pointwise(h)))`: two norm sites.

    Shape:
        (B, C, H, W) → the same.
    """

    def __init__(self, channels: int, kernel: int, norm: NormConfig) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding="same", groups=channels)
        self.norm1 = norm2d(norm, channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.norm2 = norm2d(norm, channels)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Mix space, then channels."""
        h = x + self.norm1(nn.functional.gelu(self.depthwise(x)))
        return self.norm2(nn.functional.gelu(self.pointwise(h)))


class ConvMixer(nn.Module):
    """Patches by a strided convolution, GELU, norm; `depth` mixer blocks; mean, Linear.

    2 · `depth` + 1 norm sites, so 17 as published; 0.59 M parameters with 3 channels and 10
    classes. Weights start as torch's own, from its default generator, and are the same for every
    norm and noise.

    Args:
        in_channels: channels of the images.
        classes: K, the length of the output.
        dim: channels between the blocks.
        depth: mixer blocks.
        kernel: side of the depthwise convolutions.
        patch: side of a patch; what is left over at the right and below is cut off.
        norm: what stands at the norm sites.

    Shape:
        (B, in_channels, H, W) → (B, K), H and W at least `patch`.

    Raises:
        ValueError: an argument below 1, a norm that does not fit `dim`, dropout, standardised
            convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        dim: int = 256,
        depth: int = 8,
        kernel: int = 5,
        patch: int = 2,
        norm: NormConfig = PLAIN,
    ) -> None:
        super().__init__()
        require_default("convmixer", norm, "dropout", "conv")
        require_count("in_channels", in_channels, 1, "grey images have 1, colour images 3")
        require_count("classes", classes, 1, "it is the length of the output")
        require_count("dim", dim, 1, "256 is published")
        require_count("depth", depth, 1, "8 is published")
        require_count("kernel", kernel, 1, "5 is published")
        require_count("patch", patch, 1, "2 is published")
        self.stem = nn.Conv2d(in_channels, dim, patch, stride=patch)
        self.norm = norm2d(norm, dim)
        self.blocks = nn.Sequential(*[MixerBlock(dim, kernel, norm) for _ in range(depth)])
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Compute the logits."""
        h = self.norm(nn.functional.gelu(self.stem(x)))
        return self.head(pooled(self.blocks(h)))
