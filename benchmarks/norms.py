"""What ghost noise costs: time and memory of every layer as ratios to nn.BatchNorm.

    python benchmarks/norms.py [--device cuda] [--reps 15] [--shapes 32 16 8 4] [--no-compile]
                               [--json FILE]

One process, the arms interleaved, the median of the repetitions of forward + backward. On the CPU
one thread in processor time (so that other work on the machine does not count), float32; the
allocator is tuned as in our workers (the script starts itself again with the two variables). On
CUDA time between events, each of several passes, in bfloat16 channels_last and in float32
contiguous: "nn.BatchNorm" is cuDNN's there.
`saved` is what stays alive between the passes, in units of the input. Arms named "paper" are the
plain composition of operations that the paper's description suggests; "memcpy x4" is the floor: an
input read and an output written, forward and backward, once for the statistics and once for use.
"""

import argparse
import gc
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gni

BATCH = 256
SHAPES = {32: 64, 16: 128, 8: 256, 4: 512}
VECTORS = [(1024, 512), (128, 128)]
FORMS = {
    "float32": (torch.float32, torch.contiguous_format),
    "bfloat16 channels_last": (torch.bfloat16, torch.channels_last),
}
PASSES = 10  # between two CUDA events
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}


def tuned_allocator() -> None:
    """Start the script again with the allocator of our workers."""
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})


class PaperNoise(nn.Module):
    """BN without affine, noise through a (B, N, C) gather, gain, bias: one operation each."""

    def __init__(self, channels: int, ghost_size: int, vectors: bool) -> None:
        super().__init__()
        self.norm = (nn.BatchNorm1d if vectors else nn.BatchNorm2d)(channels, affine=False)
        shape = (1, channels) if vectors else (1, channels, 1, 1)
        self.gain, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.ghost_size = ghost_size

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = self.norm(x)
        with torch.no_grad():
            dims = list(range(2, x.dim()))
            mean = x.mean(dims) if dims else x
            square = x.square().mean(dims) if dims else x.square()
            draw = torch.randint(len(x), (len(x), self.ghost_size), device=x.device)
            ghost_mean, ghost_square = mean[draw].mean(1), square[draw].mean(1)
            delta = ghost_mean - mean.mean(0)
            batch_var = square.mean(0) - mean.mean(0).square()
            ghost_var = ghost_square - ghost_mean.square()
            rho = ((ghost_var + 1e-3) / (batch_var + 1e-3)).sqrt()
            delta, rho = (v.view(*v.shape, *[1] * len(dims)) for v in (delta, rho))
        return (x - delta) / rho * self.gain + self.bias


class PaperGroups(nn.Module):
    """Ghost or exclusive batch norm by a reshape and differentiable statistics."""

    def __init__(self, channels: int, ghost_size: int, vectors: bool, exclusive: bool) -> None:
        super().__init__()
        shape = (1, channels) if vectors else (1, channels, 1, 1)
        self.gain, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.ghost_size, self.exclusive = ghost_size, exclusive

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        groups = x.view(-1, self.ghost_size, *x.shape[1:])
        space = list(range(3, groups.dim()))
        mean = groups.mean(space, keepdim=True) if space else groups
        square = groups.square().mean(space, keepdim=True) if space else groups.square()
        if self.exclusive:
            others = self.ghost_size - 1
            mean = (mean.sum(1, keepdim=True) - mean) / others
            square = (square.sum(1, keepdim=True) - square) / others
        else:
            mean, square = mean.mean(1, keepdim=True), square.mean(1, keepdim=True)
        z = (groups - mean) / (square - mean.square() + 1e-5).sqrt()
        return z.view_as(x) * self.gain + self.bias


class Copies(nn.Module):
    """The floor: as many bytes as a perfect implementation moves."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return _Copies.apply(x)


class _Copies(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone().copy_(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad.clone().copy_(grad)


def layers(channels: int, vectors: bool, batch: int) -> dict[str, nn.Module]:
    """Return every arm for inputs of so many channels."""
    d = "1d" if vectors else "2d"
    return {
        "nn.BatchNorm": getattr(nn, f"BatchNorm{d}")(channels),
        "memcpy x4": Copies(),
        "nn.Dropout": nn.Dropout(0.1),
        "paper BN+GNI(16)": PaperNoise(channels, 16, vectors),
        "paper GBN(16)": PaperGroups(channels, 16, vectors, exclusive=False),
        "paper XBN": PaperGroups(channels, batch, vectors, exclusive=True),
        "GhostNoiseBatchNorm(16)": getattr(gni, f"GhostNoiseBatchNorm{d}")(channels, 16),
        "GhostNoiseBatchNorm(64)": getattr(gni, f"GhostNoiseBatchNorm{d}")(channels, 64),
        "GhostBatchNorm(16)": getattr(gni, f"GhostBatchNorm{d}")(channels, 16),
        "ExclusiveBatchNorm": getattr(gni, f"ExclusiveBatchNorm{d}")(channels, batch),
        "EvalNorm(16)": getattr(gni, f"EvalNorm{d}")(channels, 16),
        "GhostNoise(16)": gni.GhostNoise(16),
        "AnalyticNoise(16)": gni.AnalyticNoise(16),
        "NoiseDropout gaussian": gni.NoiseDropout(0.1, kind="gaussian"),
    }


def compiled(arms: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Return the arms that are worth compiling, compiled."""
    names = [n for n in arms if n == "nn.BatchNorm" or "Norm(" in n or n.startswith("Excl")]
    names += ["GhostNoise(16)", "paper BN+GNI(16)"]
    made = {}
    for name in names:
        torch._dynamo.reset()
        made[f"{name} compiled"] = torch.compile(arms[name], fullgraph=True)
    return made


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """Return the bytes that a forward keeps for its backward, the draw included."""
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = module(x)
    rule = getattr(y.grad_fn, "rule", None)
    draw = getattr(rule, "ghosts", None)
    return sum(kept.values()) + (0 if draw is None else draw.nbytes)


