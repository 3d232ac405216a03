"""What a spec would run, in words; started by `sweeps check`."""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.baselines import confirmations, shares, tuned
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
    total = trials + sum(shares(spec).values())
    if steps:
        at = ", ".join(map(str, steps))
        lines.append(
            f"stopping   asha: the best 1/{spec.stopping.reduction} go on at epochs {at}; "
            f"the last epoch is {epochs}"
        )
        searches = 1 + len(shares(spec))
        least = searches * epochs + (total - searches) * steps[0]
    else:
        lines.append("stopping   none")
        least = total * epochs
    lines += _confirmation(spec)
    tested = confirmations(spec) * epochs
    lines.append(f"epochs     at most {total * epochs + tested}, at least {least + tested}")
    return "\n".join(lines)


def _confirmation(spec: SweepSpec) -> list[str]:
    """What each baseline searches, and what is trained on fresh seeds for the test images."""
    confirm = spec.confirm
    if confirm is None:
        return []
    lines = ["baselines  each searched by itself, over what it tunes"] if confirm.baselines else []
    for name, trials in shares(spec).items():
        axes = ", ".join(tuned(spec, name)) or "nothing"
        settings = _settings(confirm.baselines[name])
        lines.append(f"  {name}: {settings}; tunes {axes} in {trials} trials")
    arms = f"the best {confirm.top}" + (" and each baseline's best" if confirm.baselines else "")
    count = confirmations(spec)
    lines += [
        f"confirm    {arms}, on {confirm.seeds} fresh seeds: {count} trials in full",
        f"           ({count * spec.training.epochs} epochs); only these read the test images",
    ]
    return lines


def _settings(arm: Mapping[str, Scalar | None]) -> str:
    """What an arm or a baseline sets, after its paths."""
    shown = (f"{path} {'null' if value is None else value}" for path, value in arm.items())
    return ", ".join(shown) or "as it stands"


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
