"""Surgery on any model: the count, the identity of parameters, and the way back."""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

import gni
from gni._site import NoiseSite
from gni._swap import modules_of

BATCH_NORMS = nn.modules.batchnorm._BatchNorm
NORMS = (BATCH_NORMS, nn.LayerNorm, nn.GroupNorm)
NAMES = torchvision.models.list_models(module=torchvision.models)
SMALL = ["squeezenet1_0", "shufflenet_v2_x0_5", "mnasnet0_5", "convnext_tiny", "swin_t"]


class WeightsOnMeta(TorchFunctionMode):
    """Leave weights without memory and random values; constructors may read other tensors."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_, nn.init.trunc_normal_):
            return args[0] if args else (kwargs or {})["tensor"]
        if func is torch.empty:
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        return func(*args, **(kwargs or {}))


def on_meta(name: str) -> nn.Module:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with WeightsOnMeta():
        return torchvision.models.get_model(name, weights=None, **options)


def snapshot(model: nn.Module) -> list[tuple[str, type, list[str], list[int]]]:
    """All that surgery might disturb: classes, attributes, and which tensors are where."""
    return [
        (
            name,
            type(m),
            sorted(m.__dict__),
            [id(t) for t in (*m.parameters(recurse=False), *m.buffers(recurse=False))],
        )
        for name, m in model.named_modules()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_walk_over_torchvision(name: str) -> None:
    model = on_meta(name)
    before, keys = snapshot(model), list(model.state_dict())
    wanted = sum(isinstance(m, NORMS) for m in model.modules())
    parameters = list(model.parameters())
    assert gni.add_ghost_noise(model, 4, 0.5) == wanted
    assert len(modules_of(model, NoiseSite)) == wanted
    assert list(model.state_dict()) == keys
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert gni.set_ghost_noise(model, ghost_size=8, strength=1.0) == wanted
    assert gni.remove_ghost_noise(model) == wanted
    assert snapshot(model) == before
    norms = sum(isinstance(m, BATCH_NORMS) for m in model.modules())
    assert gni.replace_batchnorm(model, 4) == norms
    assert gni.restore_batchnorm(model) == norms
    assert snapshot(model) == before


@pytest.mark.parametrize("name", SMALL)
def test_noise_in_a_real_forward(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, num_classes=3).train()
    for module in model.modules():
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    x = torch.randn(4, 3, 64, 64)
    plain = model(x)
    sites = gni.add_ghost_noise(model, 4)
    if sites == 0:
        assert torch.equal(model(x), plain)
        return
    assert not torch.allclose(model(x), plain)
    model(x).sum().backward()
    gni.set_ghost_noise(model, strength=0.0)
    torch.testing.assert_close(model(x), plain, rtol=1e-3, atol=1e-3)
    model.eval()
    y = model(x[:1])
    gni.remove_ghost_noise(model)
    assert torch.equal(model(x[:1]), y)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.LayerNorm(6)
    )


def test_calling_twice_is_calling_once() -> None:
    model = network()
    assert gni.add_ghost_noise(model, 4) == 2
    before = snapshot(model)
    assert gni.add_ghost_noise(model, 8, 0.25) == 2
    assert snapshot(model) == before
    assert (model[1].ghost_size, float(model[4].ghost_noise.strength)) == (8, 0.25)


def test_a_pattern_or_a_predicate_chooses() -> None:
    model = network()
    assert gni.add_ghost_noise(model, 4, where=r"^4$") == 1
    assert type(model[1]) is nn.BatchNorm1d
    assert gni.add_ghost_noise(model, 4, where=lambda _, m: isinstance(m, nn.BatchNorm1d)) == 1
    assert gni.remove_ghost_noise(model) == 2


def test_the_layer_itself() -> None:
    layer = nn.BatchNorm2d(3)
    assert gni.add_ghost_noise(layer, 4) == 1
    assert isinstance(layer, gni.GhostNoiseBatchNorm2d)


def test_an_optimiser_made_before_goes_on() -> None:
    model, x = network(), torch.randn(8, 4)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1)
    for change in (lambda m: gni.add_ghost_noise(m, 4), gni.remove_ghost_noise):
        change(model)
        before = [p.detach().clone() for p in model.parameters()]
        model(x)[:, 0].square().sum().backward()
        optimiser.step()
        moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
        assert all(moved)


def test_buffers_stay_the_same_through_training_and_moves() -> None:
    model, x = network(), torch.randn(8, 4)
    gni.add_ghost_noise(model, 4)
    model(x)
    model.to(torch.float64).to(torch.float32)
    gni.remove_ghost_noise(model)
    assert model[1].num_batches_tracked == 1
    model(x)
    assert model[1].num_batches_tracked == 2


def test_eval_and_train_reach_the_noise() -> None:
    model, x = network(), torch.randn(8, 4)
    gni.add_ghost_noise(model, 4)
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))
    frozen = network().eval()
    gni.add_ghost_noise(frozen, 4)
    assert torch.equal(frozen(x), frozen(x))


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_carry_the_noise_and_can_be_restored(copier) -> None:
    model, x = network(), torch.randn(8, 4)
    gni.add_ghost_noise(model, 4)
    twin = copier(model)
    torch.manual_seed(0)
    y = model(x)
    torch.manual_seed(0)
    assert torch.equal(twin(x), y)
    assert gni.remove_ghost_noise(twin) == 2
    assert isinstance(model[1], gni.GhostNoiseBatchNorm1d)
    assert torch.equal(twin(x), twin(x))


def test_one_generator_for_the_model() -> None:
    model, x = network(), torch.randn(8, 4)
    gni.add_ghost_noise(model, 4)
    generator = torch.Generator()
    assert gni.set_generator(model, generator) == 2
    generator.manual_seed(1)
    y = model(x)
    assert not torch.equal(model(x), y)
    generator.manual_seed(1)
    assert torch.equal(model(x), y)


def test_user_hooks_survive() -> None:
    model, seen = network(), []
    model[4].register_forward_hook(lambda *_: seen.append(1))
    gni.add_ghost_noise(model, 4)
    gni.remove_ghost_noise(model)
    model(torch.randn(8, 4))
    assert seen == [1]


def test_layers_that_were_built_noisy_stay() -> None:
    model = nn.Sequential(gni.GhostNoiseBatchNorm1d(4, 4), gni.GhostNoise(4))
    assert gni.remove_ghost_noise(model) == 0
    assert gni.set_ghost_noise(model, ghost_size=9) == 2
    assert model[0].ghost_size == 9


def test_layer_norm_noise_is_over_tokens() -> None:
    torch.manual_seed(0)
    layer, x = nn.LayerNorm(6), torch.randn(8, 5, 6)
    gni.add_ghost_noise(layer, 4)
    generator = torch.Generator()
    gni.set_generator(layer, generator)
    y = layer(x)
    ghosts = gni.functional.draw_ghosts(8, 4, generator=torch.Generator())
    plain = nn.functional.layer_norm(x, (6,))
    wanted = gni.functional.ghost_noise(plain.transpose(1, 2), ghosts).transpose(1, 2)
    torch.testing.assert_close(y, wanted)


def test_group_norm() -> None:
    layer = nn.GroupNorm(2, 6)
    gni.add_ghost_noise(layer, 4)
    assert layer.ghost_noise.channel_dim == 1
    assert layer(torch.randn(8, 6, 3)).shape == (8, 6, 3)


def test_what_cannot_be_done_is_said_and_changes_nothing() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.SyncBatchNorm(3))
    before = snapshot(model)
    with pytest.raises(ValueError, match="got SyncBatchNorm at '1', whose batch is spread"):
        gni.add_ghost_noise(model, 4)
    with pytest.raises(ValueError, match="got SyncBatchNorm at '1'"):
        gni.replace_batchnorm(model, 4)
    with pytest.raises(ValueError, match="ghost_size must be >= 1, got 0"):
        gni.add_ghost_noise(model, 0)
    with pytest.raises(ValueError, match="strength"):
        gni.add_ghost_noise(model, 4, -1.0)
    assert snapshot(model) == before
    assert gni.add_ghost_noise(model, 4, where="0") == 1


class Frozen(nn.BatchNorm2d):
    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)


class OwnForward(nn.BatchNorm2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).relu()


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.SyncBatchNorm(3), "drawn from one worker's own"),
        (gni.GhostBatchNorm2d(3, 4), "noisy already"),
        (gni.ExclusiveBatchNorm2d(3, 4), "noisy already"),
        (gni.EvalNorm2d(3, 4), "noisy already"),
        (nn.LazyBatchNorm2d(), "before the model has run"),
        (OwnForward(3), "methods are its own"),
        (Frozen(3), "methods are its own"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_batch_norms_that_cannot_take_noise_are_refused(layer: nn.Module, reason: str) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), layer, nn.GroupNorm(1, 3))
    name = type(layer).__name__
    with pytest.raises(ValueError, match=rf"got {name} at '1', .*{reason}.*; leave it out with"):
        gni.add_ghost_noise(model, 4)
    assert not modules_of(model, NoiseSite)
    assert gni.add_ghost_noise(model, 4, where=lambda _, m: m is not layer) == 1


@pytest.mark.parametrize("layer", [nn.InstanceNorm2d(3, affine=True), nn.RMSNorm(3)])
def test_norms_that_are_no_sites(layer: nn.Module) -> None:
    assert gni.add_ghost_noise(nn.Sequential(layer), 4) == 0


@pytest.mark.parametrize("kind", ["ghost", "exclusive", "eval"])
def test_replaced_batch_norms(kind) -> None:
    model, x = network(), torch.randn(8, 4)
    before = snapshot(model)
    assert gni.replace_batchnorm(model, 4, kind=kind) == 1
    built = {"ghost": gni.GhostBatchNorm1d, "exclusive": gni.ExclusiveBatchNorm1d}
    wanted = built.get(kind, gni.EvalNorm1d)(6, 4)
    wanted.load_state_dict(model[1].state_dict())
    hidden = model[0](x)
    assert torch.equal(model[1](hidden), wanted(hidden))
    assert gni.replace_batchnorm(model, 2, kind=kind) == 1
    assert model[1].ghost_size == 2
    assert gni.restore_batchnorm(model) == 1
    assert snapshot(model) == before


class BatchNormAct2d(nn.BatchNorm2d):
    """The shape of timm's layer: a batch norm that drops and activates in its own forward."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.act(self.drop(super().forward(input)))


