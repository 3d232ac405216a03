"""The best trial and the count of ended ones, kept up record by record."""

from __future__ import annotations

import random

from sweeps.spec import SweepSpec
from sweeps.state import State, Trial


def record(state: State, kind: str, **content) -> dict:
    return {"n": state.records, "time": 100.0 + state.records, "kind": kind, **content}


def looked_for(state: State) -> Trial | None:
    """The definition: of the finished trials, else of all but the failed, the best last value."""
    finished = [t for t in state.trials.values() if t.status == "finished"]
    pool = finished or [t for t in state.trials.values() if t.status in ("pruned", "running")]
    pool = [t for t in pool if t.values("val_loss")]
    return min(pool, key=lambda t: list(t.values("val_loss").values())[-1], default=None)


def test_best_is_the_best_after_every_record() -> None:
    """Few values, so that there are equal ones; trials end, and go on again, in any order."""
    dice, state = random.Random(0), State()
    spec = SweepSpec.model_validate({"name": "tiny", "objective": {"metric": "val_loss"}})
    content = {"spec": spec.model_dump(mode="json"), "identity": "", "versions": {}}
    state.apply(record(state, "sweep", **content))
    for number in range(12):
        state.apply(record(state, "trial", trial=number, params={}, seed=number))
        state.apply(record(state, "attempt", trial=number, attempt=1, epoch=0))
    leaders = set()
    for _ in range(400):
        trial = state.trials[dice.randrange(12)]
        if trial.end:
            what = {"status": trial.status, "value": None}
            state.apply(record(state, "reopen", trial=trial.number, **what))
        elif dice.random() < 0.5:
            metrics = {"val_loss": dice.choice([0.1, 0.2, 0.3, None])}
            epoch = trial.epoch + 1
            what = {"epoch": epoch, "metrics": metrics, "decision": "continue", "rung": None}
            state.apply(record(state, "result", trial=trial.number, attempt=1, **what))
        else:
            may = ["finished", "pruned"] if trial.values("val_loss") else []
            status = dice.choice(["failed", "diverged", *may])
            state.apply(record(state, "end", trial=trial.number, status=status))
        assert state.best() is looked_for(state)
        assert state.ended == sum(t.end is not None for t in state.trials.values())
        leaders.add(state.best().number if state.best() else None)
    assert len(leaders) > 5
