"""A sweep as its journal tells it: a fold over the records that sweeps/journal.py describes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from sweeps.errors import JournalError
from sweeps.spec import SweepSpec
from sweeps.values import extended

Record = dict[str, Any]
Place = tuple[str, str]
"""A machine's name and the numbers of its GPUs, as Ray gave them to a worker."""
_UNFINISHED = ("pruned", "waiting", "running")
Observer = Callable[[Record, "State"], None]
"""Called with each new record and the state after it."""


@dataclass
class Trial:
    """What the journal says of one trial."""

    number: int
    params: dict[str, Any]
    seed: int
    proposed: float
    attempts: list[Record] = field(default_factory=list)
    results: list[Record] = field(default_factory=list)
    end: Record | None = None
    seconds: float = 0.0
    """From each attempt to its last record, together."""
    baseline: str = ""
    """The baseline of `confirm` that it tunes or confirms; empty for one of the search."""
    of: int | None = None
    """A confirmation's configuration, by the number of the trial that found it."""
    parent: int | None = None
    """The finished trial that it goes on from, its schedule begun anew (`extend`)."""
    after: int = 0
    """A child's parent's last epoch: it begins after that one."""
    epochs: int | None = None
    """A child's own last epoch; the others have the sweep's."""
    record: int = -1
    """Number of the record that proposed it."""

    @property
    def proposed_by_search(self) -> bool:
        """Whether the search or that of a baseline proposed it: no confirmation, no child."""
        return self.of is None and self.parent is None

    @property
    def searches(self) -> bool:
        """Whether it is one of the search itself: not of a baseline, either."""
        return self.proposed_by_search and not self.baseline

    @property
    def epoch(self) -> int:
        """Last epoch with a result; before the first 0, a child's parent's last."""
        return self.results[-1]["epoch"] if self.results else self.after

    @property
    def status(self) -> str:
        """finished, pruned, failed, diverged; without an end yet waiting or running."""
        return self.end["status"] if self.end else "waiting" if self.paused else "running"

    @property
    def paused(self) -> bool:
        """Whether it waits at a rung: nobody has taken it up since the result that said so."""
        if self.end or not self.results or self.results[-1].get("decision") != "pause":
            return False
        return self.attempts[-1]["n"] < self.results[-1]["n"]

    def values(self, metric: str) -> dict[int, float]:
        """That metric by epoch, where it was reported as a finite number."""
        found = ((r["epoch"], r["metrics"].get(metric)) for r in self.results)
        return {epoch: value for epoch, value in found if value is not None}

    def last(self, metric: str) -> float | None:
        """The last of `values`; None when there is none."""
        found = (r["metrics"].get(metric) for r in reversed(self.results))
        return next((value for value in found if value is not None), None)


