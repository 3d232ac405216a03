"""A first look: the fused form is the plain composition, and surgery is undone."""

import torch
from torch import nn

import gni
from gni import functional as G


def test_fused_equals_noise_after_batch_norm() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 4, 4, dtype=torch.float64)
    ghosts = G.draw_ghosts(8, 5)
    fused = G.batch_norm_ghost_noise(x, ghosts, None, None, strength=1.3, training=True)
    normal = nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(fused, G.ghost_noise(normal, ghosts, 1.3), rtol=0, atol=1e-12)


def test_surgery_is_undone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    before, keys = dict(model[1].__dict__), list(model.state_dict())
    assert gni.add_ghost_noise(model, 4) == 1
    assert list(model.state_dict()) == keys
    assert gni.remove_ghost_noise(model) == 1
    assert type(model[1]) is nn.BatchNorm2d
    assert model[1].__dict__ == before
