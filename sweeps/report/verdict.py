"""One sentence that says what a confirmation found."""

from __future__ import annotations

from sweeps.report.arms import Arm, Comparison


def verdict(arms: list[Arm], found: list[Comparison], metric: str, confidence: float) -> str:
    """What the comparisons come to; with several baselines a clause for each.

    Args:
        arms: best on validation first.
        found: all comparisons of a complete confirmation.
        metric: the test metric.
        confidence: of the intervals.
    """
    ours = [arm for arm in arms if not arm.baseline]
    theirs = [arm for arm in arms if arm.baseline]
    if not ours:
        return "Nothing could be confirmed: no configuration of the search was trained in full."
    if not theirs:
        return f"{_alone(ours[0], metric, confidence)}; there is no baseline to compare it with."
    clauses = [
        _against(base, [c for c in found if c.baseline == base.name], ours, metric, confidence)
        for base in theirs
    ]
    holm = f", Holm over {len(found)} comparisons" if len(found) > 1 else ""
    text = "; ".join(clauses) + f" (on unseen data{holm})."
    return text[0].upper() + text[1:]


def amount(value: float, metric: str) -> str:
    """A difference of the metric in words: percentage points of an accuracy."""
    return f"{100 * value:.2f} points" if in_points(metric) else f"{value:.4g}"


def in_points(metric: str) -> bool:
    """Whether differences of the metric are told in percentage points."""
    return metric.endswith("accuracy")


def _against(
    base: Arm, found: list[Comparison], ours: list[Arm], metric: str, confidence: float
) -> str:
    """The clause on one baseline: the first arm by validation among those that it speaks of."""
    for finding, one, many in (
        ("better", "beats", "beat"),
        ("worse", "is worse than", "are worse than"),
    ):
        those = [c for c in found if c.finding == finding]
        if not those or (finding == "worse" and len(those) < len(found)):
            continue
        if len(found) == 1:
            return (
                f"{_named(those[0], ours)} {one} {base.name} by {_by(those[0], metric, confidence)}"
            )
        verb = one if len(those) == 1 else many
        first = f"{_named(those[0], ours)} by {_by(those[0], metric, confidence)}"
        return f"{len(those)} of {len(found)} configurations {verb} {base.name}: {first}"
    first = found[0]
    if first.interval is None:
        return f"{base.name} could not be compared: {first.n} paired seeds have values"
    what = f"{_named(first, ours)} and {base.name}"
    if len(found) > 1:
        what = f"any of {len(found)} configurations and {base.name}, {_named(first, ours)}"
        return f"no difference found between {what}: {_by(first, metric, confidence, signed=True)}"
    return f"no difference found between {what}: {_by(first, metric, confidence, signed=True)}"


def _by(found: Comparison, metric: str, confidence: float, signed: bool = False) -> str:
    """`0.42 ± 0.11 points (95 % interval, n = 10 paired seeds, p = 0.003)`."""
    assert found.mean is not None and found.interval is not None
    half = (found.interval.high - found.interval.low) / 2
    scale, unit = (100, " points") if in_points(metric) else (1, "")
    mean = scale * (found.mean if signed else abs(found.mean))
    digits = ".2f" if in_points(metric) else ".4g"
    sign = "+" if signed else ""
    p = f", p = {found.adjusted:.2g}" if found.adjusted is not None else ""
    return (
        f"{mean:{sign}{digits}} ± {scale * half:{digits}}{unit} "
        f"({confidence:.0%} interval, n = {found.n} paired seeds{p})".replace("%", " %")
    )


def _named(found: Comparison, ours: list[Arm]) -> str:
    named = next(arm for arm in ours if arm.name == found.arm)
    return f"{named.name} ({named.label})" if named.label else named.name


def _alone(arm: Arm, metric: str, confidence: float) -> str:
    if arm.mean is None:
        return f"{arm.name} has no value of {metric}"
    spread = f" ± {arm.sd:.4f}" if arm.sd is not None else ""
    return f"{arm.name} ({arm.label}) has {metric} {arm.mean:.4f}{spread}, n = {len(arm.values)}"
