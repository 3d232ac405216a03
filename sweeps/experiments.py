"""The published experiments among the ready sweeps: by name, at full size or as a smoke run.

An experiment is a file `configs/FOLDER/NAME.yaml`: of the ghost noise paper's public code
(arXiv 2305.17205) in `paper`, of Hoffer et al. (arXiv 1705.08741) in `hoffer`. It opens with
comment lines that say what it is, what it costs and what to expect.

A smoke run is the same sweep made small enough for a minute on a CPU: two points of its space, one
seed, two epochs of one update (one epoch of large images). The network is the published one. Where
the data set is not there, random images of its shape stand in for it, and the sweep's name says
"synthetic". It shows that the sweep starts, trains and is recorded; its figures mean nothing.
"""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeps.checks import check
from sweeps.errors import Mistake, SpecError
from sweeps.reading import load
from sweeps.spec import GROUPED, DataSpec, Dimension, SweepSpec, TrainingSpec
from sweeps.text import suggest
from sweeps.trial.locate import check_data
from sweeps.trial.standins import SHAPES
from sweeps.values import values_of

CONFIGS = Path(__file__).parent / "configs"
SYNTHETIC = "synthetic"
_EPOCHS = 2
_BATCH = 16
_POINTS = 2
_INDENT = " " * 34


@dataclass(frozen=True)
class Experiment:
    """One ready sweep, as its file's first lines describe it."""

    name: str
    """Its file's name without the ending, and the sweep's."""
    description: str
    cost: str
    file: Path


def experiments() -> dict[str, Experiment]:
    """All of them by name, those of a folder together; nothing is checked or loaded."""
    return {file.stem: _described(file) for file in sorted(CONFIGS.glob("*/*.yaml"))}


def experiment(name: str) -> Experiment:
    """The one of that name.

    Raises:
        SpecError: there is none; the message names the nearest.
    """
    known = experiments()
    if name not in known:
        remedy = f"{suggest(name, list(known))}. All: sweeps reproduce"
        raise SpecError([Mistake("name", "there is no such experiment", name, remedy)], "reproduce")
    return known[name]


def spec_of(name: str, *, smoke: bool = False, data: str | None = None) -> SweepSpec:
    """The checked spec of an experiment, or of its smoke run.

    Args:
        name: such as `c100_gni`.
        smoke: the smoke run instead.
        data: the folder that holds the data, in place of the spec's `data.root`.

    Raises:
        SpecError: no such experiment; or its data set is not there: what is missing, where it was
            looked for, how to get it and its size.
    """
    found = experiment(name)
    spec = load(found.file, checked=False)
    if data is not None:
        place = spec.data.model_copy(update={"root": data})
        spec = spec.model_copy(update={"data": place})
    spec = small(spec) if smoke else spec
    if mistakes := check(spec):
        raise SpecError([_with_help(m, found) for m in mistakes], str(found.file))
    return spec


def note(spec: SweepSpec) -> str:
    """What a reader of a smoke run's figures must know; nothing for any other sweep."""
    if not spec.name.startswith("smoke-"):
        return ""
    text = "smoke run: a few points, updates and images; its figures mean nothing"
    if spec.name.endswith(SYNTHETIC):
        text += (
            f". The data set is not there: {SYNTHETIC} images ({spec.data.name}) stand in for it"
        )
    return text


def listing() -> str:
    """Every experiment with a line on what it is and what it costs."""
    lines: list[str] = []
    folder = None
    for found in experiments().values():
        if found.file.parent.name != folder:
            folder = found.file.parent.name
            lines += [*([""] if lines else []), f"{folder}/"]
        lines += [f"  {found.name:<32}{found.description}"]
        lines += textwrap.wrap(found.cost, 100, initial_indent=_INDENT, subsequent_indent=_INDENT)
    lines += ["", "sweeps reproduce NAME runs one; --smoke tries it in a minute on a CPU."]
    return "\n".join(lines)


