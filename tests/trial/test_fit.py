import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sweeps.errors import TrialDiverged
from sweeps.trial.batches import ResidentBatches
from sweeps.trial.build import build_model
from sweeps.trial.loop import fit
from sweeps.trial.optim import FusedOptimizer

NOISE = {"noise": {"ghost_size": 4}}
SHAPE = {"in_channels": 3, "image_size": 6, "classes": 2}


def test_torchs_own_generator_is_left_alone_and_does_not_matter(small, tiny, untimed):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = untimed(fit(small(model=NOISE), tiny))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert untimed(fit(small(model=NOISE), tiny)) == first


@pytest.fixture
def watched(monkeypatch):
    """Records the batches that training sees."""
    seen = []
    original = ResidentBatches.train

    def train(self, epoch, start=0):
        for images, labels in original(self, epoch, start):
            seen.append((epoch, images.clone(), labels.clone()))
            yield images, labels

    monkeypatch.setattr(ResidentBatches, "train", train)
    return seen


def test_arms_that_differ_in_noise_share_init_order_and_augmentation(
    small, tiny, watched, untimed, same
):
    arms = [
        None,
        {"ghost_size": 4, "strength": 1.0},
        {"ghost_size": 16, "strength": 1.0},
        {"ghost_size": 4, "strength": 0.5},
    ]
    specs = [small(model={"noise": noise}) for noise in arms]
    inits = [list(build_model(spec, **SHAPE).parameters()) for spec in specs]
    assert all(same(inits[0], init) for init in inits[1:])
    runs, batches = [], []
    for spec in specs:
        runs.append(untimed(fit(spec, tiny)))
        batches.append(watched.copy())
        watched.clear()
    assert len(batches[0]) == 15
    assert all(same(batches[0], other) for other in batches[1:])
    assert len({str(run) for run in runs}) == 4


def test_seeds_change_init_order_augmentation_and_noise(small, tiny, watched, same):
    for seed in (0, 1):
        next(fit(small(seed=seed), tiny))
    assert not same(watched[0][1:], watched[5][1:])
    a, b = (build_model(small(seed=seed), **SHAPE) for seed in (0, 1))
    assert not same(a.state_dict(), b.state_dict())


def test_init_leaves_torchs_own_generator_alone(small, same):
    before = torch.get_rng_state()
    first = build_model(small(), **SHAPE).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert same(build_model(small(), **SHAPE).state_dict(), first)


def test_accumulation_is_the_big_batch_without_norm(small, tiny):
    plain = {"norm": {"kind": "none"}}
    training = {"clip_norm": 0.5, "label_smoothing": 0.1}
    states, losses = [], []
    for accumulate in (1, 4):
        *_, last = fit(small(model=plain, training={"accumulate": accumulate, **training}), tiny)
        states.append(last.state()["model"])
        losses.append([last.metrics[k] for k in ("train_loss", "train_accuracy", "val_loss")])
    torch.testing.assert_close(states[1], states[0], atol=1e-5, rtol=1e-4)
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_metrics_by_hand(small, tiny):
    """With a vanishing learning rate and no norm, metrics are those of the initial model."""
    spec = small(
        model={"norm": {"kind": "none"}},
        training={"optimizer": {"lr": 1e-30}, "label_smoothing": 0.2, "epochs": 1},
    )
    (result,) = fit(spec, tiny)
    model, batches = build_model(spec, **SHAPE), ResidentBatches(spec, tiny, "cpu")
    with torch.no_grad():
        train = [(model(x), y) for x, y in batches.train(1)]
        val = [(model(x), y) for x, y in batches.evaluation()]
    smooth = [F.cross_entropy(z, y, label_smoothing=0.2).item() for z, y in train]
    right = [(z.argmax(1) == y).float().mean().item() for z, y in train]
    ((z, y),) = val
    wanted = {
        "train_loss": sum(smooth) / 5,
        "train_accuracy": sum(right) / 5,
        "val_loss": F.cross_entropy(z, y).item(),
        "val_accuracy": (z.argmax(1) == y).float().mean().item(),
    }
    assert {k: result.metrics[k] for k in wanted} == pytest.approx(wanted, abs=1e-6)
    assert set(result.metrics) == {*wanted, "lr", "images_per_second", "seconds"}


