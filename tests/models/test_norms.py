"""Norm sites: what stands there, where the noise enters, what bad input gets."""

import pytest
import torch
from torch import nn

import gni
from models import NoiseConfig, NormConfig, norm1d, norm2d, norm_tokens

NOISE = NoiseConfig(ghost_size=4)
ANALYTIC = NoiseConfig(kind="analytic", ghost_size=4)
GROUPED = ["ghost_batch", "exclusive_batch", "eval_norm"]
KINDS = ["batch", *GROUPED, "layer", "group", "none"]


def config(kind, noise=None, **fields):
    if kind in GROUPED:
        fields = {"ghost_size": 4, **fields}
    return NormConfig(kind=kind, groups=2, noise=noise, **fields)


def example(dims, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (8, 6) if dims == 1 else (8, 6, 4, 4)
    return 3 * torch.randn(shape, generator=generator) + 1


def site(dims, norm, channels=6):
    return (norm1d if dims == 1 else norm2d)(norm, channels)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize(
    ("kind", "of_vectors", "of_maps"),
    [
        ("batch", nn.BatchNorm1d, nn.BatchNorm2d),
        ("ghost_batch", gni.GhostBatchNorm1d, gni.GhostBatchNorm2d),
        ("exclusive_batch", gni.ExclusiveBatchNorm1d, gni.ExclusiveBatchNorm2d),
        ("eval_norm", gni.EvalNorm1d, gni.EvalNorm2d),
        ("layer", nn.LayerNorm, nn.GroupNorm),
        ("group", nn.GroupNorm, nn.GroupNorm),
        ("none", nn.Identity, nn.Identity),
    ],
)
def test_each_kind_makes_its_layer(kind, of_vectors, of_maps, dims):
    assert type(site(dims, config(kind))) is (of_vectors if dims == 1 else of_maps)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("noise", [None, NOISE, NoiseConfig(ghost_size=4, shift=False), ANALYTIC])
@pytest.mark.parametrize("kind", KINDS)
def test_eval_ignores_the_noise(kind, noise, dims):
    x = example(dims)
    plain = site(dims, config(kind)).eval()
    torch.testing.assert_close(site(dims, config(kind, noise)).eval()(x), plain(x))


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("noise", ["ghost", "analytic"])
@pytest.mark.parametrize("kind", KINDS)
def test_noise_of_strength_zero_is_the_norm_alone(kind, noise, dims):
    x = example(dims)
    silent = site(dims, config(kind, NoiseConfig(kind=noise, ghost_size=4, strength=0.0)))
    torch.testing.assert_close(silent(x), site(dims, config(kind))(x))


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("noise", [NOISE, ANALYTIC])
@pytest.mark.parametrize("kind", KINDS)
def test_noise_differs_between_two_training_passes(kind, noise, dims):
    torch.manual_seed(1)
    noisy = site(dims, config(kind, noise))
    x = example(dims)
    assert (noisy(x) - noisy(x)).abs().max() > 0.01


def set_affine(norm):
    """Give a gain and bias that do not commute with noise of a large eps."""
    for name, value in norm.named_parameters():
        start = 0.2 if name.endswith("weight") else -1.0
        value.data = torch.linspace(start, start + 2, value.numel())
    return norm


SWITCHES = [{}, {"shift": False}, {"scale": False}]
BEFORE = [*((kind, None) for kind in ("batch", *GROUPED)), ("layer", True), ("group", True)]
AFTER = [("layer", None), ("group", None), ("none", None), ("batch", False), ("ghost_batch", False)]


def noisy_and_ghosts(kind, dims, **fields):
    """Give a noisy site, seeded, and the draw that it will make."""
    noise = NoiseConfig(ghost_size=4, strength=0.7, eps=0.5, **fields)
    noisy = set_affine(site(dims, config(kind, noise)))
    torch.manual_seed(5)
    ghosts = gni.functional.draw_ghosts(8, 4)
    torch.manual_seed(5)
    return noisy, ghosts


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize(("kind", "asked"), BEFORE)
def test_noise_before_gain_and_bias(kind, asked, switches, dims):
    x = example(dims)
    noisy, ghosts = noisy_and_ghosts(kind, dims, before_affine=asked, **switches)
    bare = site(dims, config(kind))(x)
    noise = gni.functional.ghost_noise(bare, ghosts, 0.7, eps=0.5, **switches)
    weight, bias = (value.view(-1, *[1] * (2 * dims - 2)) for value in noisy.parameters())
    torch.testing.assert_close(noisy(x), weight * noise + bias)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize(("kind", "asked"), AFTER)
def test_noise_after_gain_and_bias(kind, asked, switches, dims):
    x = example(dims)
    noisy, ghosts = noisy_and_ghosts(kind, dims, before_affine=asked, **switches)
    whole = set_affine(site(dims, config(kind)))(x)
    expected = gni.functional.ghost_noise(whole, ghosts, 0.7, eps=0.5, **switches)
    torch.testing.assert_close(noisy(x), expected)


@pytest.mark.parametrize(
    "noise", [None, NOISE, ANALYTIC, NoiseConfig(ghost_size=4, before_affine=True)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_space_to_all_but_layer_norm(kind, noise):
    """Tokens (B, T, C) are normalised like vectors over time (B, C, T); layer norm, by token."""
    x = example(2).flatten(2).transpose(1, 2)
    torch.manual_seed(5)
    of_tokens = norm_tokens(config(kind, noise), 6)(x)
    torch.manual_seed(5)
    if kind == "layer":
        bare = nn.LayerNorm(6)(x).transpose(1, 2)
        expected = norm2d(config("none", noise), 6)(bare.unflatten(2, (4, 4)))
    else:
        expected = norm2d(config(kind, noise), 6)(example(2))
    torch.testing.assert_close(of_tokens, expected.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("kind", ["batch", "layer", "group", "none"])
def test_noise_leaves_the_names_in_a_checkpoint(kind, dims):
    noisy, plain = site(dims, config(kind, NOISE)), site(dims, config(kind))
    assert list(noisy.state_dict()) == list(plain.state_dict())


def test_layer_norm_on_maps_spans_channels_and_space():
    y = norm2d(config("layer"), 6)(example(2))
    torch.testing.assert_close(y.mean((1, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)


def test_options_reach_the_norm():
    norm = norm2d(NormConfig(eps=0.5, momentum=0.3, noise=NoiseConfig(ghost_size=4, eps=0.2)), 6)
    assert (norm.eps, norm.momentum, norm.noise_eps) == (0.5, 0.3, 0.2)
    assert norm2d(config("ghost_batch", running="sequential"), 6).running == "sequential"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "bach"}, "norm.kind must be one of batch, .* got 'bach'"),
        ({"kind": "ghost_batch"}, "norm.ghost_size must be an integer of at least 1, got None"),
        (
            {"kind": "exclusive_batch", "ghost_size": 1},
            "norm.ghost_size must be an integer of at least 2, got 1",
        ),
        ({"ghost_size": 16}, "set norm.noise.ghost_size instead"),
        ({"groups": 0}, "norm.groups must be an integer of at least 1, got 0"),
        ({"eps": 0.0}, "norm.eps must be a finite number above 0, got 0.0"),
        ({"momentum": 1.5}, "norm.momentum must be at most 1, got 1.5"),
        ({"running": "slow"}, "norm.running must be one of mean, sequential, got 'slow'"),
        ({"running": "sequential"}, "belongs to norm.kind ghost_batch, got 'sequential' with 'ba"),
    ],
)
def test_bad_norm_config(unhooked, fields, message):
    with pytest.raises(ValueError, match=message):
        NormConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "gost"}, "noise.kind must be one of ghost, analytic, got 'gost'"),
        ({"kind": "analytic", "ghost_size": 1}, "must be an integer of at least 2, got 1"),
        ({"ghost_size": 0}, "noise.ghost_size must be an integer of at least 1, got 0"),
        ({"strength": -1.0}, "noise.strength must be a finite number of at least 0, got -1.0"),
        ({"strength": float("nan")}, "noise.strength .* got nan"),
        ({"eps": 0.0}, "noise.eps must be a finite number above 0"),
        ({"shift": False, "scale": False}, "must not both be off"),
    ],
)
def test_bad_noise_config(unhooked, fields, message):
    with pytest.raises(ValueError, match=message):
        NoiseConfig(**{"ghost_size": 4, **fields})


@pytest.mark.parametrize(
    ("dims", "norm", "channels", "message"),
    [
        (2, NormConfig(kind="group", groups=32), 48, "got 32 groups for 48 channels; 16 divides"),
        (1, NormConfig(kind="group", groups=6), 6, "got 6 groups for 6 features"),
        (1, NormConfig(kind="layer"), 1, "at least 2 features"),
        (2, NormConfig(), 0, "channels of a norm site must be .* got 0"),
        (
            1,
            NormConfig(noise=NoiseConfig(ghost_size=1)),
            6,
            "on vectors must be .* one vector have no variance",
        ),
        (
            1,
            NormConfig(kind="ghost_batch", ghost_size=1),
            6,
            "on vectors must be .* one vector have no variance",
        ),
    ],
)
def test_norms_that_do_not_fit(dims, norm, channels, message):
    with pytest.raises(ValueError, match=message):
        site(dims, norm, channels)
