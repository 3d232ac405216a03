"""Models by name: shapes, sites, sizes, starts, errors."""

import subprocess
import sys
from functools import cache

import pytest
import torch
from torch import nn

import gni
from models import ConvConfig, DropoutConfig, NoiseConfig, NormConfig, available, create

NOISE = NoiseConfig(ghost_size=4)
ANALYTIC = NoiseConfig(kind="analytic", ghost_size=8)
NORMS = {
    "batch": NormConfig(),
    "ghost_batch": NormConfig(kind="ghost_batch", ghost_size=2),
    # With 4 samples of 2×2 maps it multiplies an outlier layer by layer, up to 1e16 after 21 sites.
    "exclusive_batch": NormConfig(kind="exclusive_batch", ghost_size=16),
    "eval_norm": NormConfig(kind="eval_norm", ghost_size=2),
    "layer": NormConfig(kind="layer"),
    "group": NormConfig(kind="group", groups=2),
    "none": NormConfig(kind="none"),
}
STANDARDISED = ConvConfig(kind="standardised")
ENOUGH = {
    "batch": ("plain", "noise", "analytic"),
    "exclusive_batch": ("plain",),
    "eval_norm": ("plain",),
}
"""Norms whose noise test_norms.py covers need no more here; each model costs time."""
SMALL = {
    "convmixer": {"depth": 2, "dim": 8, "kernel": 3},
    "mlp": {"depth": 2, "width": 8},
    "nf_resnet26": {"width_multiplier": 1 / 16},
    "preact_resnet18": {"width_multiplier": 1 / 16},
    "resnet20": {"width_multiplier": 1 / 4},
    "simple_vit": {"depth": 1, "dim": 8, "heads": 2, "head_dim": 4, "hidden": 8},
}
EVERY_NORM = [
    pytest.param(NormConfig(**{**norm.__dict__, "noise": noise}), id=f"{kind}-{label}")
    for kind, norm in NORMS.items()
    for label, noise in (("plain", None), ("noise", NOISE), ("analytic", ANALYTIC))
    if label in ENOUGH.get(kind, ("plain", "noise"))
]
EVERY_MODEL_AND_NORM = [
    pytest.param(name, *norm.values, id=f"{name}-{norm.id}")
    for name in available()
    for norm in EVERY_NORM
    if name != "nf_resnet26" or norm.id.startswith("none")
]


def small(name, norm=None, *, seed=0, in_channels=1):
    torch.manual_seed(seed)
    norm = norm or NORMS["none" if name == "nf_resnet26" else "batch"]
    images = {"in_channels": in_channels, "image_size": 8, "classes": 3}
    return create(name, **images, norm=norm, **SMALL[name])


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def count(model, kind):
    return sum(isinstance(module, kind) for module in model.modules())


def test_available_names_our_models():
    assert available() == sorted(SMALL)


@pytest.mark.parametrize(("name", "norm"), EVERY_MODEL_AND_NORM)
def test_every_model_with_every_norm_trains_and_evaluates(name, norm):
    model = small(name, norm)
    batch = max(4, norm.ghost_size or 0)
    x = torch.randn(batch, 1, 8, 8)
    logits = model(x)
    logits.square().sum().backward()
    assert logits.shape == (batch, 3)
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    model.eval()
    assert torch.equal(model(x), model(x))
    assert model(x[:1]).shape == (1, 3)


@cache
def plain_start(name):
    """What a model without noise starts from, and the generator's state after it."""
    return drawn(small(name)), torch.get_rng_state()


@pytest.mark.parametrize(("name", "norm"), EVERY_MODEL_AND_NORM)
def test_norm_and_noise_change_neither_start_nor_generator(name, norm):
    plain, state = plain_start(name)
    other = drawn(small(name, norm))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))


@pytest.mark.parametrize("name", available())
def test_another_seed_gives_another_start(name):
    other = drawn(small(name, seed=1))
    pairs = zip(plain_start(name)[0], other, strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs if a.any())


def drawn(model):
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return [layer.weight for layer in layers] + [layers[-1].bias]


@pytest.mark.parametrize(
    ("name", "images", "options", "sites", "size"),
    [
        # 784·512 + 4·512² weights, 5·2·512 of the norms, 512·10 + 10 of the head.
        ("mlp", (1, 28, 10), {"depth": 5, "width": 512}, 5, 1_460_234),
        # 11 159 232 weights of convolutions, 2·4352 of the norms, 512·100 + 100 of the head.
        ("preact_resnet18", (3, 32, 100), {}, 20, 11_219_236),
        ("resnet20", (3, 32, 10), {}, 21, 272_474),
        # Convolutions 3328 and 8·(6656 + 65 792), 17·2·256 of the norms, 256·10 + 10 of the head.
        ("convmixer", (3, 32, 10), {}, 17, 594_186),
        # 25 088 of the embedding, 6·3 147 264 in blocks, 2·48 + 14·2·512 of the norms, 5130.
        ("simple_vit", (3, 32, 10), {}, 15, 18_928_234),
    ],
)
def test_sites_and_sizes_are_the_published_ones(name, images, options, sites, size):
    in_channels, image_size, classes = images
    shape = {"in_channels": in_channels, "image_size": image_size, "classes": classes}
    plain = create(name, **shape, **options)
    assert count(plain, nn.modules.batchnorm._BatchNorm) == sites
    assert parameters(plain) == size
    noisy = create(name, **shape, norm=NormConfig(noise=NOISE), **options)
    assert count(noisy, gni.GhostNoiseBatchNorm) == sites
    assert list(noisy.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("mlp", 2),
        ("preact_resnet18", 20),
        ("resnet20", 21),
        ("convmixer", 5),
        ("simple_vit", 5),
        ("nf_resnet26", 25),
    ],
)
def test_noise_stands_at_every_site_without_norms(name, sites):
    model = small(name, NormConfig(kind="none", noise=NOISE))
    assert count(model, gni.GhostNoise) == sites


