"""What is to be confirmed: enough trials to choose from, baselines that can be, a test split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

from pydantic import ValidationError

from sweeps.baselines import baseline_spec, planned
from sweeps.checks import paths
from sweeps.confirming import ConfirmSpec
from sweeps.errors import Mistake
from sweeps.spec import ARM, Frozen, SweepSpec, TrialSpec, section, space_size, trial_count
from sweeps.text import suggest

Check = Callable[[SweepSpec], list[Mistake]]


def confirm(spec: SweepSpec, known: list[Mistake], check: Check) -> Iterator[Mistake]:
    """Mistakes of the section `confirm`.

    Args:
        spec: one without mistakes in the space.
        known: those of its other sections, which a baseline shares.
        check: finds those of a whole spec; a baseline's own search is one.
    """
    if spec.confirm is None:
        return
    yield from _reads_test(spec)
    yield from _enough(spec, spec.confirm)
    mistakes = [*_tuned(spec, spec.confirm), *_baseline_paths(spec, spec.confirm)]
    yield from mistakes
    for name in spec.confirm.baselines if not mistakes else ():
        place = f"confirm.baselines.{name}"
        try:
            found = check(baseline_spec(spec, name))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            rule = first["msg"].removeprefix("Value error, ")
            yield Mistake(f"{place}.{where}", rule, repr(first["input"]))
            continue
        yield from (_of_baseline(m, place) for m in found if m not in known)


def _reads_test(spec: SweepSpec) -> Iterator[Mistake]:
    if spec.data.evaluate == "test":
        rule = "needs a search on validation: its trials must not have read the test images"
        remedy = "Write data.evaluate: validation, or leave confirm out"
        yield Mistake("confirm", rule, "data.evaluate is test", remedy)
    elif not spec.objective.metric.startswith("val_"):
        rule = "needs an objective of the validation images, which has its like on test images"
        remedy = "Write objective: {metric: val_accuracy}"
        yield Mistake("confirm", rule, f"objective.metric is {spec.objective.metric}", remedy)


def _tuned(spec: SweepSpec, confirm: ConfirmSpec) -> Iterator[Mistake]:
    for path in confirm.tune or ():
        if path not in spec.space or path == ARM:
            remedy = suggest(path, [p for p in spec.space if p != ARM])
            yield Mistake("confirm.tune", "is no axis of the space", path, remedy)


def _baseline_paths(spec: SweepSpec, confirm: ConfirmSpec) -> Iterator[Mistake]:
    for name, settings in confirm.baselines.items():
        for path, value in settings.items():
            place = f"confirm.baselines.{name}.{path}"
            above = [p for p in settings if path.startswith(f"{p}.") and settings[p] is None]
            if above:
                yield Mistake(place, f"is within {above[0]}, which is null", remedy="Drop one")
            if path == ARM and spec.arms:
                if value not in spec.arms:
                    remedy = suggest(str(value), list(spec.arms))
                    yield Mistake(place, "is none of the arms", repr(value), remedy)
            elif value is None and path not in _optional():
                remedy = suggest(path, list(_optional()))
                yield Mistake(place, "is no field that can be null", remedy=remedy)
            elif value is not None and not paths.may_vary(path):
                yield paths.unknown(place, path)


@cache
def _optional() -> tuple[str, ...]:
    """Fields of data, model and training that may be null: whole sections among them."""

    def walk(model: type[Frozen], prefix: str) -> Iterator[str]:
        for name, field in model.model_fields.items():
            path = f"{prefix}{name}"
            if field.default is None and path.startswith(paths.SECTIONS):
                yield path
            elif below := section(field.annotation):
                yield from walk(below, f"{path}.")

    varied = (p for p in walk(TrialSpec, "") if not p.startswith("data."))
    return tuple(varied)


def _of_baseline(mistake: Mistake, place: str) -> Mistake:
    """A mistake of a baseline's own search, at the place where it is written."""
    share = mistake.path == "search.trials"
    return replace(mistake, path="confirm.trials" if share else f"{place}.{mistake.path}")


def _enough(spec: SweepSpec, confirm: ConfirmSpec) -> Iterator[Mistake]:
    size = space_size(spec)
    there = min(trial_count(spec), size if size is not None else trial_count(spec))
    if confirm.top > there:
        rule = f"there are only {there} configurations to choose from"
        yield Mistake("confirm.top", rule, str(confirm.top), "Lower it, or raise search.trials")
    limit, all_of_them = spec.budget.max_trials, planned(spec)
    if limit is not None and all_of_them > limit:
        rule = "counts the trials of baselines and confirmation too"
        found = f"{limit}; {all_of_them} in all"
        remedy = f"Raise it to {all_of_them}, or lower search.trials, confirm.top or confirm.seeds"
        yield Mistake("budget.max_trials", rule, found, remedy)
