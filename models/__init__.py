"""Architectures whose norm and noise sites are chosen by one `NormConfig`."""

from models.config import PLAIN, NoiseConfig, NormConfig
from models.convmixer import ConvMixer
from models.mlp import MLP
from models.norms import norm1d, norm2d, norm_tokens
from models.preact_resnet import PreActResNet18
from models.registry import available, create
from models.resnet20 import ResNet20
from models.simple_vit import SimpleViT

__all__ = [
    "MLP",
    "PLAIN",
    "ConvMixer",
    "NoiseConfig",
    "NormConfig",
    "PreActResNet18",
    "ResNet20",
    "SimpleViT",
    "available",
    "create",
    "norm1d",
    "norm2d",
    "norm_tokens",
]
