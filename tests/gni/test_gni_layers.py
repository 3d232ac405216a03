"""One table of layers, one list of behaviours: every layer does what a drop-in must."""

import copy
import io
import pickle
from collections.abc import Callable

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import gni
from gni import functional as G

BATCH, CHANNELS = 8, 4
SPACES = {1: (5,), 2: (3, 2), 3: (2, 3, 2)}
NORMS = ["GhostNoiseBatchNorm", "GhostBatchNorm", "ExclusiveBatchNorm", "EvalNorm"]
NOISES: dict[str, Callable[[], nn.Module]] = {
    "GhostNoise": lambda: gni.GhostNoise(4),
    "GhostNoise large ghosts": lambda: gni.GhostNoise(32),
    "GhostNoise shuffled": lambda: gni.GhostNoise(4, sampling="shuffled"),
    "GhostNoise shift only": lambda: gni.GhostNoise(4, scale=False),
    "AnalyticNoise": lambda: gni.AnalyticNoise(4.5),
    "NoiseDropout": lambda: gni.NoiseDropout(0.2),
    "NoiseDropout gaussian channel": lambda: gni.NoiseDropout(0.2, kind="gaussian", per="channel"),
}
BadInput = (ValueError, jaxtyping.TypeCheckError)


def norm(name: str, dim: int, **options) -> nn.Module:
    return getattr(gni, f"{name}{dim}d")(CHANNELS, 4, **options)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{f"{n}{d}d": (lambda n=n, d=d: norm(n, d), s) for n in NORMS for d, s in SPACES.items()},
    **{f"{n}1d vectors": (lambda n=n: norm(n, 1), ()) for n in NORMS},
    **{n: (make, SPACES[2]) for n, make in NOISES.items()},
    **{f"{n} vectors": (make, ()) for n, make in NOISES.items()},
}


@pytest.fixture(params=list(LAYERS))
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    make, space = LAYERS[request.param]
    return make(), torch.randn(BATCH, CHANNELS, *space)


