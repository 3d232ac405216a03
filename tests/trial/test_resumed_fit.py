"""A training that goes on from a state is the one that was never cut."""

import pytest
import torch
from test_fit import NOISE

from sweeps.trial.loop import fit
from sweeps.trial.settings import OtherDeviceWarning
from sweeps.trial.training import Training

CONFIGURATIONS = {
    "noise": {"model": NOISE},
    "adamw": {"training": {"optimizer": {"name": "adamw", "lr": 1e-2}, "clip_norm": 1.0}},
    "accumulate": {"model": {"norm": {"kind": "ghost_batch", "ghost_size": 4}, **NOISE}},
    "warm-up": {"training": {"schedule": {"warmup_epochs": 1.5, "min_lr": 1e-3}}},
    "plain": {"model": {"norm": {"kind": "none"}}, "training": {"label_smoothing": 0.1}},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_resume_at_every_epoch_is_bit_for_bit(small, tiny, name, untimed, same):
    fields = CONFIGURATIONS[name]
    if name == "accumulate":
        fields = fields | {"training": {"accumulate": 2}}
    spec = small(**fields)
    whole, states = [], []
    for result in fit(spec, tiny):
        whole.append(result)
        states.append(result.state())
    assert [r.epoch for r in whole] == [1, 2, 3]
    for done in (1, 2):
        rest = []
        for result in fit(spec, tiny, resume=states[done - 1]):
            rest.append(result)
            assert same(result.state(), states[result.epoch - 1])
        assert [r.epoch for r in rest] == [1, 2, 3][done:]
        assert untimed(rest) == untimed(whole)[done:]


def test_a_state_is_not_moved_by_what_follows(small, tiny, same):
    results = fit(small(), tiny)
    state = next(results).state()
    [*fit(small(), tiny, resume=state)]
    next(results)
    assert same(state, next(fit(small(), tiny)).state())


def test_a_state_is_refused_once_training_went_on(small, tiny):
    results = fit(small(), tiny)
    first = next(results)
    next(results)
    with pytest.raises(RuntimeError, match="state of epoch 1 is gone: the training went on"):
        first.state()


def test_trials_that_take_turns_do_not_touch_each_other(small, tiny, untimed):
    specs = [small(model=NOISE, seed=seed) for seed in (0, 1)]
    alone = [untimed(fit(spec, tiny)) for spec in specs]
    turns = zip(*(fit(spec, tiny) for spec in specs), strict=True)
    together = [untimed(results) for results in zip(*turns, strict=True)]
    assert together == alone
    assert alone[0] != alone[1]


def test_a_state_inside_an_epoch_on_a_gpu_goes_on_on_a_cpu_and_says_what_differs(
    small, tiny, untimed
):
    spec, states = small(model=NOISE, training={"epochs": 2}), []

    def at_step(step, state):
        if step == 3:
            states.append(state())

    *_, whole = fit(spec, tiny, at_step=at_step)
    cut = states[1]
    of_gpu = {"noise": torch.zeros(16, dtype=torch.uint8), "cuda": torch.zeros(16)}
    cut["part"]["generators"] |= of_gpu
    runs = []
    for _ in range(2):
        with pytest.warns(
            OtherDeviceWarning, match=r"update 3 of epoch 2, are of a GPU, .* with a CPU"
        ):
            runs += untimed(fit(spec, tiny, resume=cut))
    assert runs[0] == runs[1]  # seeded by the place
    assert runs[0] != untimed([whole])[0]


def test_a_state_of_a_device_without_loss_scaling_keeps_the_scalers_own(small, tiny):
    state = next(fit(small(), tiny)).state()
    training = Training(small(), tiny, "cpu")
    training._scaler = torch.amp.GradScaler("cpu", init_scale=8.0)  # as float16 on a GPU has
    training.restore(state)
    assert training._scaler.get_scale() == 8.0


def test_dropout_in_a_users_model_resumes_too(small, tiny, module, untimed):
    module(
        "mine.py",
        "from torch import nn\n"
        "def net(in_channels, image_size, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(108, classes))\n",
    )
    spec = small(model={"name": "mine:net", "options": {}})
    results = fit(spec, tiny)
    first = next(results)
    state = first.state()
    torch.rand(7)
    whole = untimed([first, *results])
    torch.rand(7)
    assert untimed(fit(spec, tiny, resume=state)) == whole[1:]