def small(spec: SweepSpec) -> SweepSpec:
    """The smoke run of any grid: see above. Not checked."""
    large = (spec.data.image_size or 0) > 64
    batch = spec.training.batch_size
    if spec.model.name != "mlp":  # an mlp takes a batch of any size in a moment
        batch = min(batch, _BATCH // 2 if large else _BATCH)
    narrowed = spec.model_copy(update={"space": _two_points(spec, batch)})
    largest = max(batch, *values_of(narrowed, "training.batch_size")) if _varied(spec) else batch
    data = _few_images(spec.data, largest)
    label = "" if data.name == spec.data.name else f"-{SYNTHETIC}"
    fields: dict[str, Any] = {
        "name": f"smoke-{spec.name}{label}",
        "data": data,
        "training": _shorter(spec.training, batch, 1 if large else _EPOCHS),
        "search": spec.search.model_copy(update={"replicates": 1, "trials": None}),
        "resources": spec.resources.model_copy(
            update={"gpus_per_trial": 0.0, "cpus_per_trial": 1.0, "threads_per_trial": 1}
        ),
    }
    if spec.model.norm.kind in GROUPED and spec.model.norm.ghost_size > batch:
        norm = spec.model.norm.model_copy(update={"ghost_size": batch})
        fields["model"] = spec.model.model_copy(update={"norm": norm})
    result = narrowed.model_copy(update=fields)
    described = f"{note(result)}. Of: {spec.description}"
    return result.model_copy(update={"description": described})


def _two_points(spec: SweepSpec, batch: int) -> dict[str, Dimension]:
    """Two values of the first axis, one of the others; at least two images a forward pass."""
    space: dict[str, Dimension] = {}
    for path in spec.space:
        values = values_of(spec, path)[: 1 if space else _POINTS]
        if path == "training.accumulate":
            values = tuple(value for value in values if value <= batch // 2)
        space[path] = Dimension.model_validate({"choice": values})
    return space


def _varied(spec: SweepSpec) -> bool:
    """Whether the space or an arm sets the batch size."""
    return any("training.batch_size" in paths for paths in (spec.space, *spec.arms.values()))


def _shorter(training: TrainingSpec, batch: int, epochs: int) -> TrainingSpec:
    schedule = training.schedule
    shorter: dict[str, Any] = {"warmup_epochs": min(schedule.warmup_epochs, epochs / 2)}
    if schedule.milestones:
        shorter["milestones"] = (1,)
    return training.model_copy(
        update={
            "epochs": epochs,
            "batch_size": batch,
            "schedule": schedule.model_copy(update=shorter),
            "checkpoint_every": epochs,
        }
    )


def _few_images(data: DataSpec, batch: int) -> DataSpec:
    """Enough for one update, of the data set if it is there, else of its stand-in."""
    fields: dict[str, Any] = {"limit": math.ceil(1.5 * batch), "download": False}
    if data.name in SHAPES and check_data(data.model_copy(update=fields)):
        fields["name"] = f"sweeps.trial.standins:{data.name}"
    return data.model_copy(update=fields)


def _described(file: Path) -> Experiment:
    text = file.read_text(encoding="utf-8")
    cost = re.search(r"^# Cost: +(.*(?:\n# {8,}.*)*)", text, re.MULTILINE)
    what = re.search(r"^description: (.*)$", text, re.MULTILINE)
    return Experiment(
        file.stem,
        what[1].strip() if what else "",
        re.sub(r"\n# +", " ", cost[1]) if cost else "",
        file,
    )


def _with_help(mistake: Mistake, found: Experiment) -> Mistake:
    if not mistake.path.startswith("data."):
        return mistake
    smoke = f"Without the data: sweeps reproduce {found.name} --smoke"
    return replace(mistake, remedy=f"{mistake.remedy}. {found.cost} {smoke}")
