"""Architectures whose norms, noise, dropout and convolutions are chosen by one `NormConfig`."""

from models.config import PLAIN, ConvConfig, DropoutConfig, NoiseConfig, NormConfig
from models.convmixer import ConvMixer
from models.mlp import MLP
from models.nf_resnet26 import NFResNet26
from models.norms import norm1d, norm2d, norm_tokens
from models.preact_resnet import PreActResNet18
from models.registry import available, create
from models.resnet20 import ResNet20
from models.simple_vit import SimpleViT

__all__ = [
    "MLP",
    "PLAIN",
    "ConvConfig",
    "ConvMixer",
    "DropoutConfig",
    "NFResNet26",
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
