"""What the confirmation says of made-up values: figures, verdicts, tables, files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from sweeps import journal
from sweeps.confirmed.arms import comparisons
from sweeps.confirmed.verdict import verdict
from sweeps.report.confirmation import Confirmation, confirmation
from sweeps.report.exports import exported
from sweeps.report.results import Sweep
from sweeps.report.status import gathered, status
from sweeps.report.tables import as_text
from sweeps.report.write import write
from sweeps.spec import SweepSpec

STRENGTH = "model.noise.strength"
FRESH = range(1_000_000, 1_000_005)
SHIFTS = (-0.002, -0.001, 0.0, 0.001, 0.002)
"""What each fresh seed gives all arms: paired differences do not see it."""
NOISE = (0.0004, -0.0004, 0.0008, -0.0008, 0.0)
"""What it gives an arm, each beginning elsewhere: of mean 0 over five seeds."""


def written(
    folder: Path,
    ours: list[float],
    baselines: dict[str, float],
    *,
    seeds: int = 5,
    status: str = "finished",
    space: dict | None = None,
    **confirm,
) -> Sweep:
    """A sweep whose i-th configuration tests at ours[i], and each baseline at its value.

    Args:
        status: how each baseline's search ended.
        space: axes beside the strength.
    """
    spec = SweepSpec.model_validate(
        {
            "name": folder.name,
            "space": {STRENGTH: {"uniform": [0, 2]}, **(space or {})},
            "training": {"epochs": 1},
            "search": {"trials": len(ours), "sampler": "random"},
            "stopping": {"name": "none"},
            "confirm": {
                "top": len(ours),
                "seeds": 5,
                "resamples": 1000,
                "baselines": {name: {STRENGTH: 0} for name in baselines},
                **confirm,
            },
        }
    )
    folder.mkdir()
    with journal.Journal(folder) as log:
        content = spec.model_dump(mode="json")
        log.write("sweep", spec=content, identity=spec.identity(), versions={})
        log.write("session", state="started")
        arms = [{"params": {STRENGTH: 0.5 + i}} for i in range(len(ours))]
        arms += [{"params": {STRENGTH: 0}, "baseline": name} for name in baselines]
        for number, arm in enumerate(arms):
            log.write("trial", trial=number, seed=0, **arm)
            ended = status if "baseline" in arm else "finished"
            _train(log, number, {"val_accuracy": 0.9 - number / 100}, ended)
        number = len(arms)
        if status != "finished":
            arms = arms[: len(ours)]
        tests = [*ours, *baselines.values()][: len(arms)]
        for turn, seed in enumerate(FRESH[:seeds]):
            for of, (arm, value) in enumerate(zip(arms, tests, strict=True)):
                log.write("trial", trial=number, seed=seed, of=of, **arm)
                metrics = {"test_accuracy": value + SHIFTS[turn] + NOISE[(turn + of) % 5]}
                _train(log, number, {"val_accuracy": 0.9, **metrics})
                number += 1
    return Sweep(folder)


def _train(
    log: journal.Journal, number: int, metrics: dict[str, float], status: str = "finished"
) -> None:
    log.write("attempt", trial=number, attempt=1, epoch=0, alone=False)
    log.write(
        "result", trial=number, attempt=1, epoch=1, metrics=metrics, decision="finish", rung=None
    )
    log.write("end", trial=number, status=status, epoch=1, value=1.0, reason="", error=None)


def found(folder: Path, *args, **options) -> Confirmation:
    result = confirmation(written(folder, *args, **options))
    assert result is not None
    return result


def test_without_the_section_there_is_none(tmp_path) -> None:
    spec = SweepSpec(name="s")
    (tmp_path / "s").mkdir()
    with journal.Journal(tmp_path / "s") as log:
        log.write("sweep", spec=spec.model_dump(), identity=spec.identity(), versions={})
    assert confirmation(Sweep(tmp_path / "s")) is None
    assert "confirmation" not in gathered(Sweep(tmp_path / "s"))


def test_markdown_has_the_verdict_and_the_arms(tmp_path) -> None:
    sweep = written(tmp_path / "s", [0.95], {"bn": 0.94})
    text, result = exported(sweep, "md").decode(), confirmation(sweep)
    assert result is not None and result.verdict in text
    assert f"| trial 0: strength=0.5 | 5 | {result.arms[0].mean:.5g} |" in text
    assert "| bn: strength=0 | 5 |" in text


def test_figures_are_scipys_on_the_paired_values(tmp_path) -> None:
    result = found(tmp_path / "s", [0.95, 0.93], {"bn": 0.94})
    ours, theirs = (list(result.arms[i].values.values()) for i in (0, 2))
    first = result.comparisons[0]
    scipy = stats.ttest_rel(ours, theirs)
    assert (first.arm, first.baseline, first.n) == ("trial 0", "bn", 5)
    assert first.p == pytest.approx(scipy.pvalue)
    assert first.interval == pytest.approx(tuple(scipy.confidence_interval()))
    assert first.adjusted == pytest.approx(2 * min(c.p for c in result.comparisons))
    assert first.improvement == pytest.approx(stats.mannwhitneyu(ours, theirs).statistic / 25)
    assert [c.finding for c in result.comparisons] == ["better", "worse"]
    assert list(result.arms[0].values) == list(FRESH) == result.seeds


@pytest.mark.parametrize(
    ("ours", "baselines", "sentence"),
    [
        (
            [0.95],
            {"bn": 0.94},
            r"On unseen data, trial 0 \(strength=0.5\) beats bn by 1.0\d ± 0.\d\d points "
            r"\(95 % interval, n = 5 paired seeds, p = [\d.e-]+\)\.",
        ),
        (
            [0.94],
            {"bn": 0.94},
            r"On unseen data, no difference found between trial 0 \(strength=0.5\) and bn: "
            r"[+-]0.0\d ± 0.\d\d points \(95 % interval, n = 5 paired seeds, p = 1\)\.",
        ),
        ([0.93], {"bn": 0.94}, r"trial 0 \(strength=0.5\) is worse than bn by 1.0\d ± 0.\d\d"),
        (
            [0.94, 0.96],
            {"bn": 0.94},
            r"1 of 2 configurations beats bn: trial 1 \(strength=1.5\) by .* after Holm over 2.*, "
            r"and trial 0 \(strength=0.5\), the first by validation: [+-]0.0\d ± 0.\d\d points",
        ),
        ([0.95, 0.96], {"bn": 0.94}, r"2 of 2 configurations beat bn: trial 0 .* by 1\.0"),
        (
            [0.94, 0.94],
            {"bn": 0.94},
            r"no difference found between any of 2 configurations and bn: trial 0 .*, [+-]0\.0",
        ),
        ([0.94, 0.93], {"bn": 0.94}, r"no configuration beats bn, and 1 of 2 is worse: trial 1 "),
        ([0.93, 0.94], {"bn": 0.94}, r"1 of 2 is worse: trial 0 [^:]*\.$"),
        ([0.92, 0.93], {"bn": 0.94}, r"2 of 2 configurations are worse than bn: trial 0 .* 2\.0"),
        (
            [0.95],
            {"bn": 0.94, "ln": 0.95},
            r"trial 0 .* beats bn by .*; no difference found between trial 0 .* and ln: ",
        ),
        ([0.95], {}, r"trial 0 .* has test_accuracy 0\.9\d+ ± 0\.00\d+ \(sd, n = 5 seeds\)\. The"),
    ],
)
def test_the_verdict(tmp_path, ours, baselines, sentence) -> None:
    verdict = found(tmp_path / "s", ours, baselines).verdict
    assert re.search(sentence, verdict), verdict
    assert verdict.endswith(".") and verdict.count(". ") <= 1


def told(result: Confirmation, per_arm: list[list[float]]) -> str:
    """The verdict where the search's arms have these differences to the baseline `bn`."""
    *ours, theirs = result.arms
    arms = [
        replace(each, values=dict(zip(FRESH, (0.5 + d for d in apart), strict=False)))
        for each, apart in zip(ours, per_arm, strict=True)
    ]
    theirs = replace(theirs, values=dict.fromkeys(FRESH, 0.5))
    found = comparisons([*arms, theirs], "max", 0.95)
    return verdict([*arms, theirs], found, "test_accuracy", 0.95)


