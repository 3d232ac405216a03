"""A multilayer perceptron of any depth and width.

Hoffer et al. (2017, arXiv 1705.08741) train one of five hidden layers of 512 on MNIST.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.checks import require_count
from models.config import PLAIN, NormConfig, require_default
from models.norms import norm1d


class MLP(nn.Module):
    """Flatten, then `depth` times [Linear, norm, ReLU], then Linear.

    `depth` norm sites. A hidden Linear has a bias only without a norm, whose own bias would make
    it idle; that bias starts at zero. Weights start as torch's Linear does, from torch's default
    generator, and are the same for every norm and noise.

    Args:
        in_features: numbers in one image, channels · height · width.
        classes: K, the length of the output.
        depth: hidden layers.
        width: features of each hidden layer.
        norm: what stands between Linear and ReLU.

    Shape:
        (B, *image) → (B, K), where the image holds `in_features` numbers.

    Raises:
        ValueError: an argument below 1, a norm that does not fit the width, dropout, standardised
            convolutions.

    Example:
        >>> MLP(784, 10, depth=5, width=512)(torch.zeros(4, 1, 28, 28)).shape
        torch.Size([4, 10])
    """

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        depth: int = 3,
        width: int = 128,
        norm: NormConfig = PLAIN,
    ) -> None:
        super().__init__()
        require_default("mlp", norm, "dropout", "conv")
        require_count("in_features", in_features, 1, "it counts the numbers in one image")
        require_count("classes", classes, 1, "it is the length of the output")
        require_count("depth", depth, 1, "a network without hidden layers has no norm site")
        require_count("width", width, 1, "it is the number of features of a hidden layer")
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in, fan_out in pairwise([in_features, *[width] * depth]):
            layers += [_linear(fan_in, fan_out, norm), norm1d(norm, fan_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, classes))

    def forward(self, x: Float[Tensor, "B *image"]) -> Float[Tensor, "B K"]:
        """Compute the logits."""
        return self.layers(x)


def _linear(fan_in: int, fan_out: int, norm: NormConfig) -> nn.Linear:
    linear = nn.Linear(fan_in, fan_out, bias=False)
    if norm.kind == "none":
        # Zero rather than drawn, so that the layers after it draw the same weights.
        linear.bias = nn.Parameter(torch.zeros(fan_out))
    return linear
