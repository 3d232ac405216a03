"""What a spec would run, in words: `sweeps check`; with what it would take: `sweeps preview`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sweeps.spec import Dimension, Scalar, SweepSpec, rungs, trial_count

if TYPE_CHECKING:
    from sweeps.forecast import Forecast, Range, Size


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
