import math

import pytest
import torch
from torch import nn

from sweeps.spec import OptimizerSpec, TrainingSpec
from sweeps.trial.optim import learning_rate, make_optimizer, parameter_groups, peak_lr


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
    make_optimizer(net, spec, torch.tensor(0.5)).step()
    for p, was in zip(net.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), was * (0.95 if was.dim() > 1 else 1))


def test_nesterov_by_hand():
    p = nn.Parameter(torch.tensor([[1.0]]))
    net = nn.Module()
    net.p = p
    lr = torch.tensor(0.0)
    spec = OptimizerSpec(momentum=0.5, weight_decay=0)
    optimizer = make_optimizer(net, spec, lr)
    for rate, grad in ((0.1, 2.0), (0.2, 1.0)):
        lr.fill_(rate)
        p.grad = torch.tensor([[grad]])
        optimizer.step()
    # velocity 2, then 0.5·2 + 1 = 2; steps 0.1·(2 + 0.5·2) and 0.2·(1 + 0.5·2)
    assert p.item() == pytest.approx(1 - 0.3 - 0.4)