def test_training_by_hand(small, tiny, same):
    """Three epochs against the loop as one would write it first."""
    spec = small(training={"schedule": {"name": "step", "milestones": [1], "gamma": 0.1}})
    *_, last = fit(spec, tiny)
    model, lr = build_model(spec, **SHAPE), torch.tensor(0.0)
    optimizer = FusedOptimizer(model, spec.training.optimizer, lr)
    batches = ResidentBatches(spec, tiny, "cpu")
    for epoch in (1, 2, 3):
        lr.fill_(0.1 if epoch == 1 else 0.1 * 0.1)
        for images, labels in batches.train(epoch):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
    assert same(last.state()["model"], dict(model.state_dict()))
    assert last.metrics["lr"] == pytest.approx(0.01)


def test_clipping_bounds_the_step(small, tiny):
    spec = small(
        training={
            "clip_norm": 1e-3,
            "epochs": 1,
            "schedule": {"name": "constant"},
            "optimizer": {"lr": 1.0, "momentum": 0, "nesterov": False, "weight_decay": 0},
        }
    )
    before = build_model(spec, **SHAPE).state_dict()
    (result,) = fit(spec, tiny)
    after = result.state()["model"]
    moved = [after[k] - before[k] for k in before if k.endswith(("weight", "bias"))]
    norm = torch.cat([m.flatten() for m in moved]).norm().item()
    assert 1e-4 < norm < 5 * 1e-3 * 1.01  # 5 updates of norm 1e-3 at most


@pytest.mark.filterwarnings("error")
def test_divergence_tells_where(small, tiny):
    spec = small(
        model={"norm": {"kind": "none"}},
        training={"optimizer": {"lr": 1e25}, "schedule": {"name": "constant"}},
    )
    with pytest.raises(TrialDiverged, match=r"(nan|inf) at epoch 1, step [2-5] of 5.*rate 1e\+25"):
        list(fit(spec, tiny))


def test_a_batch_larger_than_the_training_images(small, tiny):
    with pytest.raises(ValueError, match=r"batch_size must not exceed .* found 41"):
        next(fit(small(training={"batch_size": 41}), tiny))


def test_accumulate_must_divide(small, tiny):
    with pytest.raises(ValueError, match="3 does not divide 8"):
        next(fit(small(training={"accumulate": 3}), tiny))


def test_determinism_is_asked_for_during_training_alone(small, tiny, monkeypatch):
    seen = []
    original = nn.Linear.forward

    def forward(self, x):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return original(self, x)

    monkeypatch.setattr(nn.Linear, "forward", forward)
    for wanted in (True, False):
        next(fit(small(training={"deterministic": wanted}), tiny))
        assert set(seen) == {wanted}
        assert not torch.are_deterministic_algorithms_enabled()
        seen.clear()


def test_precision_and_layout_are_for_gpus(small, tiny, untimed):
    fields = {"precision": "float16", "channels_last": True}
    assert untimed(fit(small(training=fields), tiny)) == untimed(fit(small(), tiny))


def test_bfloat16_on_a_cpu_is_asked_for_by_its_own_name(small, tiny):
    def epochs(precision):
        spec = small(training={"cpu_precision": precision}, model={"noise": None})
        return [r.metrics["train_loss"] for r in fit(spec, tiny)]

    half, whole = epochs("bfloat16"), epochs("float32")
    assert half != whole
    assert half == pytest.approx(whole, rel=0.05)


def test_digits_are_learnt(trial, digits):
    *_, last = fit(trial(model={"noise": {"ghost_size": 32}, "options": {"width": 64}}), digits)
    assert last.metrics["val_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("kind", "noise"),
    [("batch", None), ("batch", 1), ("ghost_batch", 1), ("layer", 1), ("group", None), ("none", 1)],
)
def test_norm_and_noise_reach_the_model(trial, kind, noise):
    noise = noise and {"ghost_size": 8, "strength": 0.5, "scale": False}
    model = {"norm": {"kind": kind, "ghost_size": 8, "groups": 4}, "noise": noise}
    text = str(build_model(trial(model=model), **SHAPE))
    assert ("strength=0.5" in text) == (noise is not None)
