"""One sentence that says what a confirmation found."""

from __future__ import annotations

from sweeps import statistics
from sweeps.confirmed.arms import Arm, Comparison


def verdict(
    arms: list[Arm], found: list[Comparison], metric: str, confidence: float, alone: str = ""
) -> str:
    """What the comparisons come to; with several baselines a clause for each.

    Of several configurations it tells the figures of the first by validation, since the best on
    test data would look better than it is; where others are better or worse, those beside them.

    Args:
        arms: best on validation first.
        found: all comparisons of a complete confirmation.
        metric: the test metric.
        confidence: of the intervals.
        alone: why none of the arms is a baseline, a sentence; empty where the spec names none.
    """
    ours = {arm.name: arm for arm in arms if not arm.baseline}
    baselines = [arm.name for arm in arms if arm.baseline]
    if not ours:
        return "Nothing could be confirmed: no configuration of the search was trained in full."
    if not baselines:
        why = alone or "There is no baseline to compare with."
        return f"{_alone(next(iter(ours.values())), metric)} {why}"
    words = _Words(ours, metric, confidence, len(found))
    clauses = [words.against(name, [c for c in found if c.baseline == name]) for name in baselines]
    return f"On unseen data, {'; '.join(clauses)}."


def in_points(metric: str) -> bool:
    """Whether differences of the metric are told in percentage points."""
    return metric.endswith("accuracy")


class _Words:
    """What all clauses share."""

    def __init__(self, ours: dict[str, Arm], metric: str, confidence: float, comparisons: int):
        self._ours = ours
        self._points = in_points(metric)
        self._confidence = f"{100 * confidence:g} %"
        self._holm = f" after Holm over {comparisons} comparisons" if comparisons > 1 else ""

    def against(self, baseline: str, found: list[Comparison]) -> str:
        """The clause on one baseline."""
        known = [c for c in found if c.interval]
        if not known:
            most = max(c.n for c in found)
            return f"nothing is known of {baseline}: {most} paired seeds have values"
        better = [c for c in known if c.finding == "better"]
        worse = [c for c in known if c.finding == "worse"]
        every, first = len(found), (better or worse or known)[0]
        if first is known[0]:
            return self._said(baseline, better, worse, first, every)
        foremost = f"{self._named(known[0])}, the first by validation: {self._size(known[0], True)}"
        return f"{self._said(baseline, better, worse, first, every)}, and {foremost}"

    def _said(
        self,
        baseline: str,
        better: list[Comparison],
        worse: list[Comparison],
        first: Comparison,
        every: int,
    ) -> str:
        if better:
            verb = "beats" if len(better) == 1 else "beat"
            return f"{self._of(better, every)} {verb} {baseline}{self._by(first, every)}"
        if worse and len(worse) < every:
            count = f"{len(worse)} of {every} {'is' if len(worse) == 1 else 'are'} worse"
            return f"no configuration beats {baseline}, and {count}{self._by(first, every)}"
        if worse:
            verb = "is" if every == 1 else "are"
            return f"{self._of(worse, every)} {verb} worse than {baseline}{self._by(first, every)}"
        what = self._named(first) if every == 1 else f"any of {every} configurations"
        size = self._size(first, signed=True)
        where = "" if every == 1 else f"{self._named(first)}, "
        return f"no difference found between {what} and {baseline}: {where}{size}"

    def _of(self, some: list[Comparison], every: int) -> str:
        if every == 1:
            return self._named(some[0])
        return f"{len(some)} of {every} configurations"

    def _by(self, first: Comparison, every: int) -> str:
        where = "" if every == 1 else f": {self._named(first)}"
        return f"{where} by {self._size(first)}"

    def _size(self, found: Comparison, signed: bool = False) -> str:
        """`0.42 ± 0.11 points (95 % interval, n = 10 paired seeds, p = 0.003)`."""
        assert found.mean is not None and found.interval is not None and found.adjusted is not None
        scale, unit, digits = (100, " points", ".2f") if self._points else (1, "", ".4g")
        mean = scale * (found.mean if signed else abs(found.mean))
        half = scale * (found.interval.high - found.interval.low) / 2
        shown = f"{mean:{'+' if signed else ''}{digits}}"
        p = f"p = {found.adjusted:.2g}{self._holm}"
        if statistics.alike(list(found.differences.values())):  # without a spread no interval
            return f"{shown}{unit} in each of n = {found.n} paired seeds (sign test, {p})"
        of = f"{self._confidence} interval, n = {found.n} paired seeds"
        return f"{shown} ± {half:{digits}}{unit} ({of}, {p})"

    def _named(self, found: Comparison) -> str:
        arm = self._ours[found.arm]
        return f"{arm.name} ({arm.label})" if arm.label else arm.name


def _alone(arm: Arm, metric: str) -> str:
    if arm.mean is None:
        return f"{arm.name} has no value of {metric}."
    spread = f" ± {arm.sd:.4f}" if arm.sd is not None else ""
    name = f"{arm.name} ({arm.label})" if arm.label else arm.name
    return f"{name} has {metric} {arm.mean:.4f}{spread} (sd, n = {len(arm.values)} seeds)."