@dataclass
class State:
    """The sweep as folded from its journal; `apply` takes the next record."""

    spec: SweepSpec | None = None
    identity: str = ""
    created: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    trials: dict[int, Trial] = field(default_factory=dict)
    sessions: list[Record] = field(default_factory=list)
    lent: list[Record] = field(default_factory=list)
    """What earlier sweeps told the search, a record each."""
    left_out: dict[Place, str] = field(default_factory=dict)
    """GPUs that get no more trials, and why."""
    records: int = 0
    updated: float = 0.0
    ended: int = 0
    """Trials with an end."""
    epochs: int = 0
    """Results of all trials."""
    seconds: float = 0.0
    """By the clock, from each session's start to its last record, together."""
    trial_seconds: float = 0.0
    """`seconds` of all trials."""
    added: int = 0
    """Number of the last `extend` record; 0 of a sweep that was not extended."""
    finished: bool = False
    """Whether the last driver went through to the end, and nothing was added since."""
    _leader: Trial | None = None
    """The best of the finished trials: looking for it among 10,000 takes 10 ms."""

    def apply(self, record: Record) -> None:  # noqa: PLR0912 - a case for each kind
        """Take one record into the state.

        Raises:
            JournalError: the record is out of order or of no known kind.
        """
        if not isinstance(record, dict) or not {"n", "kind", "time"} <= record.keys():
            raise JournalError(f"record {self.records} of the journal is none: {record!r:.60}")
        if record["n"] != self.records:
            raise JournalError(f"record {record['n']} stands where {self.records} should")
        self.records += 1
        self._count(record)
        self.updated = record["time"]
        match record["kind"]:
            case "sweep":
                self.spec = _spec(record["spec"])
                self.identity = record["identity"]
                self.versions = record["versions"]
                self.created = record["time"]
            case "lent":
                self.lent.append(record)
            case "session":
                self.sessions.append(record)
                self.finished = record["state"] == "finished"
            case "trial":
                self.trials[record["trial"]] = _proposed(record)
                self.finished = False
            case "attempt":
                self.trials[record["trial"]].attempts.append(record)
            case "result":
                self.trials[record["trial"]].results.append(record)
            case "end":
                self._end(self.trials[record["trial"]], record)
            case "device":
                self._device(record)
            case "reopen":
                self._reopen(self.trials[record["trial"]])
            case "extend":
                assert self.spec is not None
                self.spec, self.added = extended(self.spec, record["changes"]), record["n"]
                self.finished = False
            case kind:
                raise JournalError(f"record {record['n']} is of unknown kind {kind!r}")

    def _count(self, record: Record) -> None:
        """Add up what budgets are counted in."""
        self.epochs += record["kind"] == "result"
        if not self._at_work(record):
            return
        self.seconds += max(0.0, record["time"] - self.updated)
        if record["kind"] in ("result", "end"):
            trial = self.trials[record["trial"]]
            times = [r["time"] for r in (*trial.attempts[-1:], *trial.results[-1:])]
            worked = max(0.0, record["time"] - max(times, default=record["time"]))
            trial.seconds += worked
            self.trial_seconds += worked

    def _at_work(self, record: Record) -> bool:
        """Whether a driver was at work from the record before to this one."""
        if not self.sessions or self.sessions[-1]["state"] != "started":
            return False
        if record["kind"] == "session":
            return record["state"] not in ("started", "refused")
        if record["kind"] == "device" and not record["out"]:  # `retry --gpus` writes it too
            return False
        if record["kind"] == "end":  # what a last result decided, the next driver may write
            return all(
                r["decision"] == "continue" for r in self.trials[record["trial"]].results[-1:]
            )
        return record["kind"] not in ("extend", "reopen") and "parent" not in record

    def _end(self, trial: Trial, record: Record) -> None:
        self.ended += trial.end is None
        trial.end = record
        if trial.status == "finished" and trial.searches:
            self._leader = self._better([trial] if self._leader is None else [self._leader, trial])

    def _device(self, record: Record) -> None:
        place = (record["node"], record["gpu"])
        if record["out"]:
            self.left_out[place] = record["reason"]
        else:
            self.left_out.pop(place, None)

    def _reopen(self, trial: Trial) -> None:
        self.ended -= trial.end is not None
        trial.end = None
        self.finished = False
        if trial is self._leader:
            finished = (t for t in self.trials.values() if t.status == "finished" and t.searches)
            self._leader = self._better(finished)

    def best(self) -> Trial | None:
        """The search's best last value among trials trained in full (else among all)."""
        others = (t for t in self.trials.values() if t.status in _UNFINISHED and t.searches)
        return self._leader or self._better(others)

    def _better(self, trials: Iterable[Trial]) -> Trial | None:
        """The one with the best last value; of equals the one proposed first."""
        assert self.spec is not None
        objective = self.spec.objective
        sign = 1 if objective.mode == "max" else -1
        scored = [(t, v) for t in trials if (v := t.last(objective.metric)) is not None]
        return max(scored, key=lambda s: (sign * s[1], -s[0].number), default=(None,))[0]


def _proposed(record: Record) -> Trial:
    return Trial(
        record["trial"],
        record["params"],
        record["seed"],
        record["time"],
        baseline=record.get("baseline", ""),
        of=record.get("of"),
        parent=record.get("parent"),
        after=record.get("after", 0),
        epochs=record.get("epochs"),
        record=record["n"],
    )


def _spec(tree: Any) -> SweepSpec:
    try:
        return SweepSpec.model_validate(tree)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, found["loc"]))
        message = f"its spec was written by another version: {place}: {found['msg']}"
        raise JournalError(message) from None
