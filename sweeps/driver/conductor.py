"""The conductor: what a sweep does next, with every step in the journal before it is taken.

It knows no processes: it hands out assignments, is told results and losses, and decides. All that
it remembers can be rebuilt from the journal, so a new conductor on an old journal goes on where the
last one stopped.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from sweeps.driver import budget
from sweeps.driver.searches import Searches
from sweeps.driver.stopping import outcome
from sweeps.journal import Journal
from sweeps.objectives import Reached, course, required
from sweeps.state import Observer, Place, Trial


@dataclass(frozen=True)
class Assignment:
    """One attempt at one trial."""

    trial: int
    attempt: int
    params: dict[str, Any]
    seed: int
    known_epoch: int
    """Last epoch in the journal: the worker reports those after it."""
    alone: bool = False
    """After running out of memory: with the whole device, or on a CPU beside no other trial."""
    confirm: bool = False
    """Of a chosen configuration: on test images too, after the last epoch."""
    parent: int | None = None
    """The trial that it goes on from `after` its last epoch, to be trained to `epochs`."""
    after: int = 0
    epochs: int | None = None


class Conductor:
    """Drives one sweep.

    Args:
        journal: opened for writing; what it already holds is taken in first.
        observe: called with each new record and the state after it.
    """

    def __init__(self, journal: Journal, observe: Observer = lambda record, state: None):
        state = journal.state
        assert state.spec is not None
        self.spec = state.spec
        self.state = state
        self._journal = journal
        self._observe = observe
        self._searches = Searches(state)
        self.refusal = ""
        self.stopping = ""
        """Why nothing more is handed out: interrupted, stopped or budget."""
        self._live: set[int] = set()
        self._losses: Counter[int] = Counter()
        self._finish_decided()
        self._searches.restore()
        unfinished = (n for n, t in sorted(state.trials.items()) if t.status == "running")
        self._waiting = deque(unfinished)
        self._too_large: deque[int] = deque()

    @property
    def live(self) -> set[int]:
        """Trials handed out and not ended."""
        return self._live

    def next(self) -> Assignment | None:
        """The next attempt to start, None if there is none now.

        First what an earlier driver or a lost worker left open, then what is promoted from a rung,
        then new proposals, last what ran out of memory. When nothing else is left, of what waits at
        rungs as many go on as are wanted in full, and the others end. Confirmations are proposed
        once all searches have ended.
        """
        if self.refusal or self.stopping or self._one_alone():
            return None
        if not budget.may_train(self.state, len(self._live)):
            return None
        if (number := self._usual()) is not None:
            return self._hand_out(number)
        if self._too_large and not (self._live and self._on_cpu):
            return self._hand_out(self._too_large.popleft(), alone=True)
        if (number := self._searches.foremost(self._live)) is not None:
            return self._hand_out(number)
        return self.next() if not self._live and self._end_paused() else None

    def _usual(self) -> int | None:
        """A trial that goes on, or a new one; None if there is neither."""
        if self._waiting:
            return self._waiting.popleft()
        if (promoted := self._searches.promoted()) is not None:
            return promoted
        return self._propose() if self._searches.left else None

    def _end_paused(self) -> bool:
        """End the trials that wait at rungs where no more will come; whether there were any."""
        paused = [trial for trial in self.state.trials.values() if trial.paused]
        for trial in paused:
            self._end(trial.number, *outcome(self.spec, trial))
        return bool(paused)

    @property
    def _on_cpu(self) -> bool:
        return not self.spec.resources.gpus

    def _one_alone(self) -> bool:
        trials = (self.state.trials[number] for number in self._live)
        return self._on_cpu and any(trial.attempts[-1].get("alone") for trial in trials)

    def _hand_out(self, number: int, alone: bool = False) -> Assignment:
        trial = self.state.trials[number]
        self._live.add(number)
        attempt = len(trial.attempts) + 1
        self._write("attempt", trial=number, attempt=attempt, epoch=trial.epoch, alone=alone)
        confirm, child = trial.of is not None, (trial.parent, trial.after, trial.epochs)
        known = (trial.params, trial.seed, trial.epoch)
        return Assignment(number, attempt, *known, alone, confirm, *child)

    def result(self, number: int, epoch: int, metrics: dict[str, float], node: str = "") -> bool:
        """An epoch of a live trial; True when it is not to go on."""
        trial = self.state.trials[number]
        if trial.end or epoch <= trial.epoch:
            return bool(trial.end)  # retrained from a checkpoint older than the journal
        clean = {key: v if math.isfinite(v) else None for key, v in metrics.items()}
        if absent := [name for name in required(self.spec) if clean.get(name) is None]:
            self._without(absent[0], number, epoch, metrics)
            return True
        here = {"epoch": epoch, "metrics": clean}
        *_, at = course(self.spec.objective, [*trial.results, here])
        decision = self._decide(trial, at)
        self._write(
            "result",
            trial=number,
            attempt=len(trial.attempts),
            epoch=epoch,
            metrics=clean,
            decision=decision,
            rung=self._searches.rung(trial, at),
            node=node,
        )
        self._losses[number] = 0
        if decision == "pause":
            self._live.discard(number)
            self._searches.pause(trial)
            return True
        if decision != "continue":
            self._end(number, *outcome(self.spec, trial))
            return True
        written = self.spec.training.checkpoint_every == 1
        if (self.stopping and written) or not budget.may_train(self.state, len(self._live) - 1):
            self._live.discard(number)  # it stays open: resume, or a larger budget, goes on
            return True
        return False

    def stopped(self, number: int, again: bool = False) -> None:
        """A live trial stopped at a checkpoint; `again` hands it out anew, elsewhere."""
        self._live.discard(number)
        if again and not self.state.trials[number].end:
            self._waiting.appendleft(number)

    def out_of_memory(self, number: int, error: dict[str, str]) -> None:
        """A live trial did not fit: try it once more, alone and last."""
        if self.state.trials[number].end:
            return
        if any(attempt.get("alone") for attempt in self.state.trials[number].attempts):
            self.failed(number, error)
            return
        self._live.discard(number)
        self._too_large.append(number)

    def failed(self, number: int, error: dict[str, str], status: str = "failed") -> None:
        """A live trial raised (`failed`) or its numbers stopped being finite (`diverged`)."""
        self._end(number, status, error["message"], error)

    def refuse(self, reason: str) -> None:
        """The first trial's worker found that the sweep cannot be: hand out nothing more."""
        self.refusal = reason
        self._live.clear()

    def _without(self, name: str, number: int, epoch: int, metrics: dict[str, float]) -> None:
        if name in metrics:
            status, kind, found = "diverged", "TrialDiverged", f"is {metrics[name]}"
        else:
            status, kind, found = "failed", "ObjectiveMissing", "is missing"
        objective = self.spec.objective
        known = (objective.metric, objective.second and objective.second.metric)
        what = "the objective" if name in known else "stopping.seconds counts a metric:"
        message = f"{what} {name} {found} at epoch {epoch}"
        self.failed(number, {"type": kind, "message": message}, status)

    def lost(self, number: int, error: dict[str, str]) -> None:
        """The worker of a live trial died: try again, unless it was the last allowed death."""
        if self.state.trials[number].end:
            return
        self._losses[number] += 1
        if self._losses[number] < self.spec.resources.max_attempts:
            self._live.discard(number)
            self._waiting.appendleft(number)
        else:
            message = f"its worker died {self._losses[number]} times; last: {error['message']}"
            self._end(number, "failed", message, {**error, "message": message})

    def device(self, place: Place, reason: str, out: bool = True) -> None:
        """Note that a GPU gets no more trials, or gets them again."""
        self._write("device", node=place[0], gpu=place[1], out=out, reason=reason)

    def session(self, state: str, reason: str = "", **more: float) -> None:
        """Note that this driver began or how it ends; sweeps/journal.py has states and fields."""
        self._write("session", state=state, **({"reason": reason} if reason else {}), **more)

    @property
    def complete(self) -> bool:
        """Whether every trial has ended and none is left to propose."""
        return self.state.ended == len(self.state.trials) and not self._searches.left

    def _propose(self) -> int:
        number = len(self.state.trials)
        self._write("trial", trial=number, **self._searches.propose(number))
        return number

    def _last_epoch(self, trial: Trial) -> int:
        return trial.epochs or self.spec.training.epochs

    def _decide(self, trial: Trial, at: Reached) -> str:
        if at.epoch >= self._last_epoch(trial):
            return "finish"
        if not self._searches.stops(trial, at):
            return "continue"
        return "pause" if self.spec.stopping.promote else "prune"

    def _end(self, number: int, status: str, reason: str, error: dict | None = None) -> None:
        self._write_end(number, status, reason, error)
        self._live.discard(number)
        self._searches.end(self.state.trials[number])

    def _write_end(self, number: int, status: str, reason: str, error: dict | None = None) -> None:
        trial = self.state.trials[number]
        values = trial.values(self.spec.objective.metric)
        self._write(
            "end",
            trial=number,
            status=status,
            epoch=trial.epoch,
            value=list(values.values())[-1] if values else None,
            reason=reason,
            error=error,
        )

    def _finish_decided(self) -> None:
        """Write the end of trials whose last result decided it just before a driver died."""
        for trial in self.state.trials.values():
            if not trial.end and self._is_decided(trial):
                self._write_end(trial.number, *outcome(self.spec, trial))

    def _is_decided(self, trial: Trial) -> bool:
        """Whether the last result ended it; a "finish" counts no more once epochs were added."""
        if not trial.results:
            return False
        decision = trial.results[-1]["decision"]
        all_done = trial.epoch >= self._last_epoch(trial)
        return decision == "prune" or (decision == "finish" and all_done)

    def _write(self, kind: str, **content: Any) -> None:
        self._observe(self._journal.write(kind, **content), self.state)
