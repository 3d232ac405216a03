"""On a CUDA GPU: no host synchronisation, CUDA graphs, bfloat16 channels_last under autocast.

Without a GPU what can be seen of it on a CPU: that no layer asks for a value, nor for what CUDA's
kernels do not give.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import gni

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="NOT TESTED: torch sees no CUDA GPU here"
)
BATCH, CHANNELS = 16, 8
NORMS: dict[str, Callable[[], nn.Module]] = {
    "in one": lambda: gni.GhostNoiseBatchNorm2d(CHANNELS, 4),
    "ghost": lambda: gni.GhostBatchNorm2d(CHANNELS, 4),
    "sequential": lambda: gni.GhostBatchNorm2d(CHANNELS, 4, running="sequential"),
    "exclusive": lambda: gni.ExclusiveBatchNorm2d(CHANNELS, 4),
    "eval": lambda: gni.EvalNorm2d(CHANNELS, 4),
}
NOISES: dict[str, Callable[[], nn.Module]] = {
    "noise": lambda: gni.GhostNoise(4),
    "large ghosts": lambda: gni.GhostNoise(32),
    "shuffled groups": lambda: gni.GhostNoise(4, sampling="shuffled"),
    "analytic": lambda: gni.AnalyticNoise(4.5, instance_std=True),
    "dropout": lambda: gni.NoiseDropout(0.2),
    "gaussian dropout": lambda: gni.NoiseDropout(0.2, kind="gaussian", per="channel"),
}
VECTORS: dict[str, Callable[[], nn.Module]] = {
    "in one, vectors": lambda: gni.GhostNoiseBatchNorm1d(CHANNELS, 4),
    "ghost, vectors": lambda: gni.GhostBatchNorm1d(CHANNELS, 4),
    "exclusive, vectors": lambda: gni.ExclusiveBatchNorm1d(CHANNELS, 4),
    "noise, vectors": lambda: gni.GhostNoise(4),
}
LAYERS = {**NORMS, **NOISES, **VECTORS}
# Operators whose result or its shape the host must wait for.
WAITING = {
    "aten::_local_scalar_dense",
    "aten::equal",
    "aten::is_nonzero",
    "aten::item",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave.Tensor",
    "aten::_unique2",
}


def batch(name: str, device: str = "cpu") -> Tensor:
    shape = (BATCH, CHANNELS) if name in VECTORS else (BATCH, CHANNELS, 6, 6)
    return torch.randn(shape, device=device, requires_grad=True)


class Asked(TorchDispatchMode):
    """Collect the names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", list(LAYERS))
def test_no_value_is_asked_for(name: str) -> None:
    layer, x = LAYERS[name](), batch(name)
    with Asked() as asked:
        layer(x).square().sum().backward()
    assert len(asked.seen) > 5
    assert not asked.seen & WAITING


def test_asking_would_be_noticed() -> None:
    with Asked() as asked:
        float(torch.ones(()))
    assert asked.seen & WAITING


class WeightWanted(TorchDispatchMode):
    """Without a weight CUDA's backward of a batch norm of vectors gives sums of no length."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.native_batch_norm_backward.default and args[2] is None:
            return out[0], args[1].new_empty(0), args[1].new_empty(0)
        return out


def test_large_vectors_have_gradients() -> None:
    layer = gni.GhostNoiseBatchNorm1d(512, 4)
    x = torch.randn(128, 512, requires_grad=True)
    inputs = (x, *layer.parameters())
    gni.hold_ghosts(layer, 128)
    wanted = torch.autograd.grad(layer(x).square().sum(), inputs)
    with WeightWanted():
        found = torch.autograd.grad(layer(x).square().sum(), inputs)
    assert all(map(torch.equal, found, wanted))


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("name", list(LAYERS))
def test_no_synchronisation(name: str) -> None:
    layer, x = LAYERS[name]().cuda(), batch(name, "cuda")
    layer(x).square().sum().backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        layer(x).square().sum().backward()
        gni.set_ghost_noise(layer, strength=0.5)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
@pytest.mark.parametrize("name", list(LAYERS))
def test_the_gpu_agrees_with_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    layer, x = LAYERS[name](), batch(name)
    results = []
    for device in ("cpu", "cuda"):
        moved = layer.to(device)
        gni.set_generator(moved, torch.Generator().manual_seed(1))
        value = x.detach().to(device).requires_grad_()
        y = moved(value)
        inputs = (value, *moved.parameters())
        grads = torch.autograd.grad(y.square().sum(), inputs)
        results.append([t.cpu() for t in (y, *grads)])
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-3)


@needs_gpu
@pytest.mark.parametrize("name", list(NORMS))
def test_bfloat16_channels_last_under_autocast(name: str) -> None:
    torch.manual_seed(0)
    layer = NORMS[name]().cuda()
    x = torch.randn(BATCH, CHANNELS, 6, 6, device="cuda").to(memory_format=torch.channels_last)
    gni.hold_ghosts(layer, BATCH)
    half = x.bfloat16().requires_grad_()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        y = layer(half)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y.float(), layer(half.detach().float()), rtol=2e-2, atol=2e-2)
    y.float().square().sum().backward()
    assert half.grad is not None
    assert half.grad.isfinite().all()


@needs_gpu
@pytest.mark.parametrize("name", ["in one", "in one, vectors", "noise", "noise, vectors"])
def test_cuda_graph_with_a_held_draw(name: str) -> None:
    """A captured step follows the strength and the draw, which are filled in place."""
    torch.manual_seed(0)
    layer, x = LAYERS[name]().cuda(), batch(name, "cuda")
    gni.set_generator(layer, torch.Generator().manual_seed(0))
    gni.hold_ghosts(layer, BATCH)
    inputs = (x, *layer.parameters())

    def step() -> tuple[Tensor, ...]:
        y = layer(x)
        return (y, *torch.autograd.grad(y.square().sum(), inputs))

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    seen = []
    for strength in (1.0, 0.25):
        gni.set_ghost_noise(layer, strength=strength)
        gni.hold_ghosts(layer, BATCH)
        graph.replay()
        torch.testing.assert_close(captured, step(), rtol=1e-4, atol=1e-4)
        seen.append(captured[0].clone())
    assert not torch.allclose(*seen)


@needs_gpu
def test_cuda_graph_draws_anew() -> None:
    layer, x = gni.GhostNoise(4).cuda(), batch("noise", "cuda").detach()
    for _ in range(3):
        layer(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = layer(x)
    graph.replay()
    first = y.clone()
    graph.replay()
    assert not torch.equal(first, y)
