"""Sizes that must divide one another, the loop's metrics, and when test images may be read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from sweeps.constraints import (
    ACCUMULATE,
    BATCH,
    GROUP,
    KIND,
    MANY_COMBINATIONS,
    SIZES,
    broken_by,
    combinations,
)
from sweeps.errors import Mistake
from sweeps.service import TIMINGS
from sweeps.spec import GROUPED, SweepSpec, space_size
from sweeps.text import suggest
from sweeps.trial.locate import check_import_path, most_images
from sweeps.values import Arm, arms_of, values_in, values_of

METRICS = {
    "validation": ("train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    "test": ("train_loss", "train_accuracy", "test_loss", "test_accuracy"),
}
"""What the training loop reports, by `data.evaluate`."""


def evaluate(spec: SweepSpec) -> Iterator[Mistake]:
    """Test images are for a study that selects nothing."""
    trials = spec.search.trials or 0
    selects = {
        "search.sampler": spec.search.sampler != "grid" and spec.search.sampler,
        "search.trials": trials % (space_size(spec) or 1) and trials,
        "stopping.name": spec.stopping.name != "none" and spec.stopping.name,
    }
    found = ", ".join(f"{path} is {value}" for path, value in selects.items() if value)
    if spec.data.evaluate == "test" and found:
        rule = "test is for a study without selection: a whole grid without early stopping"
        remedy = "Write search: {sampler: grid} and stopping: {name: none}, or evaluate: validation"
        yield Mistake("data.evaluate", rule, found, remedy)


def batches(spec: SweepSpec) -> Iterator[Mistake]:
    """Sizes that do not fit: any in a grid; in another space those that no other value mends."""
    for arm in arms_of(spec):
        if spec.search.sampler == "grid":
            yield from _listed_sizes(spec, arm)
        else:
            yield from _values_that_fit_nowhere(spec, arm)


def enough_images(spec: SweepSpec) -> Iterator[Mistake]:
    """A batch larger than the data; where only the data can tell, that is found as it is read."""
    images = most_images(spec.data)
    for batch in values_of(spec, BATCH):
        if images is not None and batch > images:
            yield larger_than(images, batch)


def larger_than(images: int, batch: int) -> Mistake:
    """That a batch has more images than are left to train on."""
    rule, found = "an epoch needs at least one batch", f"batch {batch}, {images} training images"
    return Mistake(BATCH, rule, found, "Lower it, or raise data.limit or lower data.validation")


def _values_that_fit_nowhere(spec: SweepSpec, arm: Arm) -> Iterator[Mistake]:
    """For each listed or fixed value that every combination with it breaks a rule: the first.

    Of more than can be looked through, none: one that fits may be among the rest.
    """
    ranged = [p for p in SIZES if p in spec.space and spec.space[p].kind in ("int", "logint")]
    listed = {p: values_in(spec, p, arm) for p in SIZES if p not in ranged}
    missing = {(path, value): None for path, values in listed.items() for value in values}
    found: dict[tuple[str, object], Mistake] = {}
    for index, sizes in enumerate(combinations(spec, arm)):
        if index == MANY_COMBINATIONS:
            return
        mistake = broken_by(sizes, within_batch=spec.search.ghost_within_batch)
        for pair in sizes.items():
            if mistake is None:
                missing.pop(pair, None)
            elif pair in missing:
                found.setdefault(pair, mistake)
        if not missing:
            return
    yield from dict.fromkeys(found[pair] for pair in missing if pair in found)


def _listed_sizes(spec: SweepSpec, arm: Arm) -> Iterator[Mistake]:
    axes = {path: values_in(spec, path, arm) for path in SIZES}
    if set(GROUPED) & set(axes[KIND]) or max(axes[ACCUMULATE]) > 1:
        paths = [p for p in (BATCH, ACCUMULATE, GROUP) if p in spec.space]
        ranges = [p for p in paths if spec.space[p].kind in ("int", "logint")]
        rule = "sizes that must divide one another need a choice of them, not a range"
        for path in ranges:
            yield Mistake(f"space.{path}", rule, remedy="Write {choice: [8, 16, 32]}")
        if ranges:
            return
    for sizes in itertools.islice(combinations(spec, arm), MANY_COMBINATIONS):
        if mistake := broken_by(sizes, within_batch=spec.search.ghost_within_batch):
            yield mistake


def loop(spec: SweepSpec) -> Iterator[Mistake]:
    """A loop that there is not; an objective that it does not report."""
    loops = [loop for loop in values_of(spec, "training.loop") if loop]
    for loop in loops:
        yield from check_import_path(loop, "training.loop")
    if loops:
        return
    rule = f"is no metric of the training loop with data.evaluate: {spec.data.evaluate}"
    known: tuple[str, ...] = METRICS[spec.data.evaluate]
    asked: list[tuple[str, str, tuple[str, ...]]] = [
        ("objective.metric", spec.objective.metric, known)
    ]
    if second := spec.objective.second:
        asked.append(("objective.second.metric", second.metric, (*known, *TIMINGS)))
    for place, metric, known in asked:
        if metric not in known:
            yield Mistake(place, rule, repr(metric), suggest(metric, list(known)))
