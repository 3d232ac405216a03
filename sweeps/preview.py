"""What a spec would run, in words: `sweeps check`; with what it would take: `sweeps preview`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sweeps import baselines
from sweeps.brackets import bracket, by_best, least_epochs, shares
from sweeps.spec import NU, Dimension, Scalar, SweepSpec, steps, trial_count

if TYPE_CHECKING:
    from sweeps.forecast import Forecast, Range, Size


def preview(spec: SweepSpec) -> str:
    """The space, what is tried first, when trials stop, epochs at most and at least."""
    trials, epochs = trial_count(spec), spec.training.epochs
    width = max((len(path) for path in spec.space), default=0)
    lines = [
        f"{spec.name}: {spec.model.name} on {spec.data.name}",
        f"objective  {_aims(spec)}",
        "space",
        *(f"  {path:<{width}}  {axis(d)}{_meaning(path)}" for path, d in spec.space.items()),
        *(f"    {name}: {_settings(arm)}" for name, arm in spec.arms.items()),
        f"search     {spec.search.sampler}, {trials} trials, seed {spec.search.seed}",
        *(f"           {line}" for line in _beforehand(spec)),
    ]
    first, *more = _stopping(spec)
    lines += [f"stopping   {first}", *(f"           {line}" for line in more)]
    searches = baselines.searches(spec)
    tested = baselines.confirmations(spec) * epochs
    most = sum(map(trial_count, searches)) * epochs + tested
    lines += _confirmation(spec)
    least = sum(map(least_epochs, searches)) + tested
    cap = spec.budget.max_epochs or most
    lines.append(f"epochs     at most {min(most, cap)}, at least {min(least, cap)}")
    return "\n".join(lines)


def _aims(spec: SweepSpec) -> str:
    """`max val_accuracy`, and what the second objective is where there is one."""
    aims, second = spec.objective.aims, spec.objective.second
    if second is None:
        return aims
    how = "the last epoch's" if second.take == "last" else "the median of its epochs"
    return f"{aims} ({how}): their Pareto front"


def _confirmation(spec: SweepSpec) -> list[str]:
    """What each baseline searches, and what is trained on fresh seeds for the test images."""
    confirm = spec.confirm
    if confirm is None:
        return []
    lines = ["baselines  each searched by itself, over what it tunes"] if confirm.baselines else []
    for name, trials in baselines.shares(spec).items():
        axes = ", ".join(baselines.tuned(spec, name)) or "nothing"
        settings = _settings(confirm.baselines[name])
        lines.append(f"  {name}: {settings}; tunes {axes} in {trials} trials")
    front = " of the front" if spec.objective.second else ""
    others = " and each baseline's best" if confirm.baselines else ""
    arms = f"the best {confirm.top}{front}{others}"
    count = baselines.confirmations(spec)
    lines += [
        f"confirm    {arms}, on {confirm.seeds} fresh seeds: {count} trials in full",
        f"           ({count * spec.training.epochs} epochs); only these read the test images",
    ]
    return lines


def _settings(arm: Mapping[str, Scalar | None]) -> str:
    """What an arm or a baseline sets, after its paths."""
    shown = (f"{path} {'null' if value is None else value}" for path, value in arm.items())
    return ", ".join(shown) or "as it stands"


def _meaning(path: str) -> str:
    return "; s²/N, so a trial's strength s is √(nu·N)" if path == NU else ""


def _beforehand(spec: SweepSpec) -> list[str]:
    """What the search knows or is told before its first own proposal."""
    search, lines = spec.search, []
    if search.from_:
        lines.append(f"told beforehand of the trials of {', '.join(search.from_)} that fit")
    if search.points:
        lines.append(f"the first {len(search.points)} from search.points")
    for path, prior in search.priors.items():
        share = f"{prior.confidence:.0%} of the first {search.startup_trials} trials"
        lines.append(f"{path} lies around {prior.value} in {share}")
    return lines


def _stopping(spec: SweepSpec) -> list[str]:
    """When trials stop, in words; for Hyperband a line a bracket, with its number of trials."""
    stopping, rungs, epochs = spec.stopping, steps(spec), spec.training.epochs
    if stopping.name == "none":
        return ["none"]
    if stopping.name == "median":
        return [
            f"median: from epoch {stopping.grace} on a trial ends if its best is below the median",
            f"of the others' means, once {stopping.min_samples} of them have come so far; "
            f"the last epoch is {epochs}",
        ]
    if not rungs:
        return [f"{stopping.name}: no rung below the last epoch, {epochs}: all trials in full"]
    unit, last = "epoch" if len(rungs) == 1 else "epochs", f"the last epoch is {epochs}"
    if stopping.seconds:
        unit, last = "seconds", f"as the epoch ends that reaches them; {last}"
    last += f"; each counts by its {_counts_by(spec)}"
    best = f"the best 1/{stopping.reduction} {_by_both(spec)}go on at {unit}"
    if stopping.promote:
        place = f"asha: trials wait at {unit} {_listed(rungs)}, and the best"
        return [f"{place} 1/{stopping.reduction} there are promoted; {last}"]
    if stopping.name == "asha":
        return [f"asha: {best} {_listed(rungs)}; {last}"]
    counts = Counter(bracket(spec, number) for number in range(trial_count(spec)))
    lines = [f"hyperband: {best} of the trial's bracket; {last}"]
    for index in range(len(shares(spec))):
        at = _listed(rungs[index:]) or "none: in full"
        lines.append(f"bracket {index}, {counts[index]} trials: {at}")
    return lines


def _counts_by(spec: SweepSpec) -> str:
    if not by_best(spec):
        return "epoch there"
    first = f" in {spec.objective.metric}" if spec.objective.second else ""
    return f"best epoch so far{first}"


def _by_both(spec: SweepSpec) -> str:
    return "by both objectives " if spec.objective.second else ""


def _listed(rungs: Sequence[float]) -> str:
    return ", ".join(f"{rung:g}" for rung in rungs)


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


def in_words(spec: SweepSpec, found: Forecast) -> str:
    """What `sweeps preview` prints."""
    on = "GPU" if spec.resources.gpus else "process"
    small, large = found.smallest, found.largest
    one = small.params == large.params
    lines = [
        f"{spec.name}: {found.places} at a time, as tried here for some seconds each",
        *_size_lines("every step" if one else "smallest", small, on),
        *([] if one else _size_lines("largest", large, on)),
        f"{'':13}{'at least':>10}{'about':>10}{'at most':>10}",
        _figures("epochs", found.epochs, "{:.0f}".format),
        _figures("time", found.hours, lambda hours: _duration(3600 * hours)),
    ]
    if spec.resources.gpus:
        lines.append(_figures("GPU-hours", found.gpu_hours, "{:.2f}".format))
    lines.append(_figures("disk", found.disk, _bytes))
    return "\n".join(lines)


def _size_lines(name: str, size: Size, on: str) -> list[str]:
    where = ", ".join(f"{path} {value}" for path, value in size.params.items())
    tried = f"{size.epochs} epochs tried" if size.epochs else "reckoned from a part of one"
    return [
        f"{name:<13}{size.epoch_seconds:.3g} s an epoch, peak {_bytes(size.memory)} a {on}, "
        f"checkpoint {_bytes(size.checkpoint)} ({tried})",
        *([f"{'':13}at {where}"] if where else []),
    ]


def _figures(name: str, found: Range, show: Callable[[float], str]) -> str:
    columns = (show(value) for value in (found.least, found.about, found.most))
    return f"{name:<13}" + "".join(f"{column:>10}" for column in columns)


def _bytes(count: float) -> str:
    """`13.5 MB`, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _duration(seconds: float) -> str:
    """`48 s`, `12 min`, `7.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