def test_batch_norm_with_activation() -> None:
    layer, x = BatchNormAct2d(3), torch.randn(8, 3, 2, 2)
    plain = layer(x)
    assert gni.add_ghost_noise(layer, 4, 0.0) == 1
    torch.testing.assert_close(layer(x), plain)
    layer.strength = 1.0
    y = layer(x)
    assert (y >= 0).all()
    assert not torch.allclose(y, plain)
    assert gni.remove_ghost_noise(layer) == 1
    assert type(layer) is BatchNormAct2d


def test_timm_models() -> None:
    timm = pytest.importorskip("timm", reason="NOT TESTED: timm is not installed")
    for name in ("resnet18", "convnext_atto", "efficientnet_b0", "vit_tiny_patch16_224"):
        model = timm.create_model(name)
        before = snapshot(model)
        sites = gni.add_ghost_noise(model, 4)
        assert sites > 0
        size = model.default_cfg["input_size"]
        model(torch.randn(2, *size)).sum().backward()
        assert gni.remove_ghost_noise(model) == sites
        assert snapshot(model) == before


def test_a_size_that_one_site_cannot_take_changes_none() -> None:
    model = nn.Sequential(gni.GhostNoise(4), gni.AnalyticNoise(4.0))
    with pytest.raises(ValueError, match="must be > 1 and finite"):
        gni.set_ghost_noise(model, ghost_size=1)
    with pytest.raises(ValueError, match="whole number"):
        gni.set_ghost_noise(model, ghost_size=4.5)
    assert [site.ghost_size for site in model] == [4, 4.0]
    assert gni.set_ghost_noise(model[1:], ghost_size=4.5) == 1 and model[1].ghost_size == 4.5
