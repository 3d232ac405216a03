"""The arms of a confirmation on test data, and each of the search's against each baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sweeps import statistics
from sweeps.selection import Chosen, on_fresh_seeds
from sweeps.state import State, Trial
from sweeps.statistics import Interval
from sweeps.text import short_names

Finding = Literal["better", "worse", "no difference found"]


@dataclass(frozen=True)
class Arm:
    """One configuration over the fresh seeds. Values are of the test metric, as recorded."""

    name: str
    """`trial 17`, by the trial that found it, or a baseline's name."""
    baseline: bool
    configuration: int
    """Number of the trial that found it, also of a baseline: MLflow's run `configuration-0017`."""
    params: dict[str, Any]
    label: str
    """`ghost_size=16 strength=0.8`: its parameters under short names."""
    validation: float
    """The objective by which it was chosen."""
    values: dict[int, float]
    """Test metric after the last epoch by seed."""
    lost: dict[int, str]
    """Seeds without a value whose trial has ended, and how: failed, diverged."""
    mean: float | None
    sd: float | None
    """Sample deviation over seeds; None below two of them, as is the interval."""
    interval: Interval | None
    """Of the mean: bootstrap, see `sweeps.statistics.mean_interval`."""
    interquartile_mean: float | None

    @property
    def title(self) -> str:
        """`trial 17: ghost_size=16`, or the name alone without parameters."""
        return f"{self.name}: {self.label}" if self.label else self.name


@dataclass(frozen=True)
class Comparison:
    """An arm of the search less a baseline, over the seeds on which both have a value."""

    arm: str
    baseline: str
    n: int
    """Paired seeds."""
    differences: dict[int, float]
    """Arm - baseline by seed."""
    mean: float | None
    sd: float | None
    interval: Interval | None
    """Of the mean difference: paired t, for this comparison by itself."""
    p: float | None
    """Two-sided, paired t test."""
    adjusted: float | None
    """p adjusted for all comparisons (Holm)."""
    improvement: float | None
    """Chance that a run of the arm is better than one of the baseline; ties count half."""
    finding: Finding
    """By `adjusted` against 1 - confidence."""


def arm(state: State, picked: Chosen) -> Arm:
    """What the journal says of one chosen configuration."""
    assert state.spec is not None and state.spec.confirm is not None
    confirm, number = state.spec.confirm, picked.trial.number
    trials = on_fresh_seeds(state, number)
    measured = {t.seed: v for t in trials if (v := tested(state, t)) is not None}
    values = dict(sorted(measured.items()))
    found = list(values.values())
    return Arm(
        name=picked.baseline or f"trial {number}",
        baseline=bool(picked.baseline),
        configuration=number,
        params=picked.trial.params,
        label=label(picked.trial),
        validation=picked.value,
        values=values,
        lost={t.seed: t.status for t in trials if t.end and t.seed not in values},
        mean=statistics.mean(found) if found else None,
        sd=statistics.deviation(found) if found else None,
        interval=statistics.mean_interval(found, confirm.confidence, confirm.resamples),
        interquartile_mean=statistics.interquartile_mean(found) if found else None,
    )


def tested(state: State, trial: Trial) -> float | None:
    """The test metric of a confirmation that was trained in full."""
    assert state.spec is not None
    if trial.of is None or trial.status != "finished":
        return None
    return trial.results[-1]["metrics"].get(state.spec.objective.test_metric)


def label(trial: Trial) -> str:
    """A trial's parameters under short names."""
    names = short_names(list(trial.params))
    return " ".join(f"{names[path]}={_shown(value)}" for path, value in trial.params.items())


def comparisons(arms: list[Arm], mode: str, confidence: float) -> list[Comparison]:
    """Every arm of the search with every baseline, in their order."""
    pairs = [(a, b) for a in arms if not a.baseline for b in arms if b.baseline]
    apart = [_differences(ours, theirs) for ours, theirs in pairs]
    p_values = [statistics.paired_p(list(d.values())) for d in apart]
    adjusted = statistics.holm([1.0 if p is None else p for p in p_values])
    sign = 1 if mode == "max" else -1
    out = []
    for (ours, theirs), d, p, q in zip(pairs, apart, p_values, adjusted, strict=True):
        found = list(d.values())
        better = [[sign * arm.values[seed] for seed in d] for arm in (ours, theirs)]
        mean = statistics.mean(found) if found else None
        out.append(
            Comparison(
                arm=ours.name,
                baseline=theirs.name,
                n=len(d),
                differences=d,
                mean=mean,
                sd=statistics.deviation(found) if found else None,
                interval=statistics.student_interval(found, confidence),
                p=p,
                adjusted=None if p is None else q,
                improvement=statistics.probability_of_improvement(*better) if found else None,
                finding=_finding(None if mean is None else sign * mean, q, confidence),
            )
        )
    return out


def _differences(ours: Arm, theirs: Arm) -> dict[int, float]:
    return {s: v - theirs.values[s] for s, v in ours.values.items() if s in theirs.values}


def _finding(gain: float | None, adjusted: float, confidence: float) -> Finding:
    if not gain or adjusted >= 1 - confidence:
        return "no difference found"
    return "better" if gain > 0 else "worse"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
