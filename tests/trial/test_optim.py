import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sweeps.spec import OptimizerSpec, TrainingSpec
from sweeps.trial.optim import FusedOptimizer, learning_rate, parameter_groups, peak_lr


def training(schedule=None, **fields) -> TrainingSpec:
    optimizer = {"lr": 0.4, **fields.pop("optimizer", {})}
    return TrainingSpec(optimizer=optimizer, schedule=schedule or {}, **{"epochs": 10, **fields})


def rates(spec, updates):
    return [learning_rate(update, spec, 4) for update in updates]


def test_cosine():
    # T = 40 updates; cos 0 = 1, cos(pi/4) = sqrt(1/2), cos(pi/2) = 0
    spec = training({"name": "cosine", "min_lr": 0.2})
    wanted = [0.4, 0.2 + 0.1 * (1 + math.sqrt(0.5)), 0.3, 0.2]
    assert rates(spec, [0, 10, 20, 40]) == pytest.approx(wanted)
    assert rates(spec, [39])[0] > 0.2


def test_a_cosine_begun_anew_after_four_of_ten_epochs():
    spec = training({"name": "cosine", "warmup_epochs": 1, "warmup_lr": 0.1})
    rates = [learning_rate(update, spec, 4, restarted=4) for update in (16, 28, 40)]
    assert rates == pytest.approx([0.4, 0.2, 0])  # 24 updates from the 16th on; no warm-up


def test_warm_up_takes_the_place_of_the_first_part():
    spec = training({"name": "cosine", "warmup_epochs": 2, "warmup_lr": 0.08})
    # 8 updates of (0.4 - 0.08) / 8 = 0.04 each, then the cosine as if from update 0
    wanted = [0.08, 0.12, 0.36, 0.2 * (1 + math.cos(math.pi * 8 / 40))]
    assert rates(spec, [0, 1, 7, 8]) == pytest.approx(wanted)


def test_warm_up_of_part_of_an_epoch():
    spec = training({"name": "constant", "warmup_epochs": 0.5, "warmup_lr": 0})
    assert rates(spec, [0, 1, 2, 3]) == pytest.approx([0, 0.2, 0.4, 0.4])


def test_step():
    spec = training({"name": "step", "milestones": [2, 5], "gamma": 0.5})
    assert rates(spec, [0, 7, 8, 19, 20, 39]) == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.1, 0.1])


def test_constant():
    assert rates(training({"name": "constant"}), [0, 39]) == [0.4, 0.4]


def test_step_and_constant_do_not_depend_on_the_last_epoch():
    for schedule in ({"name": "constant"}, {"name": "step", "milestones": [3]}):
        short, long = training(schedule, epochs=5), training(schedule, epochs=50)
        assert rates(short, range(20)) == rates(long, range(20))


@pytest.mark.parametrize(("scaling", "peak"), [("none", 0.4), ("sqrt", 0.8), ("linear", 1.6)])
def test_scaling_with_the_batch(scaling, peak):
    optimizer = {"lr_scaling": scaling, "base_batch_size": 64}
    spec = training({"name": "constant"}, batch_size=256, optimizer=optimizer)
    assert peak_lr(spec) == pytest.approx(peak)
    assert rates(spec, [3]) == pytest.approx([peak])


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))


def test_groups_hold_each_trained_parameter_once():
    net = model()
    net[0].bias.requires_grad_(False)
    decayed, kept = parameter_groups(net, 0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert [p.dim() for p in decayed["params"]] == [4, 2]
    assert [p.dim() for p in kept["params"]] == [1, 1, 1]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_one_dimensional_parameters_are_not_decayed(name):
    net = model()
    before = [p.detach().clone() for p in net.parameters()]
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    spec = OptimizerSpec(name=name, weight_decay=0.1, momentum=0, nesterov=False)
    FusedOptimizer(net, spec, torch.tensor(0.5)).step()
    for p, was in zip(net.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), was * (0.95 if was.dim() > 1 else 1))


OPTIMIZERS = {
    "nesterov": {"weight_decay": 0.01},
    "momentum": {"nesterov": False, "momentum": 0.5},
    "plain": {"nesterov": False, "momentum": 0},
    "adamw": {"name": "adamw", "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
}


def torchs(net, spec, lr):
    groups = parameter_groups(net, spec.weight_decay)
    if spec.name == "adamw":
        return torch.optim.AdamW(groups, lr, betas=spec.betas, eps=spec.eps, fused=True)
    options = {"momentum": spec.momentum, "nesterov": spec.nesterov, "fused": True}
    return torch.optim.SGD(groups, lr, **options)


def gradients(net, step):
    rng = torch.Generator().manual_seed(step)
    for i, p in enumerate(net.parameters()):
        p.grad = None if i == 1 else torch.randn(p.shape, generator=rng)  # one is never used


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_torch_optim(name):
    spec, lr = OptimizerSpec(**OPTIMIZERS[name]), torch.tensor(0.0)
    ours, theirs = model(), model()
    theirs.load_state_dict(ours.state_dict())
    optimizers = FusedOptimizer(ours, spec, lr), torchs(theirs, spec, lr)
    for step in range(6):
        lr.fill_(0.1 / (step + 1))
        for net, optimizer in zip((ours, theirs), optimizers, strict=True):
            gradients(net, step)
            optimizer.step()
            optimizer.zero_grad()
            assert all(p.grad is None for p in net.parameters())
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(p, q)


class Unasked(TorchDispatchMode):
    """No value may be asked for: the host would wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clipped", [False, True])
def test_a_grad_scaler_steps_it_and_skips_infinite_gradients(name, clipped):
    spec, lr = OptimizerSpec(**OPTIMIZERS[name]), torch.tensor(0.1)
    ours, plain = model(), model()
    plain.load_state_dict(ours.state_dict())
    optimizer, unscaled = FusedOptimizer(ours, spec, lr), FusedOptimizer(plain, spec, lr)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for step, value in enumerate((1.0, math.inf, 1.0)):
        gradients(plain, step)
        for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
            if q.grad is not None:
                p.grad = scaler.scale(q.grad * value)
        with Unasked():
            if clipped:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if value == 1:
            unscaled.step()
        assert all(map(torch.equal, ours.parameters(), plain.parameters()))
    assert scaler.get_scale() == 4.0


def test_training_does_not_import_the_compiler():
    code = (
        "import sys\nfrom sweeps.spec import SweepSpec\n"
        "from sweeps.trial.datasets import load\nfrom sweeps.trial.loop import fit\n"
        "spec = SweepSpec(name='a', data={'limit': 200}, training={'epochs': 1}).trial({}, 0)\n"
        "list(fit(spec, load(spec.data)))\n"
        "heavy = ('torch._dynamo', 'torch._inductor', 'sympy', 'torchvision', 'sklearn')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nesterov_by_hand():
    p = nn.Parameter(torch.tensor([[1.0]]))
    net = nn.Module()
    net.p = p
    lr = torch.tensor(0.0)
    spec = OptimizerSpec(momentum=0.5, weight_decay=0)
    optimizer = FusedOptimizer(net, spec, lr)
    for rate, grad in ((0.1, 2.0), (0.2, 1.0)):
        lr.fill_(rate)
        p.grad = torch.tensor([[grad]])
        optimizer.step()
    # velocity 2, then 0.5·2 + 1 = 2; steps 0.1·(2 + 0.5·2) and 0.2·(1 + 0.5·2)
    assert p.item() == pytest.approx(1 - 0.3 - 0.4)
