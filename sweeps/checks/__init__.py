"""What a spec can get wrong between its fields, found without importing torch, Ray or MLflow.

Each function takes the spec and yields mistakes; `check` collects them all. A value of the space is
checked by putting it into the fixed part: every choice, and both ends of every range.
"""

from __future__ import annotations

from dataclasses import replace

from sweeps.checks import confirming, networks, paths, searching, training
from sweeps.errors import Mistake, SpecError
from sweeps.spec import SweepSpec
from sweeps.storage import working_folder
from sweeps.trial.locate import check_data


def check(spec: SweepSpec) -> list[Mistake]:
    """Every mistake between the fields of `spec`, in the order of its sections."""
    if mistakes := [*paths.space_paths(spec)]:
        return mistakes
    if mistakes := [*paths.space_values(spec)]:
        return mistakes
    found = [
        *_storage(spec),
        *check_data(spec.data),
        *training.evaluate(spec),
        *networks.models(spec),
        *networks.places(spec),
        *training.batches(spec),
        *training.enough_images(spec),
        *training.loop(spec),
        *searching.search(spec),
        *searching.lenders(spec),
        *searching.points(spec),
        *searching.priors(spec),
        *searching.stopping(spec),
        *searching.second(spec),
    ]
    known = list(dict.fromkeys(_where_written(mistake, spec) for mistake in found))
    return [*known, *confirming.confirm(spec, known, check)]


def _where_written(mistake: Mistake, spec: SweepSpec) -> Mistake:
    """A field that the space varies is written there."""
    return replace(mistake, path=f"space.{mistake.path}") if mistake.path in spec.space else mistake


def _storage(spec: SweepSpec) -> list[Mistake]:
    try:
        working_folder(spec.storage)
    except SpecError as error:
        return error.mistakes
    return []
