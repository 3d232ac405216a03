"""Sizes that must divide one another, the loop's metrics, and when test images may be read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from sweeps.errors import Mistake
from sweeps.spec import GROUPED, SweepSpec, space_size
from sweeps.text import suggest
from sweeps.trial.locate import check_import_path
from sweeps.values import Arm, arms_of, values_in, values_of

METRICS = {
    "validation": ("train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    "test": ("train_loss", "train_accuracy", "test_loss", "test_accuracy"),
}
"""What the training loop reports, by `data.evaluate`."""
MANY_COMBINATIONS = 4096


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
    """Group and accumulation sizes against the batch, over every combination of the space."""
    for arm in arms_of(spec):
        yield from _batches_of(spec, arm)


def _batches_of(spec: SweepSpec, arm: Arm) -> Iterator[Mistake]:
    paths = (
        "training.batch_size",
        "training.accumulate",
        "model.norm.kind",
        "model.norm.ghost_size",
    )
    axes = [values_in(spec, path, arm) for path in paths]
    if set(GROUPED) & set(axes[2]) or max(axes[1]) > 1:
        ranges = [p for p in paths if p in spec.space and spec.space[p].kind in ("int", "logint")]
        rule = "sizes that must divide one another need a choice of them, not a range"
        for path in ranges:
            yield Mistake(f"space.{path}", rule, remedy="Write {choice: [8, 16, 32]}")
        if ranges:
            return
    for batch, accumulate, kind, ghost in itertools.islice(
        itertools.product(*axes), MANY_COMBINATIONS
    ):
        if batch % accumulate:
            yield Mistake(
                "training.accumulate",
                "must divide batch_size",
                f"{batch} / {accumulate}",
                "Choose a divisor of the batch size",
            )
        elif batch == accumulate and kind in ("batch", *GROUPED):
            rule = "leaves one image a forward pass, and batch statistics need at least 2"
            yield Mistake("training.accumulate", rule, str(accumulate), "Lower it")
        elif kind in GROUPED and ghost < 2:
            rule = f"{kind} needs at least 2 samples in a group"
            yield Mistake("model.norm.ghost_size", rule, str(ghost), "Raise it")
        elif kind in GROUPED and (batch // accumulate) % ghost:
            seen = batch // accumulate
            divisors = [str(d) for d in range(2, seen + 1) if seen % d == 0]
            yield Mistake(
                "model.norm.ghost_size",
                "must divide the batch that one forward pass sees",
                f"ghost size {ghost}, batch {seen}",
                f"Divisors: {', '.join(divisors)}",
            )


def loop(spec: SweepSpec) -> Iterator[Mistake]:
    """A loop that there is not; an objective that it does not report."""
    loops = [loop for loop in values_of(spec, "training.loop") if loop]
    for loop in loops:
        yield from check_import_path(loop, "training.loop")
    known = METRICS[spec.data.evaluate]
    if not loops and spec.objective.metric not in known:
        remedy = suggest(spec.objective.metric, list(known))
        yield Mistake(
            "objective.metric",
            f"is no metric of the training loop with data.evaluate: {spec.data.evaluate}",
            repr(spec.objective.metric),
            remedy,
        )
