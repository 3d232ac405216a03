"""Measured noise agrees with the closed form; the train-test discrepancy has the right sign."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gni
from gni import analysis


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.GroupNorm(2, 8),
        nn.Flatten(),
        nn.Linear(8 * 16, 5),
        nn.BatchNorm1d(5),
    )


def test_measured_noise_against_closed_form() -> None:
    """2,000 draws of a batch of 64: 128,000 ghosts a channel, seed 0."""
    model, x = network(), torch.randn(64, 3, 8, 8)
    gni.add_ghost_noise(model, 8)
    buffers = {n: b.clone() for n, b in model.named_buffers()}
    generator = torch.Generator().manual_seed(0)
    rows = analysis.measure_noise(model.eval(), x, draws=2000, generator=generator)
    assert [row.site for row in rows] == ["1", "4.ghost_noise", "7"]
    for row in rows:
        assert abs(row.shift_var / row.shift_var_closed - 1) < 0.03
        assert abs(row.rho2 / row.rho2_closed - 1) < 0.01
        assert abs(row.rho2_var / row.rho2_var_closed - 1) < 0.05
        assert row.shift_var_analytic == 1 / 8
    # A sample's mean over a map varies less than a single value; for vectors it is that value.
    assert rows[0].shift_var_closed < 0.5 / 8
    assert abs(rows[2].shift_var_closed * 8 - 1) < 1e-9
    assert not model.training
    assert all(torch.equal(b, buffers[n]) for n, b in model.named_buffers())


def test_effect_is_that_of_the_layer() -> None:
    torch.manual_seed(0)
    layer, x = gni.GhostNoise(8, 0.7, eps=0.0), torch.randn(64, 4, 3, dtype=torch.float64)
    x = x - x.mean((0, 2), keepdim=True)
    x = x / x.square().mean((0, 2), keepdim=True).sqrt()
    (row,) = analysis.measure_noise(layer, x, draws=400)
    change = torch.stack([(layer(x) - x).square().mean() for _ in range(400)]).mean()
    assert abs(row.effect / float(change) - 1) < 0.03
    assert abs(row.effect / row.effect_first_order - 1) < 0.35


@pytest.mark.parametrize("switches", [{"shift": False}, {"scale": False}], ids=str)
def test_effect_of_a_layer_that_does_one_thing(switches: dict[str, bool]) -> None:
    torch.manual_seed(0)
    layer = gni.GhostNoise(16, 0.5, eps=0.0, **switches)
    x = torch.randn(64, 4, 3, dtype=torch.float64)
    x = (x - x.mean((0, 2), keepdim=True)) / x.std((0, 2), correction=0, keepdim=True)
    (row,) = analysis.measure_noise(layer, x, draws=400)
    change = torch.stack([(layer(x) - x).square().mean() for _ in range(400)]).mean()
    assert abs(row.effect / float(change) - 1) < 0.03
    assert abs(row.effect / row.effect_first_order - 1) < 0.2


def test_each_channel_has_its_own_share_of_eps() -> None:
    """Of a channel with a variance of a thousandth of eps next to nothing is scaled."""
    torch.manual_seed(0)
    x = torch.randn(64, 2, 3, dtype=torch.float64) * torch.tensor([1.0, 1e-3]).view(1, 2, 1)
    (row,) = analysis.measure_noise(gni.GhostNoise(8, eps=1e-3), x, draws=200)
    (alone,) = analysis.measure_noise(gni.GhostNoise(8, eps=1e-3), x[:, :1], draws=200)
    assert abs(row.rho2_var / (alone.rho2_var / 2) - 1) < 0.05
    assert abs(row.rho2_var_closed / (alone.rho2_var_closed / 2) - 1) < 0.01


def test_groups_have_no_closed_form() -> None:
    layer, x = gni.GhostNoise(8, sampling="shuffled"), torch.randn(32, 2, 3)
    (row,) = analysis.measure_noise(layer, x, draws=2)
    assert math.isnan(row.shift_var_closed) and row.shift_var > 0


def test_discrepancy_leaves_frozen_layers_frozen_and_takes_sizes_from_anywhere() -> None:
    model = trained().train()
    frozen = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d))
    frozen.eval()
    rows = analysis.discrepancies(model, data(), (n for n in (4, 32)), kinds=("ghost", "noise"))
    assert [(row.kind, row.ghost_size) for row in rows] == [
        (kind, n) for kind in ("ghost", "noise") for n in (4, 32)
    ]
    analysis.discrepancy(model, data())
    assert model.training and not frozen.training


def test_the_ridge() -> None:
    """To first order strength s and ghost size N act like ghost size N/s²."""
    x = torch.randn(128, 4, 3, dtype=torch.float64)
    effects = []
    for size, strength in ((16, 0.5), (64, 1.0), (256, 2.0)):
        layer = gni.GhostNoise(size, strength)
        effects.append(analysis.measure_noise(layer, x, draws=100)[0].effect)
    assert max(effects) / min(effects) < 1.1


def data() -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    return [(torch.randn(32, 3, 8, 8), torch.randint(5, (32,))) for _ in range(4)]


def trained() -> nn.Sequential:
    model, batches = network(), data()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for images, labels in batches:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model


def test_discrepancy_grows_as_ghosts_shrink() -> None:
    model = trained()
    state = {n: t.clone() for n, t in model.state_dict().items()}
    rows = analysis.discrepancies(model, data(), [4, 32])
    gaps = {(row.kind, row.ghost_size): abs(row.train_loss - row.eval_loss) for row in rows}
    assert list(gaps) == [
        ("batch", 0),
        *((kind, n) for kind in ("ghost", "exclusive", "noise") for n in (4, 32)),
    ]
    for kind in ("exclusive", "noise"):
        assert gaps[kind, 4] > gaps[kind, 32]
    assert len({round(row.eval_loss, 5) for row in rows}) == 1
    assert abs(gaps["ghost", 32] - gaps["batch", 0]) < 1e-5
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())


def test_table_and_figure(tmp_path: Path) -> None:
    model = network()
    gni.add_ghost_noise(model, 8)
    rows = analysis.measure_noise(model, torch.randn(16, 3, 8, 8), draws=2)
    lines = analysis.table(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert lines[0].startswith("| site | ghost_size | strength |")
    pytest.importorskip("matplotlib")
    analysis.figure(rows, tmp_path / "noise.png")
    assert (tmp_path / "noise.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_is_said() -> None:
    with pytest.raises(ValueError, match="no ghost noise sites; add some"):
        analysis.measure_noise(network(), torch.randn(4, 3, 8, 8))
    with pytest.raises(ValueError, match="at least one batch"):
        analysis.discrepancy(network(), [])
    with pytest.raises(ValueError, match="at least one row"):
        analysis.table([])
