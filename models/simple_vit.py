"""A simple vision transformer for small images.

Beyer, Zhai, Kolesnikov, "Better plain ViT baselines for ImageNet-1k" (2022, arXiv 2205.01580): no
class token, fixed positions, the mean of the tokens; of the size that the ghost noise paper
(arXiv 2305.17205) trains on CIFAR-10, with norms round the patch embedding.

Shapes: B batch, T tokens, D dim, P numbers in a patch.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.checks import require_count
from models.config import NormConfig, require_default
from models.norms import norm_tokens

LAYER = NormConfig(kind="layer")
"""Layer norm without noise."""


class Attention(nn.Module):
    """A norm, then self-attention of `heads` heads of `head_dim` each, without biases.

    Shape:
        (B, T, D) → the same.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, norm: NormConfig) -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm_tokens(norm, dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Attend from every token to every token."""
        qkv = self.to_qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        q, k, v = qkv.unbind(2)
        heads = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.to_out(heads.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """`h = x + attention(x)`, then `h + linear(gelu(linear(norm(h))))`: two norm sites.

    Shape:
        (B, T, D) → the same.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, hidden: int, norm: NormConfig) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, head_dim, norm)
        self.norm = norm_tokens(norm, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Mix the tokens, then each by itself."""
        h = x + self.attention(x)
        return h + self.mlp(self.norm(h))


class SimpleViT(nn.Module):
    """Patches, norm, Linear, norm, plus positions; `depth` blocks; norm, mean over tokens, Linear.

    2 · `depth` + 3 norm sites, so 15 as published; 18.93 M parameters with 3 channels and 10
    classes. Weights start as torch's own, from its default generator, and are the same for every
    norm and noise.

    Args:
        in_channels: channels of the images.
        image_size: height and width of the images.
        classes: K, the length of the output.
        patch: side of a patch.
        dim: D, features of a token.
        depth: blocks.
        heads: heads of each attention.
        head_dim: features of a head.
        hidden: features of the hidden layer of a block.
        norm: what stands at the norm sites.

    Shape:
        (B, in_channels, image_size, image_size) → (B, K).

    Raises:
        ValueError: an argument below 1, patches that do not tile the image, a dim that 4 does not
            divide, a norm that does not fit dim and patch, dropout, convolutions.
    """

    positions: Tensor

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        classes: int,
        *,
        patch: int = 4,
        dim: int = 512,
        depth: int = 6,
        heads: int = 16,
        head_dim: int = 64,
        hidden: int = 1024,
        norm: NormConfig = LAYER,
    ) -> None:
        super().__init__()
        require_default("simple_vit", norm, "dropout", "conv")
        counts = {"in_channels": in_channels, "classes": classes, "patch": patch, "dim": dim}
        counts |= {"depth": depth, "heads": heads, "head_dim": head_dim, "hidden": hidden}
        for name, count in counts.items():
            require_count(name, count, 1, "it counts what the network is made of")
        _require_divides("patch", patch, "image_size", image_size)
        _require_divides("4", 4, "dim", dim)
        self.patch = patch
        numbers = in_channels * patch**2
        self.embed = nn.Sequential(
            norm_tokens(norm, numbers), nn.Linear(numbers, dim), norm_tokens(norm, dim)
        )
        self.register_buffer("positions", _positions(image_size // patch, dim), persistent=False)
        self.blocks = nn.Sequential(
            *[Block(dim, heads, head_dim, hidden, norm) for _ in range(depth)]
        )
        self.norm = norm_tokens(norm, dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Compute the logits."""
        tokens = self.embed(_patches(x, self.patch)) + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(1))


def _patches(x: Float[Tensor, "B C H W"], patch: int) -> Float[Tensor, "B T P"]:
    """Cut images into square patches, row by row."""
    return nn.functional.pixel_unshuffle(x, patch).flatten(2).transpose(1, 2)


def _positions(side: int, dim: int) -> Float[Tensor, "T D"]:
    """Give each place of a square grid sines and cosines of its column and row.

    A quarter of the features each, with frequencies from 1 down to 1e-4 in equal ratios.
    """
    rates = 1e-4 ** torch.linspace(0, 1, dim // 4)
    angles = torch.outer(torch.arange(side, dtype=torch.float32), rates)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns, rows = waves.repeat(side, 1), waves.repeat_interleave(side, 0)
    return torch.cat([columns, rows], dim=1)


def _require_divides(name: str, divisor: int, whole_name: str, whole: int) -> None:
    if whole % divisor:
        below = max(n for n in range(1, divisor) if whole % n == 0)
        raise ValueError(
            f"{name} must divide {whole_name}, got {divisor} for {whole}; "
            f"{below} divides {whole}, {divisor} divides {whole - whole % divisor}"
        )
