"""The exception tree of the service.

SweepError                  everything that a user can mend; the command line prints it and exits
├── SpecError               one or more mistakes in a spec, each with its place (exit status 2)
├── PreflightError          the machine lacks what the spec asks for (exit status 2)
│   ├── DataNotFound        a data set is not where it should be
│   └── StorageError        the sweep's storage is gone, refuses, or does not answer
├── SweepExists             that name is taken by another spec (exit status 2)
├── SweepNotFound           no sweep of that name in the storage (exit status 2)
├── SweepBusy               another driver is running that sweep (exit status 2)
├── SweepStopped            the sweep was stopped on request; it can go on (exit status 130)
├── ClusterError             a machine of the cluster does not answer or refuses (exit status 3)
├── JournalError            the journal is damaged beyond its last line (exit status 3)
└── CheckpointError         a checkpoint cannot be read
TrialDiverged               inside a trial: the loss stopped being a finite number
TrialSilent                 inside a trial: it finished no update for too long
TrialStopped                inside a trial: it was asked to stop, and its checkpoint is written
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

UNWRITABLE = (errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EROFS)
"""System errors that say that a place takes no more files."""
LOST = (errno.EIO, errno.ENODEV, errno.ENOENT, errno.ENOTCONN, errno.ENXIO, errno.ESTALE)
"""System errors that say that the place itself is gone, or broken."""


def how_to_mend(error: OSError) -> str:
    """What helps where a place takes no more files."""
    full = error.errno in (errno.EDQUOT, errno.ENOSPC)
    return "Make room there" if full else "Make it writable again"


class SweepError(Exception):
    """Base of all errors that a user can mend; `exit_status` is what the command line returns."""

    exit_status = 2


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in a spec: where, the rule it breaks, the value found, what to do."""

    path: str
    rule: str
    value: str = ""
    remedy: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        found = f" (found {self.value})" if self.value else ""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{place}{self.path}: {self.rule}{found}{remedy}"


class SpecError(SweepError):
    """Every mistake found in one spec, or in what a command was given; reported at once."""

    def __init__(self, mistakes: list[Mistake], source: str = ""):
        self.mistakes = mistakes
        self.source = source
        place = f"{source}: " if source else ""
        super().__init__("\n".join(f"{place}{mistake}" for mistake in mistakes))


class PreflightError(SweepError):
    """The machine, the folder or the cluster lacks something that the spec asks for."""


class DataNotFound(PreflightError):
    """A data set is not where the spec says; the message tells how to get it."""


class StorageError(PreflightError):
    """A sweep's folder is gone, or an object store refuses or does not answer for a minute."""


class SweepExists(SweepError):
    """The name belongs to a sweep with another spec."""


class SweepNotFound(SweepError):
    """There is no sweep of that name in the storage."""


class SweepBusy(SweepError):
    """Another driver holds the sweep."""


class SweepStopped(SweepError):
    """Somebody asked for the sweep to stop; every trial's checkpoint is written."""

    exit_status = 130


class ClusterError(SweepError):
    """A machine of a cluster cannot be reached, refuses the key or the token, or has not what it
    needs."""

    exit_status = 3


class JournalError(SweepError):
    """The journal cannot be read; nothing was changed."""

    exit_status = 3


class CheckpointError(SweepError):
    """A checkpoint is missing, damaged or of another format."""

    exit_status = 3


class TrialDiverged(ArithmeticError):
    """The training loss is not a finite number any more."""


class TrialSilent(Exception):
    """The training hangs, or its updates take longer than `resources.silent_minutes`."""


class TrialStopped(Exception):
    """The trial was asked to stop; it goes on from the checkpoint just written."""