def seeded(layer: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(1)
    return layer(x)


def test_training_moves_eval_does_not(case) -> None:
    layer, x = case
    assert not torch.equal(layer(x), x)
    if not hasattr(layer, "running_mean"):
        assert layer.eval()(x) is x
    layer.eval()
    for batch in (1, 3):
        assert layer(x[:batch]).shape == x[:batch].shape
        torch.testing.assert_close(layer(x[:batch]), layer(x)[:batch])


def test_gradients_reach_input_and_parameters(case) -> None:
    layer, x = case
    x.requires_grad_()
    layer(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_inputs_keep_float32_statistics(case, dtype: torch.dtype) -> None:
    layer, x = case
    half = x.to(dtype).requires_grad_()
    y = seeded(layer, half)
    assert y.dtype == dtype
    y.sum().backward()
    wanted = seeded(layer, half.detach().float())
    if isinstance(layer, gni.NoiseDropout):
        wanted = wanted.to(dtype).float()
    torch.testing.assert_close(y.float(), wanted, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("layout", ["usual", "batch last"])
def test_layout_does_not_matter(case, layout: str) -> None:
    layer, x = case
    strided = torch.stack([x, x], -1)[..., 0]
    if layout == "batch last":
        x = x.movedim(0, -1).contiguous().movedim(-1, 0)
    else:
        x = x.to(memory_format=torch.channels_last) if x.dim() == 4 else strided
    grad = torch.randn_like(x).contiguous()
    results = []
    for value in (x, x.contiguous()):
        value = value.detach().requires_grad_()  # noqa: PLW2901
        y = seeded(layer, value)
        results.append((y, *torch.autograd.grad(y, value, grad)))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_output_may_be_changed_in_place(case) -> None:
    """An activation in place must not reach what backward needs; the gradient is expanded."""
    layer, x = case
    results = []
    for change in (Tensor.relu, Tensor.relu_):
        value = x.clone().requires_grad_()
        y = change(seeded(layer, value))
        results.append((y, *torch.autograd.grad(y.sum(), value)))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_no_gradient_needed(case) -> None:
    layer, x = case
    with torch.no_grad():
        a = seeded(layer, x)
    torch.testing.assert_close(seeded(layer, x.requires_grad_()), a, rtol=1e-4, atol=1e-5)


def test_copies_and_pickles(case) -> None:
    layer, x = case
    gni.set_generator(layer, torch.Generator())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert getattr(twin, "generator", None) is None
        assert twin.extra_repr() == layer.extra_repr()
        gni.set_generator(layer, None)
        torch.testing.assert_close(seeded(twin, x), seeded(copy.deepcopy(layer), x))


def test_meta_device_and_back(case) -> None:
    layer, x = case
    meta = copy.deepcopy(layer).to("meta")
    assert meta(x.to("meta")).shape == x.shape
    real = meta.to_empty(device="cpu")
    real.load_state_dict(layer.state_dict())
    assert real.extra_repr() == layer.extra_repr()
    torch.testing.assert_close(seeded(real, x), seeded(layer, x))


def test_autocast(case) -> None:
    layer, x = case
    other, half = copy.deepcopy(layer), x.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = seeded(layer, half)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, seeded(other, half))
    assert all(map(torch.equal, layer.buffers(), other.buffers()))


@pytest.mark.parametrize("name", [n for n in NOISES if n != "NoiseDropout"])
def test_reproducible_from_its_generator_alone(name: str) -> None:
    layer, x = NOISES[name](), torch.randn(BATCH, CHANNELS, 3)
    generator = torch.Generator()
    assert gni.set_generator(layer, generator) == 1
    before = torch.get_rng_state()
    generator.manual_seed(3)
    first = [layer(x) for _ in range(2)]
    generator.manual_seed(3)
    again = [layer(x) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first[0], first[1])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_the_draw_does_not_depend_on_the_strength(strength: float) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = gni.GhostNoise(4, strength)
    layer.generator = generator
    layer(torch.randn(8, 2))
    used = torch.Generator().manual_seed(0)
    G.draw_ghosts(8, 4, generator=used)
    assert torch.equal(generator.get_state(), used.get_state())


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_state_dict_is_that_of_batch_norm(name: str, dim: int) -> None:
    plain = getattr(nn, f"BatchNorm{dim}d")(CHANNELS)
    x = torch.randn(BATCH, CHANNELS, *SPACES[dim])
    plain(x)
    ours = norm(name, dim)
    ours.load_state_dict(plain.state_dict())
    ours(x)
    assert ours.num_batches_tracked == 2
    assert list(ours.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(ours.state_dict())
    buffer = io.BytesIO()
    torch.save(ours.state_dict(), buffer)
    buffer.seek(0)
    norm(name, dim).load_state_dict(torch.load(buffer, weights_only=True))
    if name != "EvalNorm":
        torch.testing.assert_close(ours.eval()(x), plain.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", NORMS[:3])
def test_without_noise_they_are_batch_norm(name: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(512, CHANNELS, 3, 3)
    plain = nn.BatchNorm2d(CHANNELS)
    whole = {"GhostNoiseBatchNorm": {"strength": 0.0}}.get(name, {})
    ours = getattr(gni, f"{name}2d")(CHANNELS, 512, **whole)
    rough = 2e-2 if name == "ExclusiveBatchNorm" else 1e-5
    torch.testing.assert_close(ours(x), plain(x), rtol=rough, atol=rough)
    torch.testing.assert_close(ours.running_var, plain.running_var, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NORMS[:3])
def test_cumulative_average_and_no_tracking(name: str) -> None:
    x = torch.randn(BATCH, CHANNELS, 3, 3)
    layer = getattr(gni, f"{name}2d")(CHANNELS, BATCH, momentum=None)
    layer(x)
    layer(x + 1)
    torch.testing.assert_close(layer.running_mean, x.mean((0, 2, 3)) + 0.5)
    layer = getattr(gni, f"{name}2d")(CHANNELS, 4, track_running_stats=False)
    assert layer(x).shape == layer.eval()(x).shape
    torch.testing.assert_close(layer(x), nn.functional.batch_norm(x, None, None, training=True))


def test_strength_is_a_buffer_filled_in_place() -> None:
    layer = gni.GhostNoiseBatchNorm2d(CHANNELS, 4, 0.3)
    buffer = layer.strength
    layer.strength = 0.7
    assert layer.strength is buffer
    assert layer.half().strength.dtype == torch.float32
    assert abs(float(layer.strength) - 0.7) < 1e-7
    assert "strength=0.7" in repr(layer)
    assert "strength" not in layer.state_dict()


def test_held_draws() -> None:
    x = torch.randn(BATCH, CHANNELS)
    layer = gni.GhostNoise(4)
    generator = torch.Generator().manual_seed(0)
    layer.generator = generator
    gni.hold_ghosts(layer, BATCH, as_weights=True)
    held, first = layer.ghosts, layer(x)
    assert torch.equal(first, layer(x))
    layer.ghost_size = 7
    gni.hold_ghosts(layer, BATCH, as_weights=True)
    assert layer.ghosts is held
    assert not torch.equal(first, layer(x))
    with pytest.raises(BadInput, match=r"batch of 3, got shape \(8, 8\)|ghosts"):
        layer(x[:3])
    gni.hold_ghosts(layer, None)
    assert not torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("space", [(), (2, 2)], ids=str)
def test_vmap_over_strength_and_ghost_size(space: tuple[int, ...]) -> None:
    """Members that differ in strength, ghost size and input, against one run of each."""
    torch.manual_seed(0)
    make = gni.GhostNoiseBatchNorm2d if space else gni.GhostNoiseBatchNorm1d
    x = torch.randn(3, BATCH, CHANNELS, *space)
    strength = torch.tensor([0.0, 0.5, 2.0])
    weights = torch.stack([G.ghost_weights(G.draw_ghosts(BATCH, n)) for n in (2, 5, 16)])
    layers = [make(CHANNELS, 4, float(s)) for s in strength]
    for layer, weight in zip(layers, weights, strict=True):
        layer.ghosts = weight
    parameters, buffers = torch.func.stack_module_state(layers)
    base = copy.deepcopy(layers[0]).to("meta")
    base.ghosts = weights[0].to("meta")

    def loss(parameters, buffers, x: Tensor) -> Tensor:
        return torch.func.functional_call(base, (parameters, buffers), (x,)).square().mean()

    together = torch.func.vmap(torch.func.grad(loss))(parameters, buffers, x)
    for i, layer in enumerate(layers):
        layer(x[i]).square().mean().backward()
        torch.testing.assert_close(together["weight"][i], layer.weight.grad)


def test_whole_numbers_are_no_activation(case) -> None:
    layer, x = case
    with pytest.raises(BadInput, match=r"dtype is needed, got torch.int64; call .float|i64"):
        layer(x.long())


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_repeats_the_draw_or_refuses(reentrant: bool) -> None:
    layer, x = gni.GhostNoise(4), torch.randn(BATCH, CHANNELS, requires_grad=True)

    def gradient(*, checkpointed: bool) -> Tensor:
        torch.manual_seed(0)
        y = checkpoint(layer, x, use_reentrant=reentrant) if checkpointed else layer(x)
        x.grad = None
        y.square().sum().backward()
        assert x.grad is not None
        return x.grad

    assert torch.equal(gradient(checkpointed=True), gradient(checkpointed=False))
    layer.generator = torch.Generator().manual_seed(0)
    gradient(checkpointed=False)
    with pytest.raises(ValueError, match=r"torch.utils.checkpoint cannot draw .* hold_ghosts"):
        gradient(checkpointed=True)
    gni.hold_ghosts(layer, BATCH)
    assert torch.equal(gradient(checkpointed=True), gradient(checkpointed=False))


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_maps_without_a_pixel(name: str, dim: int) -> None:
    """As in BatchNorm nothing is normalised and nothing tracked."""
    layer = norm(name, dim)
    x = torch.randn(BATCH, CHANNELS, *(0,) * dim, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == y.shape == x.shape
    assert torch.equal(layer.running_var, torch.ones(CHANNELS))
    assert gni.GhostNoise(4)(x).shape == gni.AnalyticNoise(4.0)(x).shape == x.shape


@pytest.mark.parametrize("name", NORMS)
def test_channels_last_stays(name: str) -> None:
    x = torch.randn(BATCH, CHANNELS, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    y = norm(name, 2)(x)
    y.sum().backward()
    assert x.grad is not None
    assert all(v.is_contiguous(memory_format=torch.channels_last) for v in (y, x.grad))


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("missing", ["weight", "bias"])
def test_gain_or_bias_alone(name: str, missing: str) -> None:
    layer, x = norm(name, 1), torch.randn(BATCH, CHANNELS)
    full = seeded(layer, x)
    setattr(layer, missing, None)
    y = seeded(layer, x)
    torch.testing.assert_close(y, full)
    y.square().sum().backward()
    (parameter,) = layer.parameters()
    assert parameter.grad is not None


def test_weight_standardised_layers() -> None:
    torch.manual_seed(0)
    conv = gni.WSConv2d(3, 5, 3, padding=1, groups=1)
    assert conv(torch.randn(2, 3, 6, 6)).shape == (2, 5, 6, 6)
    weight = conv.standardised_weight().flatten(1)
    torch.testing.assert_close(weight.mean(1), torch.zeros(5), rtol=0, atol=1e-6)
    torch.testing.assert_close(weight.std(1), torch.full((5,), 27**-0.5), rtol=1e-3, atol=0)
    nn.init.constant_(conv.weight[0], 0.5)
    conv(torch.randn(2, 3, 6, 6)).sum().backward()
    assert conv.weight.grad is not None and conv.weight.grad.isfinite().all()
    linear = gni.WSLinear(20, 4, scale="init", gain=False)
    torch.testing.assert_close(
        linear.standardised_weight().std(1), linear.weight.std().expand(4), rtol=1e-3, atol=0
    )
    nn.init.normal_(linear.weight, std=3.0)
    linear.measure_init()
    twin = gni.WSLinear(20, 4, scale="init", gain=False)
    twin.load_state_dict(linear.state_dict())
    x = torch.randn(2, 20)
    assert torch.equal(twin(x), linear(x))
    assert list(dict(linear.named_parameters())) == ["weight", "bias"]


def test_exported_names() -> None:
    assert all(hasattr(gni, name) for name in gni.__all__)
    assert all(hasattr(G, name) for name in G.__all__)
    assert sorted(set(gni.__all__)) == sorted(gni.__all__)
