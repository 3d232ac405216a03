"""What holds for every shape, type, layout, size and strength."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import gni
from gni import functional as G

SIZES = st.integers(2, 20)
STRENGTHS = st.floats(0, 3)
BITS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}
BITS[torch.float64] = torch.int64


@st.composite
def batches(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = (torch.float64,)) -> Tensor:
    """A batch of any layout: contiguous, channels last, or a strided view."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    space = draw(st.lists(st.integers(1, 4), max_size=3))
    shape = (draw(st.integers(2, 9)), draw(st.integers(1, 4)), *space)
    x = torch.randn(shape) * draw(st.sampled_from([0.1, 1.0, 10.0]))
    layout = draw(st.sampled_from(["contiguous", "channels last", "strided"]))
    if layout == "channels last" and len(space) == 2:
        x = x.to(memory_format=torch.channels_last)
    elif layout == "strided":
        x = torch.stack([x, x], dim=-1)[..., 0]
    return x.to(draw(st.sampled_from(dtypes)))


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.view(BITS[a.dtype]), b.view(BITS[b.dtype]))


@given(batches(tuple(BITS)), SIZES, st.booleans())
def test_strength_zero_is_the_identity_bit_for_bit(x: Tensor, size: int, special: bool) -> None:
    if special:
        x.flatten()[0] = -0.0
        x[0, 0] = torch.tensor(float("inf"))
        x[1, 0] = -torch.zeros_like(x[1, 0])
    ghosts = G.draw_ghosts(len(x), size)
    assert same_bits(G.ghost_noise(x, ghosts, 0.0), x)
    assert same_bits(G.ghost_noise(x, ghosts, torch.tensor(0.0)), x)
    assert same_bits(G.analytic_noise(x, G.draw_analytic(x.shape[:2], size), 0.0), x)


@given(batches(), SIZES, STRENGTHS)
def test_a_constant_shift_of_the_input_changes_nothing_after_bn(x, size, strength) -> None:
    ghosts = G.draw_ghosts(len(x), size)

    def run(x: Tensor) -> Tensor:
        return G.batch_norm_ghost_noise(x, ghosts, None, None, strength=strength, training=True)

    torch.testing.assert_close(run(x + 7), run(x), rtol=1e-6, atol=1e-6)


@given(batches(), SIZES, STRENGTHS)
def test_permuting_batch_and_draw_permutes_the_output(x, size, strength) -> None:
    ghosts = G.draw_ghosts(len(x), size)
    order = torch.randperm(len(x))
    back = torch.argsort(order)
    y = G.ghost_noise(x, ghosts, strength)
    permuted = G.ghost_noise(x[order], back[ghosts[order]], strength)
    torch.testing.assert_close(permuted, y[order], rtol=1e-9, atol=1e-9)


@given(batches(), SIZES, STRENGTHS)
def test_indices_and_weights_say_the_same(x, size, strength) -> None:
    ghosts = G.draw_ghosts(len(x), size)
    weights = G.ghost_weights(ghosts, torch.float64)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(x)).double())
    a, b = (G.ghost_noise(x, draw, strength) for draw in (ghosts, weights))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@given(batches(), STRENGTHS)
def test_a_ghost_that_is_the_batch_makes_no_noise(x: Tensor, strength: float) -> None:
    whole = torch.arange(len(x)).expand(len(x), -1)
    torch.testing.assert_close(G.ghost_noise(x, whole, strength), x, rtol=1e-9, atol=1e-9)


@given(batches(), SIZES, STRENGTHS)
def test_normalising_then_noise_is_the_layer_in_one(x, size, strength) -> None:
    ghosts = G.draw_ghosts(len(x), size)
    one = G.batch_norm_ghost_noise(x, ghosts, None, None, strength=strength, training=True)
    normal = torch.nn.functional.batch_norm(x, None, None, training=True)
    two = G.ghost_noise(normal, ghosts, strength)
    torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-8)


@given(batches(), st.sampled_from([1.0, 0.5]))
def test_ghost_batch_norm_is_batch_norm_then_noise_of_ones_own_group(x, _) -> None:
    """Double normalisation, for eps = 0."""
    x = torch.cat([x, x + 1, x * 2, x - 3])
    size = len(x) // 2
    ghosts = G.draw_groups(len(x), size, shuffle=False)
    a = G.batch_norm_ghost_noise(x, ghosts, None, None, training=True, eps=0.0, noise_eps=0.0)
    b = G.ghost_batch_norm(x, size, None, None, training=True, eps=0.0)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@given(batches(tuple(BITS)), SIZES, STRENGTHS)
def test_type_and_shape_are_kept(x: Tensor, size: int, strength: float) -> None:
    layer = gni.GhostNoise(size, strength)
    y = layer(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert layer.eval()(x) is x


@given(st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_groups_are_groups(groups: int, size: int, shuffle: bool) -> None:
    batch = groups * size
    if batch < 2:
        return
    ghosts = G.draw_groups(batch, size, shuffle=shuffle)
    for i, row in enumerate(ghosts):
        assert i in row
        for j in row:
            assert set(ghosts[j].tolist()) == set(row.tolist())
    counts = torch.bincount(ghosts.flatten(), minlength=batch)
    assert (counts == size).all()
