"""Statistics of runs over seeds: pure functions; numpy and scipy are imported when called.

How far each can be trusted at few seeds is measured by benchmarks/confirmation.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Values = Sequence[float]
FEWEST = 8
"""Values to bootstrap: of 5, the interval covers the mean in 91 % instead of 95 %, of 3 in 76 %."""
_ROUNDING = 1e-12
"""Differences of figures this close are one: 0.97 - 0.96 is not 0.96 - 0.95 in binary."""


class Interval(NamedTuple):
    """Both ends of a confidence interval."""

    low: float
    high: float


def mean(values: Values) -> float:
    """The arithmetic mean."""
    return math.fsum(values) / len(values)


def deviation(values: Values) -> float | None:
    """Sample standard deviation (n - 1); None for a single value."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))


def interquartile_mean(values: Values) -> float:
    """Mean of what is left without the lowest and the highest floor(n / 4) (arXiv 2108.13264)."""
    from scipy.stats import trim_mean

    return float(trim_mean(values, 0.25))


def mean_interval(
    values: Values, confidence: float = 0.95, resamples: int = 10_000
) -> Interval | None:
    """Interval of the mean by percentile bootstrap, its level widened for few values.

    The plain percentile interval is that of a normal distribution whose deviation is too small by
    sqrt((n - 1) / n); the level is raised so that for normal values it is Student's (Hesterberg,
    arXiv 1411.5279, section 4.1). Below eight values, of which no resampling makes enough, it
    is Student's itself. The same values give the same interval. None for a single value.
    """
    if len(values) < FEWEST:
        return student_interval(values, confidence)
    if min(values) == max(values):
        return Interval(values[0], values[0])
    import numpy
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,),
        numpy.mean,
        confidence_level=_widened(confidence, len(values)),
        n_resamples=resamples,
        method="percentile",
        rng=numpy.random.default_rng(0),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def _widened(confidence: float, n: int) -> float:
    from scipy.stats import norm, t

    quantile = math.sqrt(n / (n - 1)) * t.ppf((1 + confidence) / 2, n - 1)
    return 1 - 2 * float(norm.sf(quantile))


def student_interval(values: Values, confidence: float = 0.95) -> Interval | None:
    """Student's interval of the mean, of paired differences say; None for a single value."""
    spread = deviation(values)
    if spread is None:
        return None
    from scipy.stats import t

    n = len(values)
    half = float(t.ppf((1 + confidence) / 2, n - 1)) * spread / math.sqrt(n)
    return Interval(mean(values) - half, mean(values) + half)


def alike(values: Values) -> bool:
    """Whether they are all equal, but for rounding."""
    return max(values) - min(values) <= _ROUNDING


def paired_p(differences: Values) -> float | None:
    """Two-sided p of the paired t test that the mean difference is 0; None for a single one.

    Differences equal but for rounding, such as few seeds on few images give, leave t without a
    deviation: then it is the sign test's.
    """
    n, spread = len(differences), deviation(differences)
    if spread is None:
        return None
    centre = mean(differences)
    if alike(differences):
        return 0.5 ** (n - 1) if abs(centre) > _ROUNDING else 1.0
    from scipy.stats import t

    return 2 * float(t.sf(abs(centre) / spread * math.sqrt(n), n - 1))


def probability_of_improvement(ours: Values, theirs: Values) -> float:
    """Chance that one of our runs is above one of theirs, ties counted half (arXiv 2108.13264)."""
    pairs = [(a > b) + (a == b) / 2 for a in ours for b in theirs]
    return mean(pairs)


def holm(p_values: Values) -> list[float]:
    """P values adjusted for how many there are (Holm 1979): one below α is found at level α."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    out, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        out[index] = largest
    return out
