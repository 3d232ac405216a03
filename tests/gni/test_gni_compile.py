"""torch.compile: whole graphs, no recompilation on a new strength, held draws.

The type-checking hook of the other tests cannot be traced, so under it this file runs itself once
more in a process without.
"""

import functools
import os
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

import gni

HOOKED = hasattr(gni.functional.ghost_noise, "__wrapped__")
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("c++")),
    reason="NOT TESTED: torch.compile needs a C++ compiler and none was found",
)
LAYERS = {
    "noise": lambda: gni.GhostNoise(4),
    "noise in groups": lambda: gni.GhostNoise(4, sampling="shuffled"),
    "in one": lambda: gni.GhostNoiseBatchNorm2d(3, 4),
    "ghost": lambda: gni.GhostBatchNorm2d(3, 4, running="sequential"),
    "exclusive": lambda: gni.ExclusiveBatchNorm2d(3, 4),
    "eval": lambda: gni.EvalNorm2d(3, 4),
    "analytic": lambda: gni.AnalyticNoise(4.5),
    "dropout": lambda: gni.NoiseDropout(0.2, kind="gaussian", per="channel"),
    "weights": lambda: gni.WSConv2d(3, 3, 3),
}


@pytest.mark.skipif(not HOOKED, reason="this process can compile")
def test_without_the_hook() -> None:
    environment = {**os.environ, "JAXTYPING_DISABLE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(HOOKED, reason="runs in a process of its own")
class TestCompiled:
    @pytest.mark.parametrize("name", list(LAYERS))
    def test_one_graph_forward_and_backward(self, name: str) -> None:
        torch._dynamo.reset()
        layer = LAYERS[name]()
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        x = torch.randn(8, 3, 4, 4, requires_grad=True)
        compiled(x).square().sum().backward()
        assert x.grad is not None
        layer.eval()
        torch.testing.assert_close(compiled(x), layer(x))

    @needs_compiler
    def test_values_and_gradients_by_the_default_backend(self) -> None:
        torch.manual_seed(0)
        torch._dynamo.reset()
        layer = gni.GhostNoiseBatchNorm2d(3, 4)
        gni.hold_ghosts(layer, 8)
        x = torch.randn(8, 3, 4, 4, requires_grad=True)
        results = []
        for run in (layer, torch.compile(layer, fullgraph=True)):
            y = run(x)
            inputs = (x, *layer.parameters())
            results.append((y, *torch.autograd.grad(y.square().sum(), inputs)))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        "make", [gni.GhostNoise, functools.partial(gni.GhostNoiseBatchNorm1d, 3)]
    )
    def test_compiled_is_eager_for_the_same_draw(self, make) -> None:
        """Eager and compiled sum the drawn rows in ways of their own."""
        torch.manual_seed(0)
        torch._dynamo.reset()
        layer = make(4)
        gni.hold_ghosts(layer, 32)
        x = torch.randn(32, 3, requires_grad=True)
        results = []
        for run in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
            y = run(x)
            grads = torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))
            results.append((y, *grads))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)

    def test_strength_and_held_sizes_change_without_recompiling(self) -> None:
        torch.manual_seed(0)
        torch._dynamo.reset()
        model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.LayerNorm(6))
        gni.add_ghost_noise(model, 4)
        generator = torch.Generator().manual_seed(0)
        gni.set_generator(model, generator)
        gni.hold_ghosts(model, 8, as_weights=True)
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        x, seen = torch.randn(8, 5), []
        compiled(x)
        with torch.compiler.set_stance("fail_on_recompile"):
            for size, strength in ((4, 0.5), (16, 0.0), (8, 2.0)):
                gni.set_ghost_noise(model, ghost_size=size, strength=strength)
                gni.hold_ghosts(model, 8, as_weights=True)
                torch.testing.assert_close(compiled(x), model(x), rtol=1e-3, atol=1e-4)
                seen.append(compiled(x).detach())
        assert not torch.allclose(seen[0], seen[1])
        assert not torch.allclose(seen[1], seen[2])

    def test_new_draws_in_every_step(self) -> None:
        torch._dynamo.reset()
        compiled = torch.compile(gni.GhostNoise(4), fullgraph=True, backend="aot_eager")
        x = torch.randn(8, 3)
        assert not torch.equal(compiled(x), compiled(x))

    def test_an_explicit_generator_is_told_to_be_eager_only(self) -> None:
        torch._dynamo.reset()
        layer = gni.GhostNoise(4)
        layer.generator = torch.Generator()
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        with pytest.raises(Exception, match="cannot draw from an explicit generator"):
            compiled(torch.randn(8, 3))

    @pytest.mark.parametrize(
        ("name", "rows"), [("in one", 2 * 64), ("ghost", 2 * 16), ("exclusive", 2 * 64)]
    )
    def test_what_is_kept_for_the_backward(self, name: str, rows: int) -> None:
        """Two values an instance or group and channel; the partition is the default backend's."""
        torch._dynamo.reset()
        compiled = torch.compile(LAYERS[name](), backend="aot_eager_decomp_partition")
        x = torch.randn(64, 3, 16, 16, requires_grad=True)
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            compiled(x)
        assert x.numel() <= sum(kept.values()) <= x.numel() + 3 * (rows + 4)

    def test_members_of_a_vmap_in_one_graph(self) -> None:
        torch._dynamo.reset()
        x, ghosts = torch.randn(2, 8, 3, 4, 4), torch.randint(8, (8, 4))
        strengths = torch.tensor([0.5, 1.5])

        def member(x: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
            return gni.functional.batch_norm_ghost_noise(
                x, ghosts, None, None, strength=strength, training=True
            )

        together = torch.compile(torch.func.vmap(member), fullgraph=True, backend="aot_eager")
        alone = torch.stack([member(*pair) for pair in zip(x, strengths, strict=True)])
        torch.testing.assert_close(together(x, strengths), alone)
