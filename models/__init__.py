"""Architectures whose norm and noise sites are chosen by one `NormConfig`."""

from models.config import PLAIN, NoiseConfig, NormConfig
from models.mlp import MLP
from models.norms import norm1d, norm2d
from models.preact_resnet import PreActResNet18
from models.registry import available, create
from models.resnet20 import ResNet20

__all__ = [
    "MLP",
    "PLAIN",
    "NoiseConfig",
    "NormConfig",
    "PreActResNet18",
    "ResNet20",
    "available",
    "create",
    "norm1d",
    "norm2d",
]
