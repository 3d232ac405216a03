"""Data parallel: a worker's own batch is what its layers see. Two gloo processes."""

import os
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import gni


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    gni.add_ghost_noise(model, 4)
    gni.set_generator(model, torch.Generator().manual_seed(10 + rank))
    parallel = nn.parallel.DistributedDataParallel(model, forward_sync_buffers=False)
    x = torch.randn(16, 3).chunk(2)[rank]
    parallel(x).square().sum().backward()
    found = {
        "grads": [p.grad for p in model.parameters()],
        "mean": model[1].running_mean,
    }
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.barrier()
    os._exit(0)  # gloo's threads at times abort the interpreter's own exit


def test_two_workers(tmp_path: Path) -> None:
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    gni.add_ghost_noise(model, 4)
    grads = []
    for rank, x in enumerate(torch.randn(16, 3).chunk(2)):
        gni.set_generator(model, torch.Generator().manual_seed(10 + rank))
        model[1].reset_running_stats()
        loss = model(x).square().sum()
        grads.append(torch.autograd.grad(loss, list(model.parameters())))
        torch.testing.assert_close(found[rank]["mean"], model[1].running_mean)
    for a, b, ours, theirs in zip(*grads, found[0]["grads"], found[1]["grads"], strict=True):
        assert torch.equal(ours, theirs)
        torch.testing.assert_close(ours, (a + b) / 2, rtol=1e-4, atol=1e-5)
