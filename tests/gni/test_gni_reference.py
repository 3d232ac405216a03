"""Every function against a slow loop from its definition: float64, forward and all gradients."""

from collections.abc import Callable

import pytest
import slow_loops
import torch
from torch import Tensor

from gni import _kernels as kernels
from gni import functional as G

SPACES = [(), (5,), (3, 2), (2, 3, 2), (1, 1)]
BATCH, CHANNELS = 8, 3


@pytest.fixture(params=SPACES, ids=str)
def x(request: pytest.FixtureRequest) -> Tensor:
    torch.manual_seed(sum(request.param))
    shape = (BATCH, CHANNELS, *request.param)
    return (torch.randn(shape, dtype=torch.float64) + 5).requires_grad_()


@pytest.fixture
def affine() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    weight, bias = torch.randn(2, CHANNELS, dtype=torch.float64)
    return weight.requires_grad_(), bias.requires_grad_()


def agree(
    ours: Callable[[], Tensor], slow: Callable[[], Tensor], inputs: list[Tensor], bound=1e-12
) -> None:
    """Compare values and all gradients, relative to the largest entry of the slow result."""
    torch.manual_seed(2)
    a, b = ours(), slow()
    grad = torch.randn_like(b)
    found = [a, *torch.autograd.grad(a, inputs, grad)]
    wanted = [b, *torch.autograd.grad(b, inputs, grad)]
    for ours_value, slow_value in zip(found, wanted, strict=True):
        assert ours_value.shape == slow_value.shape
        error = (ours_value - slow_value).abs().max() / slow_value.abs().max()
        assert error.item() < bound


@pytest.mark.parametrize("size", [2, 3, 8, 20])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.5])
def test_ghost_noise(x: Tensor, size: int, strength: float) -> None:
    ghosts = G.draw_ghosts(BATCH, size)
    agree(
        lambda: G.ghost_noise(x, ghosts, strength),
        lambda: slow_loops.ghost_noise(x, ghosts, strength),
        [x],
    )


@pytest.mark.parametrize("switches", [{"shift": False}, {"scale": False}], ids=str)
def test_ghost_noise_switches(x: Tensor, switches: dict[str, bool]) -> None:
    ghosts = G.draw_ghosts(BATCH, 4)
    agree(
        lambda: G.ghost_noise(x, ghosts, **switches),
        lambda: slow_loops.ghost_noise(x, ghosts, **switches),
        [x],
    )


def test_ghost_noise_with_channels_last_in_the_shape(x: Tensor) -> None:
    ghosts = G.draw_ghosts(BATCH, 4)
    agree(
        lambda: G.ghost_noise(x.movedim(1, -1), ghosts, channel_dim=-1).movedim(-1, 1),
        lambda: slow_loops.ghost_noise(x, ghosts),
        [x],
    )


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("size", [2, 3, 20])
@pytest.mark.parametrize("switches", [(True, True), (True, False), (False, True)], ids=str)
def test_batch_norm_ghost_noise(x: Tensor, affine, size: int, switches, fused: bool) -> None:
    ghosts = G.draw_ghosts(BATCH, size)
    options = {"eps": 1e-2, "noise_eps": 1e-3, "shift": switches[0], "scale": switches[1]}
    agree(
        lambda: G.batch_norm_ghost_noise(
            x, ghosts, None, None, *affine, 1.5, training=True, fused=fused, **options
        ),
        lambda: slow_loops.batch_norm_ghost_noise(x, ghosts, *affine, 1.5, **options),
        [x, *affine],
    )


@pytest.mark.parametrize("affined", [True, False])
def test_many_vectors_go_another_way(affined: bool) -> None:
    """Against the composed form, which the slow loop has proved: a loop would take minutes."""
    torch.manual_seed(0)
    x = (torch.randn(512, 160, dtype=torch.float64) + 5).requires_grad_()
    assert x.numel() > kernels.FEW
    pair = torch.randn(2, 160, dtype=torch.float64, requires_grad=True).unbind()
    weight, bias = pair if affined else (None, None)
    ghosts = G.draw_ghosts(512, 8)

    def run(fused: bool) -> Tensor:
        return G.batch_norm_ghost_noise(
            x, ghosts, None, None, weight, bias, 1.5, training=True, fused=fused
        )

    agree(lambda: run(True), lambda: run(False), [x, *(pair if affined else ())])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("stop_gradient", [True, False])
def test_ghost_batch_norm(x: Tensor, affine, size: int, stop_gradient: bool, fused: bool) -> None:
    options = {"eps": 1e-2, "stop_gradient": stop_gradient}
    agree(
        lambda: G.ghost_batch_norm(
            x, size, None, None, *affine, training=True, fused=fused, **options
        ),
        lambda: slow_loops.ghost_batch_norm(x, size, *affine, **options),
        [x, *affine],
    )


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("size", [4, 8])
def test_exclusive_batch_norm(x: Tensor, affine, size: int, fused: bool) -> None:
    agree(
        lambda: G.exclusive_batch_norm(
            x, size, None, None, *affine, training=True, eps=1e-2, fused=fused
        ),
        lambda: slow_loops.exclusive_batch_norm(x, size, *affine, eps=1e-2),
        [x, *affine],
    )


