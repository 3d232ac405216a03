"""`sweeps run --from`: a checkpoint found by its path or its MLflow run, and put into the spec."""

from __future__ import annotations

import re
from pathlib import Path

from sweeps.errors import CheckpointError, Mistake, SpecError
from sweeps.spec import StartSpec, SweepSpec
from sweeps.storage import at
from sweeps.track.store import store_uri

_RUN = re.compile(r"([0-9a-f]{32})(?:/(best|last))?")


def started_from(source: str, spec: SweepSpec, folder: Path) -> tuple[SweepSpec, bytes]:
    """The spec whose trials start from the weights of a checkpoint, and that checkpoint.

    Args:
        source: path (or `s3://` address) of a checkpoint file, or an MLflow run: its id, whose best
            checkpoint is taken, or `ID/last`.
        spec: of the sweep.
        folder: of the sweep; a run is looked for in its tracking store.

    Raises:
        CheckpointError: the run has none, or it is damaged or holds no model.
        SpecError: there is no such file, it is no checkpoint, or the sweep trains with a loop of
            the user's own, which starts by itself.
    """
    if spec.training.loop:
        rule = "a loop of your own makes its first weights itself"
        raise SpecError([Mistake("--from", rule, spec.training.loop, "Load them in the loop")])
    from sweeps.trial import checkpoint
    from sweeps.trial.start import model_weights

    run = _RUN.fullmatch(source)
    if run and not Path(source).exists():
        raw = _of_run(run[1], run[2] or "best", store_uri(spec, folder))
    else:
        place = at(source) if "://" in source else Path(source).expanduser().absolute()
        source = str(place)
        try:
            raw = place.read_bytes()
        except OSError as error:
            rule = f"the file cannot be read ({error.strerror or error})"
            remedy = "Give a checkpoint's path, or the id of an MLflow run"
            raise SpecError([Mistake("--from", rule, source, remedy)]) from None
    if not checkpoint.ends_as_one(raw):
        rule = "this is no checkpoint of a sweep, or one cut short: its checksum is not at its end"
        remedy = "Give a file from STORAGE/NAME/trials, or the id of an MLflow run of a sweep"
        raise SpecError([Mistake("--from", rule, source, remedy)])
    model_weights(checkpoint.parsed(raw, source), source)
    start = StartSpec(sha256=checkpoint.digest(raw), source=source)
    training = spec.training.model_copy(update={"start": start})
    return spec.model_copy(update={"training": training}), raw


def _of_run(run: str, role: str, uri: str) -> bytes:
    from sweeps.track.fetch import checkpoint

    try:
        return checkpoint(run, role, uri)
    except Exception as error:  # whatever MLflow, its drivers or the network raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = f"MLflow run {run} gives no checkpoints/{role}.pt: {reason}"
        raise CheckpointError(f"{message}. It was looked for in {uri}") from error
