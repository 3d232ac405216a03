"""Our statistics against scipy's on known cases, and the coverage of intervals by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweeps.statistics import (
    deviation,
    holm,
    interquartile_mean,
    mean,
    mean_interval,
    paired_p,
    probability_of_improvement,
    student_interval,
)

OURS = [0.981, 0.979, 0.984, 0.976, 0.98, 0.983, 0.979, 0.977]
THEIRS = [0.978, 0.979, 0.979, 0.975, 0.981, 0.978, 0.977, 0.976]


def test_the_paired_t_test_is_scipys() -> None:
    apart = [a - b for a, b in zip(OURS, THEIRS, strict=True)]
    scipy = stats.ttest_rel(OURS, THEIRS)
    assert paired_p(apart) == pytest.approx(scipy.pvalue, rel=1e-9)
    for confidence in (0.9, 0.95, 0.99):
        assert student_interval(apart, confidence) == pytest.approx(
            tuple(scipy.confidence_interval(confidence)), rel=1e-9
        )


def test_mean_deviation_and_interquartile_mean() -> None:
    assert mean(OURS) == pytest.approx(np.mean(OURS))
    assert deviation(OURS) == pytest.approx(np.std(OURS, ddof=1))
    assert interquartile_mean([9, 1, 2, 3, 4, 5, 6, -50]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert interquartile_mean([1.0, 2.0, 6.0]) == 3.0


def test_probability_of_improvement_is_the_rank_sum_over_all_pairs() -> None:
    statistic = stats.mannwhitneyu(OURS, THEIRS).statistic
    assert probability_of_improvement(OURS, THEIRS) == pytest.approx(statistic / 64)
    assert probability_of_improvement([1, 1], [1, 1]) == 0.5


def test_holm_on_the_textbooks_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_few_or_equal_values_say_no_more_than_they_can() -> None:
    assert (deviation([1.0]), mean_interval([1.0]), student_interval([1.0])) == (None, None, None)
    assert paired_p([0.3]) is None
    assert paired_p([0.0, 0.0, 0.0]) == 1.0
    assert paired_p([0.3, 0.3]) == 0.5  # not 0: two seeds cannot be sure of anything
    apart = [hits / 600 - (hits + 4) / 600 for hits in (578, 583, 580)]
    assert len(set(apart)) > 1  # one difference, in binary not quite
    assert paired_p(apart) == 0.25
    assert paired_p([0.1 + 0.2 - 0.3, 0.0]) == 1.0
    assert mean_interval([0.4] * 8) == (0.4, 0.4)
    assert mean_interval([1.0, 2.0, 4.0]) == student_interval([1.0, 2.0, 4.0])


def test_the_bootstrap_interval_is_the_same_each_time_and_students_for_normal_values() -> None:
    quantiles = list(stats.norm.ppf((np.arange(20) + 0.5) / 20))
    found = mean_interval(quantiles)
    assert found == mean_interval(quantiles)
    half = stats.t.ppf(0.975, 19) * np.std(quantiles, ddof=1) / math.sqrt(20)
    assert found == pytest.approx((-half, half), rel=0.05)


@pytest.mark.parametrize("interval", ["bootstrap", "paired t"])
def test_an_interval_of_ten_normal_values_covers_the_mean_as_often_as_it_says(interval) -> None:
    rng, runs = np.random.default_rng(0), 300
    find = (
        student_interval if interval == "paired t" else lambda v: mean_interval(v, resamples=1000)
    )
    found = [find(list(rng.normal(0, 1, 10))) for _ in range(runs)]
    hits = sum(low <= 0 <= high for low, high in found)
    assert stats.binomtest(hits, runs, 0.95).pvalue > 0.001, hits / runs