@pytest.mark.parametrize("size", [2, 5])
def test_eval_norm_in_eval(x: Tensor, affine, size: int) -> None:
    running = (torch.randn(CHANNELS).double(), torch.rand(CHANNELS).double() + 0.5)
    agree(
        lambda: G.eval_norm(x, size, *running, *affine, eps=1e-2),
        lambda: slow_loops.eval_norm(x, size, *running, affine, eps=1e-2),
        [x, *affine],
    )


def test_eval_norm_of_one_is_instance_norm() -> None:
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    ours = G.eval_norm(x, 1, torch.randn(3).double(), torch.rand(3).double())
    torch.testing.assert_close(ours, torch.nn.functional.instance_norm(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("running", ["mean", "sequential"])
def test_running_statistics(x: Tensor, running) -> None:
    start = (torch.randn(CHANNELS).double(), torch.rand(CHANNELS).double())
    mean, var = (value.clone() for value in start)
    G.ghost_batch_norm(x, 2, mean, var, training=True, momentum=0.3, running=running)
    wanted = slow_loops.running_mean_var(x.detach(), 2, 0.3, running, start)
    torch.testing.assert_close((mean, var), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["noise", "exclusive"])
def test_running_statistics_of_the_whole_batch(x: Tensor, kind: str) -> None:
    start = (torch.randn(CHANNELS).double(), torch.rand(CHANNELS).double())
    ours, torchs = ([value.clone() for value in start] for _ in range(2))
    if kind == "noise":
        ghosts = G.draw_ghosts(BATCH, 4)
        G.batch_norm_ghost_noise(x, ghosts, *ours, training=True, momentum=0.3)
    else:
        G.exclusive_batch_norm(x, 4, *ours, training=True, momentum=0.3)
    torch.nn.functional.batch_norm(x, *torchs, training=True, momentum=0.3)
    torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("inside", [False, True])
def test_weight_standardisation(inside: bool) -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 2, 2, dtype=torch.float64).mul(0.01).requires_grad_()
    gain = torch.randn(4, dtype=torch.float64, requires_grad=True)
    agree(
        lambda: G.standardise_weight(weight, gain, std=0.3, eps=1e-5, eps_in_variance=inside),
        lambda: slow_loops.standardise(weight, gain, 0.3, 1e-5, inside),
        [weight, gain],
    )


@pytest.mark.parametrize("layer", ["noise", "ghost", "exclusive"])
@pytest.mark.parametrize("space", [(), (2, 2)], ids=str)
def test_gradcheck(layer: str, space: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 2, *space, dtype=torch.float64, requires_grad=True)
    affine = torch.randn(2, 2, dtype=torch.float64, requires_grad=True).unbind()
    if layer == "ghost":
        run = lambda x, w, b: G.ghost_batch_norm(x, 3, None, None, w, b, training=True)  # noqa: E731
    elif layer == "exclusive":
        run = lambda x, w, b: G.exclusive_batch_norm(x, 3, None, None, w, b, training=True)  # noqa: E731
    else:
        # The noise is a constant to autograd, not to finite differences: strength 0 has none.
        ghosts = G.draw_ghosts(6, 3)
        run = lambda x, w, b: G.batch_norm_ghost_noise(  # noqa: E731
            x, ghosts, None, None, w, b, 0.0, training=True
        )
    assert torch.autograd.gradcheck(run, (x, *affine))


@pytest.mark.parametrize("layer", ["ghost", "exclusive"])
def test_second_derivative_or_a_clear_error(layer: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    function = G.ghost_batch_norm if layer == "ghost" else G.exclusive_batch_norm

    def run(x: Tensor, fused: bool) -> Tensor:
        return function(x, 2, None, None, training=True, fused=fused, eps=0.1)

    assert torch.autograd.gradgradcheck(lambda x: run(x, False), (x,))
    (grad,) = torch.autograd.grad(run(x, True).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_noise_dropout(x: Tensor, kind) -> None:
    torch.manual_seed(0)
    draw = G.draw_dropout(x, kind=kind)
    p = 0.3

    def slow() -> Tensor:
        if kind == "bernoulli":
            return torch.where(draw >= p, x / (1 - p), torch.zeros_like(x))
        return x * (1 + (p / (1 - p)) ** 0.5 * draw)

    agree(lambda: G.noise_dropout(x, draw, p, kind=kind), slow, [x])


@pytest.mark.parametrize("instance_std", [True, False])
def test_analytic_noise(x: Tensor, instance_std: bool) -> None:
    torch.manual_seed(0)
    shift, square = (value.double() for value in G.draw_analytic((BATCH, CHANNELS), 6.5))

    def slow() -> Tensor:
        out = []
        for sample, delta, c in zip(x, shift, square, strict=True):
            if instance_std:
                delta = delta * slow_loops.moments(sample[None])[1].detach().sqrt()  # noqa: PLW2901
            noise = 1.5 * slow_loops.spread(delta, x)
            out.append((sample - noise) / slow_loops.spread(c, x) ** 0.75)
        return torch.stack(out)

    agree(lambda: G.analytic_noise(x, (shift, square), 1.5, instance_std=instance_std), slow, [x])