def test_equal_differences_and_lost_seeds(tmp_path) -> None:
    result = found(tmp_path / "s", [0.94, 0.94], {"bn": 0.94})
    text = told(result, [[0.01] * 4, [0.0]])
    assert (
        "no difference found between any of 2 configurations and bn: trial 0 (strength=0.5), +1.00 "
        "points in each of n = 4 paired seeds (sign test, p = 0.25 after Holm over 2 comparisons)"
    ) in text
    text = told(result, [[0.0], [0.01, 0.011, 0.0105, 0.0095]])
    assert "1 of 2 configurations beats bn: trial 1 (strength=1.5) by 1.0" in text
    assert (
        told(result, [[], [0.0]])
        == "On unseen data, nothing is known of bn: 1 paired seeds have values."
    )


@pytest.mark.parametrize(
    ("status", "confirm", "remedy"),
    [
        ("failed", {}, r"`sweeps retry s --failed` runs them again\.$"),
        ("pruned", {}, r"`sweeps extend s --trials N` gives"),
        ("diverged", {"tune": []}, r"they want other settings, in a new sweep\.$"),
    ],
)
def test_baselines_of_which_none_was_trained_in_full_are_named(
    tmp_path, status, confirm, remedy
) -> None:
    rates = {"training.optimizer.lr": {"loguniform": [0.01, 1]}}
    folder, baselines = tmp_path / "s", {"bn": 0.94, "ln": 0.93}
    verdict = found(folder, [0.95], baselines, status=status, space=rates, **confirm).verdict
    assert "No baseline was trained in full (bn, ln), so none can be compared with" in verdict
    assert re.search(remedy, verdict), verdict


def test_before_all_have_ended_nothing_is_compared(tmp_path) -> None:
    result = found(tmp_path / "s", [0.95], {"bn": 0.94}, seeds=3)
    assert (result.done, result.total, result.complete) == (6, 10, False)
    assert result.comparisons == [] and len(result.arms[0].values) == 3
    assert result.verdict == "Not confirmed yet: 6 of 10 trainings on fresh seeds have ended."


def test_report_status_and_json_say_the_same(tmp_path) -> None:
    sweep = written(tmp_path / "s", [0.95, 0.94], {"bn": 0.94})
    result = confirmation(sweep)
    text = as_text(sweep)
    assert " ".join(result.verdict.split()) in " ".join(text.split())
    assert "trial 0 - bn" in text and "no difference" in text and "1000000 to 1000004" in text
    assert max(map(len, text.splitlines())) <= 80
    report = write(sweep.folder)
    content = json.loads((report / "confirmation.json").read_text())
    assert content["verdict"] == result.verdict
    assert content["comparisons"][0]["mean"] == result.comparisons[0].mean
    assert f"confirm  15 of 15 trials. {result.verdict}" in status(sweep)
    rows = {row["trial"]: row for row in sweep.rows()}
    assert (rows[3]["of"], rows[5]["baseline"], rows[0]["of"]) == (0, "bn", None)
    assert [t.number for t in sweep.ranked()] == [0, 1]  # the search alone
