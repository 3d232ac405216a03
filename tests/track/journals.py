"""Writes the folder of a made-up sweep: what a driver and its workers would have left."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from unittest.mock import patch

from sweeps import journal, state
from sweeps.spec import SweepSpec, rungs

SPACE = {
    "model.noise.ghost_size": {"logint": [4, 64]},
    "model.noise.strength": {"uniform": [0.0, 2.0]},
    "training.optimizer.lr": {"loguniform": [1e-2, 1.0]},
}
START = 1_790_000_000.0


def made_up_spec(name: str = "digits", **changes) -> SweepSpec:
    content = {"name": name, "model": {"noise": {}}, "space": SPACE, "search": {"trials": 12}}
    return SweepSpec.model_validate(content | changes)


def write_sweep(
    folder: Path,
    spec: SweepSpec | None = None,
    *,
    trials: int = 12,
    fails: tuple[int, ...] = (5,),
    open_trial: int | None = None,
    checkpoints: bool = True,
    close: bool = True,
    start: float = START,
) -> state.State:
    """A sweep of `trials` under ASHA; those in `fails` raise, `open_trial` stops after 2 epochs."""
    spec = spec or made_up_spec(folder.name)
    folder.mkdir(parents=True, exist_ok=True)
    clock = itertools.count(start, 0.25)
    chance = random.Random(1)
    with patch("sweeps.journal.time.time", lambda: next(clock)), journal.Journal(folder) as log:
        versions = {"torch": "2.15.0", "commit": "abc123"}
        content = spec.model_dump(mode="json")
        log.write("sweep", spec=content, identity=spec.identity(), versions=versions)
        log.write("session", state="started")
        board: dict[int, list[float]] = {rung: [] for rung in rungs(spec)}
        for number in range(trials):
            _write_trial(log, spec, number, chance, board=board, fails=fails, open_trial=open_trial)
            if checkpoints:
                write_checkpoints(folder, log.state.trials[number])
        if close:
            log.write("session", state="finished" if open_trial is None else "interrupted")
    return journal.read(folder)


def write_checkpoints(folder: Path, trial: state.Trial) -> None:
    """The last two and the best, as the workers keep them; their content names the epoch."""
    values = trial.values("val_accuracy")
    if not values:
        return
    place = folder / "trials" / f"{trial.number:05d}"
    place.mkdir(parents=True, exist_ok=True)
    best = max(values, key=lambda epoch: (values[epoch], -epoch))
    for epoch in {*sorted(values)[-2:], best}:
        (place / f"epoch-{epoch:06d}.pt").write_text(f"trial {trial.number} epoch {epoch}")


def _write_trial(log, spec, number, chance, *, board, fails, open_trial) -> None:
    size, strength = chance.choice([4, 6, 8, 11, 16, 23, 32, 50, 64]), chance.uniform(0, 2)
    lr = 10 ** chance.uniform(-2, 0)
    values = (size, strength, lr)
    params = {path: value for path, value in zip(SPACE, values, strict=True) if path in spec.space}
    log.write("trial", trial=number, params=params, seed=0)
    log.write("attempt", trial=number, attempt=1, node="host", epoch=0)
    ridge = math.log2((strength**2 + 0.05) / size) + 4.5
    top = 0.985 - 0.004 * ridge**2 - 0.02 * (math.log10(lr) + 0.9) ** 2
    for epoch in range(1, spec.training.epochs + 1):
        value = top * (1 - math.exp(-(epoch**0.7) * 1.6)) + chance.gauss(0, 0.002)
        if number in fails and epoch == 2:
            error = {"type": "ValueError", "message": "boom", "traceback": "Traceback\nboom"}
            log.write(
                "end", trial=number, status="failed", epoch=1, value=None,
                reason="ValueError: boom", error=error,
            )  # fmt: skip
            return
        rung = epoch if epoch in board else None
        decision = "finish" if epoch == spec.training.epochs else "continue"
        if rung and number not in fails:
            seen = board[rung]
            seen.append(value)
            if value < sorted(seen, reverse=True)[max(1, len(seen) // 3) - 1]:
                decision = "prune"
        metrics = {"val_accuracy": value, "val_loss": 3 - 2.9 * value, "lr": lr, "seconds": 0.2}
        log.write(
            "result", trial=number, attempt=1, epoch=epoch, metrics=metrics,
            decision=decision, rung=rung, node="host",
        )  # fmt: skip
        if number == open_trial and epoch == 2:
            return
        if decision != "continue":
            pruned = decision == "prune"
            reason = f"below the best third at epoch {epoch}" if pruned else "trained in full"
            log.write(
                "end", trial=number, status="pruned" if pruned else "finished", epoch=epoch,
                value=value, reason=reason, error=None,
            )  # fmt: skip
            return
