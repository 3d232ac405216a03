"""The section `confirm`: what it comes to, that it is nobody else's business, what check says."""

from __future__ import annotations

import pytest

from sweeps.baselines import baseline_spec, confirmations, fresh_seeds, planned, shares, tuned
from sweeps.errors import SpecError
from sweeps.preview import preview
from sweeps.reading import parse
from sweeps.spec import SweepSpec
from sweeps.values import extended

STRENGTH, LR = "model.noise.strength", "training.optimizer.lr"
TEXT = """
name: s
model: {noise: {}}
training: {epochs: 9}
search: {trials: 12}
space:
  model.noise.ghost_size: {choice: [4, 8]}
  model.noise.strength: {uniform: [0, 2]}
  training.optimizer.lr: {loguniform: [1e-2, 1]}
"""


def spec(confirm: str = "{baselines: {plain: {model.noise: null}}}", more: str = "") -> SweepSpec:
    return parse(f"{TEXT}confirm: {confirm}\n{more}")


def mistakes(confirm: str, more: str = "") -> str:
    with pytest.raises(SpecError) as found:
        spec(confirm, more)
    return str(found.value)


def test_a_sweep_without_it_is_the_same_as_before_there_was_one() -> None:
    plain = parse(TEXT)
    assert "confirm" not in plain.model_dump(mode="json")
    assert plain.identity() == parse(TEXT + "confirm: null").identity()
    assert spec().identity() not in (plain.identity(), spec("{top: 2}").identity())
    assert "confirm" not in plain.trial({}, 0).model_dump_json()
    assert plain.trial({}, 0, confirm=True).confirm


def test_the_journal_gives_it_back() -> None:
    assert SweepSpec.model_validate(spec().model_dump(mode="json")) == spec()
    assert extended(spec(), {"search.trials": 20}).confirm == spec().confirm


def test_a_baselines_own_search() -> None:
    one = baseline_spec(spec(), "plain")
    assert one.model.noise is None and one.confirm is None
    assert list(one.space) == [LR]
    assert one.search.trials == 4  # 12 trials over three axes: 4 for one
    assert one.search.seed != spec().search.seed
    assert (planned(spec()), confirmations(spec())) == (12 + 4 + 40, 40)
    assert shares(spec("{trials: 7, baselines: {a: {}, b: {}}}")) == {"a": 7, "b": 7}


def test_what_is_set_is_not_tuned_and_single_values_of_the_space_are_kept() -> None:
    confirm = "{baselines: {slow: {training.optimizer.lr: 0.01}}}"
    one = spec(confirm)
    assert tuned(one, "slow") == {} and shares(one) == {"slow": 1}
    fixed = parse(
        TEXT.replace("{choice: [4, 8]}", "8")
        + "  training.label_smoothing: 0.1\nconfirm: {baselines: {plain: {model.noise: null}}}"
    )
    assert list(baseline_spec(fixed, "plain").space) == ["training.label_smoothing", LR]


def test_an_arm_can_be_a_baseline() -> None:
    arms = "arms: {a: {model.norm.kind: layer}, b: {model.norm.kind: group}}"
    one = baseline_spec(spec("{baselines: {b: {arm: b}}}", arms), "b")
    assert one.model.norm.kind == "group" and list(one.space) == [LR]
    assert "none of the arms (found 'c')" in mistakes("{baselines: {c: {arm: c}}}", arms)


def test_fresh_seeds_are_none_of_the_searchs() -> None:
    one = spec("{seeds: 5}", "")
    assert len(set(fresh_seeds(one))) == 5 and min(fresh_seeds(one)) > 100_000
    other = extended(one, {"training.seed": 1})
    assert not set(fresh_seeds(one)) & set(fresh_seeds(other))


def test_check_shows_what_it_costs() -> None:
    text = preview(spec("{top: 2, seeds: 5, baselines: {plain: {model.noise: null}}}"))
    assert "plain: model.noise null; tunes training.optimizer.lr in 4 trials" in text
    assert "the best 2 and each baseline's best, on 5 fresh seeds: 15 trials in full" in text
    assert "(135 epochs); only these read the test images" in text
    assert "epochs     at most 279, at least 167" in text  # 16 · 9 + 135; 2 · 9 + 14 + 135


@pytest.mark.parametrize(
    ("confirm", "more", "message"),
    [
        ("{seeds: 1}", "", "confirm.seeds: input should be greater than or equal to 2 (found 1)"),
        ("{top: 13}", "", "confirm.top: there are only 12 configurations to choose from"),
        (
            "{baselines: {a: {model.noise: null, model.noise.strength: 1}}}",
            "",
            "a.model.noise.strength: is within model.noise, which is null. Drop one",
        ),
        ("{baselines: {a: {model.nois: null}}}", "", "Did you mean model.noise?"),
        ("{baselines: {a: {noise.strength: 1}}}", "", "Did you mean model.noise.strength?"),
        ("{baselines: {a: {model.noise.strength: -1}}}", "", "confirm.baselines.a.model.noise.str"),
        (
            "{baselines: {a: {model.norm.kind: ghost_batch, model.norm.ghost_size: 7}}}",
            "",
            "confirm.baselines.a.model.norm.ghost_size: must divide the batch",
        ),
        ("{tune: [lr]}", "", "confirm.tune: is no axis of the space (found lr)"),
        ("{}", "data: {evaluate: test}\nstopping: {name: none}", "needs a search on validation"),
        ("{}", "objective: {metric: train_loss}", "needs an objective of the validation images"),
        (
            "{top: 1, baselines: {b: {}}}",
            "budget: {max_trials: 20}",
            "budget.max_trials: counts the trials of baselines and confirmation too (found 20; 36",
        ),
        ("{bottom: 3}", "", "confirm.bottom: unknown field"),
        ("{baselines: {'a b': {}}}", "", "should match pattern"),
    ],
)
def test_what_bad_input_gets(confirm, more, message) -> None:
    assert message in mistakes(confirm, more)


def test_a_mistake_of_the_whole_sweep_is_said_once() -> None:
    text = mistakes("{baselines: {a: {}, b: {}}}", "data: {name: image_folder, root: nowhere}")
    assert text.count("nowhere") <= 2 and "confirm.baselines" not in text


@pytest.mark.parametrize("resamples", ["1e12", "1000001", "999"])
def test_resamples_that_no_memory_holds_or_that_say_nothing_are_refused(resamples) -> None:
    assert "confirm.resamples" in mistakes(f"{{resamples: {resamples}}}")
    assert spec("{resamples: 1000000}").confirm.resamples == 1_000_000