def step(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return one forward + backward."""
    grad = torch.randn_like(module(x).detach())

    def run() -> None:
        module(x).backward(grad)
        x.grad = None
        for parameter in module.parameters():
            parameter.grad = None

    return run


def processor_seconds(run: Callable[[], None]) -> float:
    """Return the processor time of one pass."""
    start = time.process_time()
    run()
    return time.process_time() - start


def cuda_seconds(run: Callable[[], None]) -> float:
    """Return the device's time for one pass, the mean of several in a row."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(PASSES):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / PASSES


def interleaved(
    steps: dict[str, Callable[[], None]], reps: int, clock: Callable[[Callable[[], None]], float]
) -> dict[str, float]:
    """Return the median seconds of every arm; each round runs all, in an order of its own.

    What ran before leaves caches and allocator in its own state.
    """
    order = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for run in steps.values():
        for _ in range(3):
            run()
    gc.disable()
    for _ in range(reps):
        for name in order.sample(list(steps), len(steps)):
            times[name].append(clock(steps[name]))
    gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def measure(arms: dict[str, nn.Module], x: Tensor, reps: int) -> dict[str, dict[str, float]]:
    """Return time relative to the first arm and saved bytes relative to the input."""
    x.requires_grad_()
    arms = {name: module.to(x.device) for name, module in arms.items()}
    saved = {name: saved_bytes(module, x) / x.nbytes for name, module in arms.items()}
    clock = cuda_seconds if x.is_cuda else processor_seconds
    seconds = interleaved({n: step(m, x) for n, m in arms.items()}, reps, clock)
    base = next(iter(seconds.values()))
    return {
        name: {"ratio": seconds[name] / base, "ms": seconds[name] * 1e3, "saved": saved[name]}
        for name in arms
    }


def mlp_arms(width: int, compile_too: bool) -> dict[str, nn.Module]:
    """Return Linear followed by a norm."""
    arms = {
        "Linear+BatchNorm": nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width)),
        "Linear+GhostNoiseBatchNorm(16)": nn.Sequential(
            nn.Linear(width, width), gni.GhostNoiseBatchNorm1d(width, 16)
        ),
        "Linear+paper BN+GNI(16)": nn.Sequential(
            nn.Linear(width, width), PaperNoise(width, 16, vectors=True)
        ),
    }
    if compile_too:
        name = "Linear+GhostNoiseBatchNorm(16)"
        arms[f"{name} compiled"] = torch.compile(arms[name], fullgraph=True)
    return arms


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}\n{'arm':<42}{'ratio':>8}{'ms':>9}{'saved':>8}")
    for name, row in table.items():
        print(f"{name:<42}{row['ratio']:>8.2f}{row['ms']:>9.2f}{row['saved']:>8.2f}", flush=True)


def hardware(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, 1 thread"
    return f"{platform.processor() or platform.machine()}, 1 thread"


def tables(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    """Measure shape after shape, in every form."""
    device, compile_too = options.device, not options.no_compile
    for name, (dtype, layout) in FORMS.items() if device == "cuda" else [*FORMS.items()][:1]:
        for side in options.shapes:
            channels = SHAPES[side]
            arms = layers(channels, False, BATCH)
            arms |= compiled(arms) if compile_too else {}
            x = torch.randn(BATCH, channels, side, side, device=device, dtype=dtype)
            x = x.to(memory_format=layout)
            yield f"{tuple(x.shape)} {name}", measure(arms, x, options.reps)
    for batch, channels in VECTORS:
        arms = layers(channels, True, batch)
        arms |= compiled(arms) if compile_too else {}
        x = torch.randn(batch, channels, device=device)
        yield f"{tuple(x.shape)} float32", measure(arms, x, options.reps)
        arms = mlp_arms(channels, compile_too)
        x = torch.randn(batch, channels, device=device)
        yield f"{tuple(x.shape)} float32 through a block", measure(arms, x, options.reps)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--reps", type=int, default=15)
    parser.add_argument("--shapes", type=int, nargs="*", default=list(SHAPES))
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a CUDA GPU, and torch sees none here; use --device cpu")
    tuned_allocator()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{hardware(options.device)}, torch {torch.__version__}, {options.reps} rounds")
    results = {}
    for title, table in tables(options):
        results[title] = table
        show(title, table)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
