"""What benchmarks/search_table.npz is like: the values that a search finds in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy
from scipy.stats import spearmanr
from search_arms import CHANCE
from search_points import DIVERGED, EPOCHS, PARTS, SEEDS, TABLE, VALIDATION

RUNGS = (1, 3, 9)


@cache
def curves_of(part: str) -> numpy.ndarray:
    """Accuracies by the levels of all axes, seed and epoch; nan where a training had diverged."""
    correct = numpy.load(TABLE)["correct"][PARTS[part]]
    return numpy.where(correct == DIVERGED, numpy.nan, correct / VALIDATION).astype("float32")


def surface(part: str) -> list[str]:
    """What the table is like."""
    ends = curves_of(part)[..., -1]
    finals = numpy.nan_to_num(ends, nan=CHANCE).mean(-1)
    behind = finals.max() - finals.ravel()
    near = " / ".join(f"{100 * (behind <= d).mean():.1f}" for d in (0.005, 0.01, 0.02, 0.05))
    whole = numpy.where(numpy.isnan(ends).any(-1, keepdims=True), CHANCE, ends)
    good = whole.std(-1, ddof=1).ravel()[behind <= 0.02]
    return [
        f"{finals.size} configurations x {EPOCHS} epochs x {SEEDS} seeds, best {finals.max():.4f}, "
        f"median {numpy.median(finals):.4f}, {100 * numpy.isnan(ends).mean():.1f} % diverged",
        f"within 0.5 / 1 / 2 / 5 points of the best: {near} %; sd between seeds, median of those "
        f"within 2 points: {100 * numpy.median(good):.2f}",
        *_foretold(part),
    ]


def _foretold(part: str) -> Iterator[str]:
    """How well one seed's value at a rung ranks the configurations by the other seeds' last."""
    curves = numpy.nan_to_num(curves_of(part), nan=CHANCE).reshape(-1, SEEDS, EPOCHS)
    finals = curves[:, :, -1].mean(1)
    near = curves[finals >= finals.max() - 0.05]
    yield "rank correlation of one seed at a rung with the others' last epoch, within 5 points"
    for name, taken in (("last epoch", near), ("best so far", numpy.maximum.accumulate(near, 2))):
        cells = (f"{rung}: {_ranks(near, taken[:, :, rung - 1]):.2f}" for rung in RUNGS)
        yield f"  {name:<12}{', '.join(cells)}"


def _ranks(near: numpy.ndarray, seen: numpy.ndarray) -> float:
    """Spearman's, the mean over seeds."""
    found = []
    for seed in range(SEEDS):
        others = numpy.delete(near[:, :, -1], seed, 1).mean(1)
        found.append(spearmanr(seen[:, seed], others).statistic)
    return float(numpy.mean(found))


if __name__ == "__main__":
    for name in PARTS:
        print(name, *surface(name), sep="\n")
