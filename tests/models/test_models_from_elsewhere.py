"""Models from torchvision and from the user's own code: shapes, noise at their norms, errors."""

import sys

import pytest
import torch
from torch import nn

import gni
from models import DropoutConfig, NoiseConfig, NormConfig, create

NOISY = NormConfig(noise=NoiseConfig(ghost_size=4, strength=0.5, eps=0.2, shift=False))
IMAGES = {"in_channels": 3, "image_size": 32, "classes": 5}
OWN = """
import torch
from torch import nn

def conv(in_channels, image_size, classes, width=4):
    layers = nn.Conv2d(in_channels, width, 3), nn.BatchNorm2d(width), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(width * (image_size - 2) ** 2, classes))

def normless(**images):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(images["classes"]))

def nothing(**images):
    return images

def broken(**images):
    raise RuntimeError("from the user's own code")

class Zoo:
    conv = staticmethod(conv)

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(OWN)
    (tmp_path / "my_broken.py").write_text("import no_such_module_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_models", None)


def make(name, norm=None, seed=0, **change):
    torch.manual_seed(seed)
    return create(name, **{**IMAGES, "norm": norm or NormConfig(), **change})


def test_torchvision_model_has_the_classes_asked():
    model = make("torchvision:mobilenet_v3_small")
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    assert all(module.training for module in model.modules())


def test_torchvision_model_takes_noise_in_its_batch_norms_from_the_same_start():
    plain, noisy = make("torchvision:resnet18"), make("torchvision:resnet18", NOISY)
    sites = [m for m in noisy.modules() if isinstance(m, gni.GhostNoiseBatchNorm2d)]
    assert len(sites) == 20
    assert {(s.ghost_size, float(s.strength), s.noise_eps, s.shift, s.scale) for s in sites} == {
        (4, 0.5, 0.2, False, True)
    }
    assert plain.state_dict().keys() == noisy.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(plain.parameters(), noisy.parameters(), strict=True)
    )
    x = torch.randn(4, 3, 32, 32)
    noisy(x).sum().backward()
    assert not torch.equal(noisy(x), plain(x))


def test_resnet50_is_the_published_one():
    """He et al. (2016, arXiv 1512.03385): 25.6 M parameters; 53 batch norms take noise."""
    with torch.device("meta"):
        model = make("torchvision:resnet50", NOISY, classes=1000, image_size=224)
    assert sum(p.numel() for p in model.parameters()) == 25_557_032
    assert sum(isinstance(m, gni.GhostNoiseBatchNorm2d) for m in model.modules()) == 53


def test_layer_norms_of_a_vision_transformer_take_noise_over_their_tokens():
    model = make("torchvision:vit_b_32", NOISY)
    sites = [m for m in model.modules() if isinstance(m, gni.GhostNoise)]
    assert len(sites) == sum(isinstance(m, nn.LayerNorm) for m in model.modules()) == 25
    assert {(s.eps, s.shift, s.scale, s.channel_dim) for s in sites} == {(0.2, False, True, -1)}
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_grey_images_are_shown_in_three_channels():
    model = make("torchvision:mobilenet_v3_small", in_channels=1).eval()
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(model(x), model.model(x.repeat(1, 3, 1, 1)))


def test_torchvision_options_are_passed_on():
    assert make("torchvision:mobilenet_v3_small", dropout=0.7).classifier[2].p == 0.7


def test_googlenet_gives_one_output_in_training():
    model = make("torchvision:googlenet")
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_own_function_is_called_with_images_and_options(own):
    model = make("my_models:conv", width=6)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    assert model[0].out_channels == 6
    assert make("my_models:Zoo.conv")[0].out_channels == 4


def test_own_model_takes_noise_at_its_norm_from_the_same_start(own):
    plain, noisy = make("my_models:conv"), make("my_models:conv", NOISY)
    assert isinstance(noisy[1], gni.GhostNoiseBatchNorm2d)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.parameters(), noisy.parameters(), strict=True)
    )


def test_exceptions_of_the_own_function_pass(own):
    with pytest.raises(RuntimeError, match="from the user's own code"):
        make("my_models:broken")


ANALYTIC = NormConfig(noise=NoiseConfig(kind="analytic", ghost_size=4))
BAD = [
    ("torchvision:resnet18", {"norm": ANALYTIC}, "take noise.kind 'ghost' .* got 'analytic'"),
    ("torchvision:resnet5", {}, "no classification model 'resnet5'.*did you mean 'resnet50'"),
    ("torchvision:fcn_resnet50", {}, "no classification model"),
    ("torchvision:resnet18", {"in_channels": 2}, "images of 1 or 3 channels, got 2"),
    ("torchvision:resnet18", {"weights": "DEFAULT"}, "always made with weights=None, got 'DEF"),
    ("torchvision:resnet18", {"depth": 3}, "cannot make resnet18 with .*depth=3: .*'depth'"),
    ("torchvision:alexnet", {}, "cannot take images of 32 by 32 pixels.*preact_resnet18"),
    (
        "torchvision:vit_b_32",
        {"image_size": 33},
        "cannot make vit_b_32 with .*image_size=33: .*indivisible",
    ),
    ("torchvision:squeezenet1_1", {"norm": NOISY}, "must have batch, layer or group norms"),
    ("torchvision:resnet18", {"norm": NormConfig(kind="layer")}, "got norm.kind='layer'; leave"),
    ("torchvision:resnet18", {"norm": NormConfig(eps=0.1)}, "takes norm.noise alone, got norm.eps"),
    (
        "torchvision:resnet18",
        {"norm": NormConfig(dropout=DropoutConfig(p=0.1))},
        "takes norm.noise alone, got norm.dropout={'p': 0.1",
    ),
    ("no_such_package:function", {}, "importable as package.module:function, got ModuleNotFound"),
    ("my_broken:function", {}, "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
    ("my_models:", {}, "has no ''; correct the name after the colon"),
    (":conv", {}, "importable as package.module:function"),
    ("my_models:convv", {}, "has no 'convv'.*did you mean 'conv'"),
    ("my_models:number", {}, "must be a function that returns a model, got int"),
    ("my_models:nothing", {}, "must return a torch.nn.Module, got dict; return the model"),
    ("my_models:conv", {"widht": 3}, "must accept the keywords .*got an unexpected keyword"),
    ("my_models:normless", {"norm": NOISY}, "must have batch, layer or group norms"),
    ("my_models:conv", {"norm": NormConfig(kind="none")}, "got norm.kind='none'; leave that out"),
]


@pytest.mark.parametrize(
    ("name", "change", "message"), BAD, ids=[f"{n}-{m[:20]}" for n, _, m in BAD]
)
def test_bad_input(own, name, change, message):
    with pytest.raises(ValueError, match=message):
        make(name, **change)
