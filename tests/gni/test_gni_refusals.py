"""What bad options and bad batches get: the rule, the value, the remedy."""

import math
from collections.abc import Callable

import pytest
import torch
from test_gni_layers import CHANNELS, NORMS, BadInput
from torch import nn

import gni


@pytest.mark.parametrize("size", [0, -3, 2.5, True, "16"])
@pytest.mark.parametrize("name", ["GhostNoise", *(f"{n}2d" for n in NORMS)])
def test_bad_ghost_sizes(name: str, size: object) -> None:
    positional = (size,) if name == "GhostNoise" else (CHANNELS, size)
    with pytest.raises(BadInput, match="ghost_size"):
        getattr(gni, name)(*positional)


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_bad_strengths(strength: float) -> None:
    for make in (lambda: gni.GhostNoise(4, strength), lambda: gni.AnalyticNoise(4.0, strength)):
        with pytest.raises(ValueError, match=f"strength must be a finite .* got {strength}"):
            make()
    layer = gni.GhostNoise(4)
    with pytest.raises(ValueError, match="strength"):
        layer.strength = strength


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: gni.GhostNoise(4), (1, 4, 2, 2), "at least 2 samples, got 1; drop"),
        (lambda: gni.GhostNoise(1), (8, 4), "ghost_size must be >= 2 for vectors, got 1; use|one"),
        (lambda: gni.GhostNoise(4, sampling="groups"), (6, 4), "ghost size 4 and batch 6"),
        (lambda: gni.GhostNoiseBatchNorm2d(4, 4), (1, 4, 2, 2), "at least 2 samples, got 1"),
        (lambda: gni.GhostNoiseBatchNorm2d(4, 4), (8, 4), "expected 4D input"),
        (lambda: gni.GhostBatchNorm1d(4, 4), (6, 4), "ghost size 4 and batch 6; drop"),
        (lambda: gni.GhostBatchNorm1d(4, 1), (6, 4), "at least 2 values per channel, got 1"),
        (lambda: gni.GhostBatchNorm1d(4, 16), (8, 4), "ghost size 16 and batch 8"),
        (lambda: gni.ExclusiveBatchNorm1d(4, 2), (6, 4), "use a ghost size of 3 or more"),
        (lambda: gni.ExclusiveBatchNorm2d(4, 4), (6, 4, 2, 2), "ghost size 4 and batch 6"),
        (lambda: gni.EvalNorm3d(4, 4), (6, 4, 2, 2, 1), "ghost size 4 and batch 6"),
        (lambda: gni.GhostNoiseBatchNorm2d(4, 4), (0, 4, 2, 2), "at least 2 samples, got 0"),
        (lambda: gni.GhostBatchNorm2d(4, 4), (0, 4, 2, 2), "needs samples, got 0; leave it out"),
        (lambda: gni.ExclusiveBatchNorm2d(4, 4), (0, 4, 2, 2), "needs samples, got 0"),
        (lambda: gni.WSLinear(1, 2), (3, 1), "fan-in of at least 2, got 1"),
        (lambda: gni.GhostNoise(4, channel_dim=0), (8, 4, 2), "other than the batch, got 0 for"),
        (
            lambda: gni.GhostNoise(4, channel_dim=9),
            (8, 4, 2),
            r"got 9 for shape \(8, 4, 2\); 1 and",
        ),
        (lambda: gni.AnalyticNoise(4), (8,), r"noise needs \(batch, channels, ...\), got shape"),
        (lambda: gni.AnalyticNoise(4, channel_dim=2), (8, 4), "other than the batch, got 2 for"),
        (lambda: gni.NoiseDropout(0.1, per="channel"), (8,), "noise needs"),
    ],
)
def test_bad_batches(make: Callable[[], nn.Module], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(torch.randn(shape))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gni.ExclusiveBatchNorm1d(4, 1), "ghost_size must be >= 2, got 1"),
        (lambda: gni.AnalyticNoise(1.0), "ghost_size must be > 1 and finite, got 1.0"),
        (lambda: gni.NoiseDropout(1.0), r"p must lie in \[0, 1\), got 1.0"),
        (lambda: gni.NoiseDropout(0.1, kind="?"), "kind"),
        (lambda: gni.NoiseDropout(0.1, per="?"), "per"),
        (lambda: gni.GhostNoise(4, sampling="?"), "sampling"),
        (lambda: gni.GhostNoise(4, eps=-1.0), r"^eps must be a finite number >= 0, got -1\.0"),
        (lambda: gni.GhostNoise(4, eps=math.nan), "^eps must be .*, got nan"),
        (lambda: gni.GhostNoiseBatchNorm1d(4, 4, eps=-1e-5), "^eps must be"),
        (lambda: gni.GhostNoiseBatchNorm1d(4, 4, noise_eps=math.inf), "^noise_eps must be"),
        (lambda: gni.GhostBatchNorm1d(4, 4, eps=-1e-5), "^eps must be"),
        (lambda: gni.ExclusiveBatchNorm1d(4, 4, eps=-1e-5), "^eps must be"),
        (lambda: gni.EvalNorm1d(4, 4, eps=-1e-5), "^eps must be"),
        (lambda: gni.WSLinear(4, 2, eps=-1e-5), "^eps must be"),
        (lambda: gni.GhostBatchNorm1d(4, 4, running="?"), "running"),
        (lambda: gni.GhostBatchNorm1d(4, 4, running="sequential", momentum=None), "momentum"),
        (lambda: gni.WSLinear(4, 2, scale="?"), "scale"),
        (lambda: gni.EvalNorm1d(4, 2, track_running_stats=False), "EvalNorm1d mixes running"),
    ],
)
def test_bad_options(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("space", [(), (2, 2)], ids=str)
def test_wrong_number_of_channels(name: str, space: tuple[int, ...]) -> None:
    layer = getattr(gni, f"{name}{2 if space else 1}d")(1, 4)
    with pytest.raises(BadInput, match=r"has 1 channels and the input 3|running_mean"):
        layer(torch.randn(8, 3, *space))
    assert torch.equal(layer.running_mean, torch.zeros(1))