@pytest.mark.parametrize("image_size", [8, 9, 17, 32])
@pytest.mark.parametrize("name", ["preact_resnet18", "resnet20", "nf_resnet26"])
def test_resnets_take_any_image(name, image_size):
    model = small(name, in_channels=2)
    assert model(torch.randn(2, 2, image_size, image_size)).shape == (2, 3)


def test_width_multiplier_scales_the_channels():
    shape = {"in_channels": 3, "image_size": 32, "classes": 10}
    wide, narrow = (create("resnet20", **shape, width_multiplier=w) for w in (2.0, 0.5))
    assert (wide.head.in_features, narrow.head.in_features) == (128, 32)


def test_vision_transformer_sees_where_a_patch_is_and_nothing_else():
    model = small("simple_vit", NORMS["layer"]).eval()
    x = torch.randn(1, 1, 8, 8)
    moved = x.roll(4, 3)
    assert not torch.allclose(model(x), model(moved), atol=1e-3)
    model.positions.zero_()
    torch.testing.assert_close(model(x), model(moved))


def test_noise_of_a_vision_transformer_is_over_tokens():
    model = small("simple_vit", NormConfig(kind="layer", noise=NOISE))
    sites = [m for m in model.modules() if isinstance(m, gni.GhostNoise)]
    assert [site.channel_dim for site in sites] == [-1] * 5


def test_hidden_biases_exist_only_without_norms():
    assert small("mlp").layers[1].bias is None
    assert small("mlp", NORMS["none"]).layers[1].bias.abs().sum() == 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("preact_resnet_18", {}, "known are convmixer, .*did you mean 'preact_resnet18'"),
        ("mlp", {"depht": 3}, "mlp has no option 'depht': its options are depth, width"),
        ("mlp", {"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ("mlp", {"width": 0}, "width must be an integer of at least 1, got 0"),
        ("mlp", {"classes": 1}, "classes must be an integer of at least 2, got 1"),
        ("mlp", {"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ("preact_resnet18", {"image_size": 7}, "image_size must be an integer of at least 8"),
        ("resnet20", {"image_size": 3}, "image_size must be an integer of at least 4"),
        ("resnet20", {"width_multiplier": 0.0}, "width_multiplier must be a finite number above 0"),
        ("resnet20", {"width_multiplier": 0.01}, "got 0.01; take 0.0625 or more"),
        ("nf_resnet26", {"image_size": 7}, "image_size must be an integer of at least 8, got 7"),
        ("nf_resnet26", {}, "norm.kind must be 'none', got 'batch'; write 'none'"),
        (
            "nf_resnet26",
            {"norm": NormConfig(kind="none", conv=STANDARDISED)},
            "nf_resnet26 has no place for norm.conv={'kind': 'standardised'",
        ),
        (
            "mlp",
            {"norm": NormConfig(dropout=DropoutConfig(p=0.1))},
            "mlp has no place for norm.dro",
        ),
        ("convmixer", {"norm": NormConfig(conv=STANDARDISED)}, "convmixer has no place for norm.c"),
        ("simple_vit", {"norm": NormConfig(conv=STANDARDISED)}, "simple_vit has no place for norm"),
        ("convmixer", {"image_size": 1}, "image_size must be an integer of at least 2, got 1"),
        ("convmixer", {"kernel": 0}, "kernel must be an integer of at least 1, got 0"),
        (
            "simple_vit",
            {"image_size": 30},
            "patch must divide image_size, got 4 for 30; 3 divides 30, 4 divides 28",
        ),
        ("simple_vit", {"dim": 30}, "4 must divide dim, got 4 for 30"),
        ("simple_vit", {"heads": 0}, "heads must be an integer of at least 1, got 0"),
        ("resnet20", {"norm": NormConfig(kind="group")}, "got 32 groups for 16 channels"),
    ],
)
def test_bad_input(name, change, message):
    shape = {"in_channels": 3, "image_size": 32, "classes": 10}
    with pytest.raises(ValueError, match=message):
        create(name, **{**shape, **change})


def test_import_pulls_in_neither_torchvision_nor_ray():
    script = "import sys, models; print({'torchvision', 'ray', 'PIL'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
