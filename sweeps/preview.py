"""What a spec would run, in words; started by `sweeps check`."""

from __future__ import annotations

from sweeps.spec import Dimension, Scalar, SweepSpec, rungs, trial_count


def preview(spec: SweepSpec) -> str:
    """The space, the rungs of ASHA, trials and epochs at most and at least."""
    trials, epochs = trial_count(spec), spec.training.epochs
    steps = rungs(spec)
    width = max((len(path) for path in spec.space), default=0)
    lines = [
        f"{spec.name}: {spec.model.name} on {spec.data.name}",
        f"objective  {spec.objective.mode} {spec.objective.metric}",
        "space",
        *(f"  {path:<{width}}  {axis(d)}" for path, d in spec.space.items()),
        *(f"    {name}: {_settings(arm)}" for name, arm in spec.arms.items()),
        f"search     {spec.search.sampler}, {trials} trials, seed {spec.search.seed}",
    ]
    if steps:
        at = ", ".join(map(str, steps))
        lines.append(
            f"stopping   asha: the best 1/{spec.stopping.reduction} go on at epochs {at}; "
            f"the last epoch is {epochs}"
        )
        least = epochs + (trials - 1) * steps[0]
    else:
        lines.append("stopping   none")
        least = trials * epochs
    lines.append(f"epochs     at most {trials * epochs}, at least {least}")
    return "\n".join(lines)


def _settings(arm: dict[str, Scalar]) -> str:
    """What an arm sets, after its paths."""
    return ", ".join(f"{path} {value}" for path, value in arm.items()) or "as it stands"


def axis(dimension: Dimension) -> str:
    """`4 … 64, whole, logarithmic`, `one of 8, 16, 32`, `0.1`."""
    values = dimension.values
    match dimension.kind:
        case "fixed":
            return f"{values[0]}"
        case "choice":
            return f"one of {', '.join(map(str, values))}"
        case kind:
            whole = ", whole" if kind in ("int", "logint") else ""
            log = ", logarithmic" if kind.startswith("log") else ""
            return f"{values[0]} … {values[1]}{whole}{log}"
