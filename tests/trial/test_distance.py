import math

import pytest

from sweeps.text import split_update
from sweeps.trial.build import build_model
from sweeps.trial.distance import on_grid
from sweeps.trial.loop import fit


def distances(results) -> dict[int, float]:
    found = {split_update(k): v for r in results for k, v in r.metrics.items()}
    return {u: v for (name, u), v in found.items() if name == "weight_distance"}


@pytest.fixture
def spec(trial):
    return trial(training={"batch_size": 8, "epochs": 3, "weight_distance": True})


def test_the_grid_is_the_rounded_powers_of_the_square_root_of_two():
    grid = [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256]
    assert [u for u in range(1, 300) if on_grid(u)] == grid


def test_distances_are_those_of_a_slow_loop(spec, tiny):
    start = [
        p.detach().clone()
        for p in build_model(spec, in_channels=3, image_size=6, classes=2).parameters()
    ]
    wanted, updates = {}, [0]

    def at_step(step, state):
        updates[0] += 1
        weights = state()["model"]
        names = [n for n, _ in model.named_parameters()]
        squares = [
            ((weights[n] - s).double() ** 2).sum().item() for n, s in zip(names, start, strict=True)
        ]
        wanted[updates[0]] = math.sqrt(sum(squares))

    model = build_model(spec, in_channels=3, image_size=6, classes=2)
    found = distances(fit(spec, tiny, at_step=at_step))
    assert list(found) == [1, 2, 3, 4, 6, 8, 11]
    assert found == pytest.approx({u: wanted[u] for u in found}, rel=1e-5)


@pytest.mark.parametrize("update", [3, 5, 7])
def test_distances_after_a_resume_inside_an_epoch_are_the_same(spec, tiny, update):
    states, count = [], [0]

    def at_step(step, state):
        count[0] += 1
        if count[0] == update:
            states.append(state())

    whole = list(fit(spec, tiny, at_step=at_step))
    rest = list(fit(spec, tiny, resume=states[0]))
    assert distances(rest) == distances(whole[-len(rest) :])


def test_recording_changes_nothing_and_is_off_unless_asked_for(trial, spec, tiny, same):
    plain = list(fit(trial(training={"batch_size": 8, "epochs": 3}), tiny))
    recorded = list(fit(spec, tiny))
    assert not distances(plain)
    assert [r.metrics["train_loss"] for r in plain] == [r.metrics["train_loss"] for r in recorded]
