"""The noise has the moments that sampling with replacement gives, and survives a large mean."""

import itertools

import pytest
import torch
from torch import Tensor

from gni import functional as G
from gni._moments import ghost_moments, instance_moments
from gni.analysis import closed_form


def wanted_moments(x: Tensor, size: int) -> dict[str, Tensor]:
    mean_bc, var_bc = instance_moments(x)
    d = mean_bc - mean_bc.mean(0)
    across = (d[:, 0] * d[:, 1]).mean() / size
    return {**closed_form(mean_bc, var_bc, size, 1e-3), "cov(delta_0, delta_1)": across}


def measured(x: Tensor, ghosts: Tensor) -> dict[str, Tensor]:
    """The same moments of sample 0's ghost over all tables (T, N) in `ghosts`."""
    batch = x.shape[0]
    delta, var = [], []
    for tables in ghosts.split(batch):
        padded = torch.cat([tables, tables[:1].expand(batch - len(tables), -1)])
        moments = ghost_moments(*instance_moments(x), padded)
        delta.append(moments.delta[: len(tables)])
        var.append(moments.var[: len(tables)])
    d, v = torch.cat(delta), torch.cat(var)
    batch_var = x.transpose(0, 1).flatten(1).var(1, correction=0)
    rho2 = (v + 1e-3) / (batch_var + 1e-3)
    return {
        "delta": d.mean(0),
        "delta²": (d**2).mean(0),
        "delta³": (d**3).mean(0),
        "delta⁴": (d**4).mean(0),
        "V": v.mean(0),
        "var V": v.var(0, correction=0),
        "cov(delta, V)": (d * (v - v.mean(0))).mean(0),
        "rho²": rho2.mean(0),
        "var rho²": rho2.var(0, correction=0),
        "cov(delta_0, delta_1)": (d[:, 0] * d[:, 1]).mean(),
    }


@pytest.mark.parametrize(("batch", "size"), [(4, 2), (5, 3), (3, 5)])
@pytest.mark.parametrize("space", [(), (3,)], ids=str)
def test_exact_moments_by_enumeration(batch: int, size: int, space: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, 2, *space, dtype=torch.float64) + 3
    everything = torch.tensor(list(itertools.product(range(batch), repeat=size)))
    found, wanted = measured(x, everything), wanted_moments(x, size)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-13, msg=name)


def test_moments_of_drawn_noise() -> None:
    """64,000 ghosts, seed 0; the bounds are 5 standard errors of a mean and of a variance."""
    torch.manual_seed(0)
    x, size, n = torch.randn(64, 2, 3, dtype=torch.float64), 16, 64_000
    ghosts = torch.cat([G.draw_ghosts(64, size) for _ in range(n // 64)])
    found, wanted = measured(x, ghosts), wanted_moments(x, size)
    error = wanted["delta²"].sqrt() / n**0.5
    assert (found["delta"].abs() < 5 * error).all()
    spread = ((wanted["delta⁴"] - wanted["delta²"] ** 2) / n).sqrt()
    assert ((found["delta²"] - wanted["delta²"]).abs() < 5 * spread).all()
    assert ((found["rho²"] - wanted["rho²"]).abs() < 5 * (wanted["var rho²"] / n).sqrt()).all()
    product = (wanted["delta²"].prod() / n).sqrt()
    both = "cov(delta_0, delta_1)"
    assert (found[both] - wanted[both]).abs() < 8 * product


def test_every_sample_of_the_batch_is_drawn_as_often() -> None:
    torch.manual_seed(0)
    counts = torch.bincount(G.draw_ghosts(50, 2000).flatten(), minlength=50).double()
    expected = 2000.0
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 49 + 5 * (2 * 49) ** 0.5


def test_samples_are_drawn_independently() -> None:
    torch.manual_seed(0)
    ghosts = torch.stack([G.draw_ghosts(8, 1).flatten() for _ in range(4000)]).double()
    correlation = torch.corrcoef(ghosts.T) - torch.eye(8)
    assert correlation.abs().max() < 5 / 4000**0.5


def test_moments_of_analytic_noise() -> None:
    torch.manual_seed(0)
    size, n = 8.5, 200_000
    shift, square = G.draw_analytic((n, 1), size)
    assert abs(shift.mean()) < 5 / (size * n) ** 0.5
    assert abs(shift.var() * size - 1) < 5 * (2 / n) ** 0.5
    mean, var = (size - 1) / size, 2 * (size - 1) / size**2
    assert abs(square.mean() - mean) < 5 * (var / n) ** 0.5
    assert abs(square.var() / var - 1) < 0.05


@pytest.mark.parametrize(("literature", "std"), [(True, (0.2 / 0.8) ** 0.5), (False, 0.25)])
def test_standard_deviation_of_gaussian_dropout(literature: bool, std: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(100_000, 1)
    y = G.noise_dropout(
        x, G.draw_dropout(x, kind="gaussian"), 0.2, kind="gaussian", literature_std=literature
    )
    assert abs(y.std() / std - 1) < 0.02
    assert abs(y.mean() - 1) < 5 * std / 100_000**0.5


def relative(value: Tensor, exact: Tensor) -> float:
    return ((value.double() - exact).abs().max() / exact.abs().max()).item()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "vectors"])
@pytest.mark.parametrize("layer", ["noise", "ghost", "exclusive"])
def test_float32_under_a_large_mean(layer: str, layout: str) -> None:
    """Values and gradients stay within 10 times nn.BatchNorm's own error at a mean of 1e4."""
    torch.manual_seed(0)
    shape = (64, 4) if layout == "vectors" else (16, 4, 6, 6)
    x = torch.randn(shape) + 1e4
    x = x.to(memory_format=torch.channels_last) if layout == "channels_last" else x
    grad, weight, bias = torch.randn(shape), torch.rand(4) + 0.5, torch.randn(4)
    ghosts = G.draw_ghosts(len(x), 8)

    def run(function, dtype: torch.dtype) -> list[Tensor]:
        inputs = [v.to(dtype).requires_grad_() for v in (x, weight, bias)]
        y = function(*inputs)
        return [y, *torch.autograd.grad(y, inputs, grad.to(dtype))]

    def ours(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if layer == "noise":
            return G.batch_norm_ghost_noise(x, ghosts, None, None, weight, bias, training=True)
        function = G.ghost_batch_norm if layer == "ghost" else G.exclusive_batch_norm
        return function(x, 16, None, None, weight, bias, training=True)

    def torchs(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.nn.functional.batch_norm(x, None, None, weight, bias, True)

    errors = [
        [relative(*pair) for pair in zip(run(f, torch.float32), run(f, torch.float64), strict=True)]
        for f in (ours, torchs)
    ]
    for name, mine, reference in zip(("y", "dx", "dweight", "dbias"), *errors, strict=True):
        assert mine < 10 * max(reference, 1e-7), name


def test_float32_noise_under_a_large_mean() -> None:
    torch.manual_seed(0)
    x, ghosts = torch.randn(16, 4, 6, 6) * 0.1 + 1000, G.draw_ghosts(16, 8)
    exact = G.ghost_noise(x.double(), ghosts)
    # The means are off by a unit in the last place, 6e-5, and 1000/rho by 1000 times its error;
    # an uncentred variance, off by 0.06 where it is 0.01, would make that tens.
    assert (G.ghost_noise(x, ghosts) - exact).abs().max().item() < 0.05
