"""What stands between the sites of residual networks: dropout, convolutions, normaliser-free."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gni
from models import ConvConfig, DropoutConfig, NoiseConfig, NormConfig, create
from models.nf_resnet26 import ALPHA, GAMMA, NormFreeBlock, ScaledWSConv2d
from models.preact_resnet import PreActBlock

IMAGES = {"in_channels": 3, "image_size": 8, "classes": 5}
STANDARDISED = ConvConfig(kind="standardised")


def make(name, norm, seed=0):
    torch.manual_seed(seed)
    return create(name, **IMAGES, norm=norm, width_multiplier=1 / 8)


def sites(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("name", ["preact_resnet18", "resnet20"])
def test_dropout_stands_once_in_each_block_and_rests_in_eval(name):
    plain, dropped = (make(name, NormConfig(dropout=d)) for d in (None, DropoutConfig(p=0.3)))
    blocks = len(plain.blocks)
    assert (len(sites(plain, gni.NoiseDropout)), len(sites(dropped, gni.NoiseDropout))) == (
        0,
        blocks,
    )
    assert list(dropped.state_dict()) == list(plain.state_dict())
    x = torch.randn(4, 3, 8, 8)
    assert not torch.equal(dropped(x), dropped(x))
    plain.load_state_dict(dropped.state_dict())
    assert torch.equal(plain.eval()(x), dropped.eval()(x))


def test_dropout_is_the_last_step_before_the_second_convolution():
    """With all but the dropout known, the block is the formula of its docstring."""
    torch.manual_seed(0)
    block = PreActBlock(4, 4, 1, NormConfig(dropout=DropoutConfig(p=0.5, per="channel")))
    x = torch.randn(6, 4, 8, 8)
    torch.manual_seed(1)
    found = block(x)
    torch.manual_seed(1)
    kept = (torch.rand(6, 4, 1, 1) >= 0.5) / 0.5
    inner = F.relu(block.norm2(block.conv1(F.relu(block.norm1(x)))))
    torch.testing.assert_close(found, x + block.conv2(kept * inner))


def test_dropout_options_reach_the_layer():
    options = {"p": 0.2, "kind": "gaussian", "per": "channel", "literature_std": False}
    model = make("preact_resnet18", NormConfig(dropout=DropoutConfig(**options)))
    for site in sites(model, gni.NoiseDropout):
        assert {name: getattr(site, name) for name in options} == options


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"p": 1.0}, "dropout.p must be below 1, got 1.0; 1 would drop everything"),
        ({"p": -0.1}, "dropout.p must be a finite number of at least 0, got -0.1"),
        ({"p": 0.1, "kind": "gauss"}, "dropout.kind must be one of bernoulli, gaussian"),
        ({"p": 0.1, "per": "pixel"}, "dropout.per must be one of element, channel"),
    ],
)
def test_bad_dropout(unhooked, fields, message):
    with pytest.raises(ValueError, match=message):
        DropoutConfig(**fields)


def test_bad_convolution(unhooked):
    with pytest.raises(ValueError, match=r"conv\.kind must be one of plain, standardised"):
        ConvConfig(kind="scaled")


@pytest.mark.parametrize("name", ["preact_resnet18", "resnet20"])
@pytest.mark.parametrize("gain", [True, False])
def test_standardised_convolutions_start_alike_and_ignore_their_weights_scale(name, gain):
    conv = ConvConfig(kind="standardised", gain=gain)
    plain, model = make(name, NormConfig()), make(name, NormConfig(conv=conv))
    convs = sites(model, nn.Conv2d)
    assert all(isinstance(layer, gni.WSConv2d) for layer in convs)
    assert {layer.gain is not None for layer in convs} == {gain}
    pairs = zip(sites(plain, nn.Conv2d), convs, strict=True)
    assert all(torch.equal(a.weight, b.weight) for a, b in pairs)
    x = torch.randn(4, 3, 8, 8)
    before = model(x)
    with torch.no_grad():
        for layer in convs:
            layer.weight.mul_(3).add_(1)
    torch.testing.assert_close(model(x), before, atol=1e-3, rtol=1e-3)


def test_layer_norm_network_of_the_paper():
    """Weight-standardised convolutions, layer norm, noise between it and its gain: 20 sites."""
    noise = NoiseConfig(ghost_size=16, before_affine=True)
    norm = NormConfig(kind="layer", conv=STANDARDISED, noise=noise)
    shape = {"in_channels": 3, "image_size": 32, "classes": 100}
    with torch.device("meta"):
        model = create("preact_resnet18", **shape, norm=norm)
    assert len(sites(model, gni.GhostNoise)) == 20
    # 11 219 236 as without standardisation, and a gain for each of 4800 output channels.
    assert sum(p.numel() for p in model.parameters()) == 11_224_036


def test_normaliser_free_network_has_the_published_sites_and_size():
    """Convolutions 3·9 + … with a gain and a bias each; 25 sites, one before every ReLU."""
    noise = NoiseConfig(ghost_size=32)
    shape = {"in_channels": 3, "image_size": 32, "classes": 10}
    with torch.device("meta"):
        model = create("nf_resnet26", **shape, norm=NormConfig(kind="none", noise=noise))
    assert len(sites(model, gni.GhostNoise)) == 25
    assert len(sites(model, nn.modules.batchnorm._NormBase)) == 0
    widths = [(64, 256), (256, 256), (256, 512), (512, 512)]
    widths += [(512, 1024), (1024, 1024), (1024, 2048), (2048, 2048)]
    convs = [(3 * 9, 64)]
    for before, after in widths:
        convs += [(before, after // 4), (9 * after // 4, after // 4), (after // 4, after)]
        convs += [(before, after)] if before != after else []
    # Weights, a gain and a bias for each output; 8 scalars of SkipInit; the head.
    wanted = sum((fan_in + 2) * out for fan_in, out in convs) + 8 + 2048 * 10 + 10
    assert sum(p.numel() for p in model.parameters()) == wanted


def test_normaliser_free_block_is_its_formula():
    torch.manual_seed(0)
    block = NormFreeBlock(4, 8, 2, 0.7, NormConfig(kind="none"))
    block.gain.data.fill_(1.5)
    x = torch.randn(3, 4, 6, 6)
    h = 0.7 * F.relu(x)
    assert isinstance(block.skip, nn.Sequential)
    skip = block.skip[1](F.avg_pool2d(h, 2))
    branch = block.conv3(F.relu(block.conv2(F.relu(block.conv1(h)))))
    torch.testing.assert_close(block(x), skip + ALPHA * 1.5 * branch)


def test_normaliser_free_signals_keep_their_size():
    """Standard normal maps stay so through convolution and ReLU; SkipInit silences the branches."""
    torch.manual_seed(0)
    conv = ScaledWSConv2d(64, 512, 1)
    h = conv(F.relu(torch.randn(256, 64, 4, 4)))
    assert h.var(dim=(0, 2, 3)).mean().item() == pytest.approx(1, abs=0.05)
    assert pytest.approx(math.sqrt(1 / (0.5 - 0.5 / math.pi))) == GAMMA
    block = NormFreeBlock(4, 4, 1, 1.0, NormConfig(kind="none"))
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x), x)


def test_normaliser_free_betas_undo_the_growth_of_the_residual_stream():
    model = make("nf_resnet26", NormConfig(kind="none"))
    first, second = 1 / math.sqrt(1 + 2 * ALPHA**2), 1 / math.sqrt(1 + ALPHA**2)
    wanted = [1, second, first, second, first, second, first, second]
    assert [block.beta for block in model.blocks] == pytest.approx(wanted)
