"""Which GPUs a sweep leaves out: those on which trials failed in a row while others went on.

Ray cannot take one GPU of a machine away. So the worker that finds itself on one that is left out
holds it: it hands its trial back, which goes on elsewhere, and waits there for the sweep's end.
Only what points to the device counts (`CUDA error: …`, not out of memory), and nothing of a trial
that fails on a second device too, on which others went well: that is the trial's doing, and the
first one is taken back.
"""

from __future__ import annotations

from collections.abc import Callable

from sweeps.driver.conductor import Conductor
from sweeps.state import Place

IN_A_ROW = 2
"""Failures on a device, none between them well; fewer than the deaths a trial has by default."""


class Devices:
    """Judges by what workers tell; every verdict is in the journal."""

    def __init__(self, conductor: Conductor, gpus: Callable[[], int]):
        self._conductor, self._gpus = conductor, gpus
        self._failed: dict[Place, list[int]] = {}
        self._well: set[Place] = set()
        self._holders: set[str] = set()
        self.over = False
        """Nothing is left to hand out: who holds a device may let go of it."""

    @property
    def left_out(self) -> list[Place]:
        """Those that are to be held, for a worker to look whether its own is among them."""
        return list(self._conductor.state.left_out)

    @property
    def held(self) -> int:
        """Workers that hold a device."""
        return len(self._holders)

    def well(self, place: Place) -> None:
        """A trial went on there."""
        self._failed.pop(place, None)
        self._well.add(place)

    def failed(self, place: Place, trial: int, message: str) -> str:
        """A device failed under a trial; gives why the sweep cannot go on, if it cannot."""
        if place in self._well and self._forgiven(place, trial):
            return ""
        failed = self._failed.setdefault(place, [])
        failed.append(trial)
        several = len(set(failed)) > 1  # one alone may be at fault itself
        works = bool(self._well - {place} - set(self.left_out))
        if place in self.left_out or len(failed) < IN_A_ROW or not (works or several):
            return ""
        if self._others():
            numbers = ", ".join(map(str, sorted(set(failed))))
            reason = f"failed {len(failed)} times in a row (trials {numbers}): {message}"
            self._conductor.device(place, reason)
            return ""
        if several:
            return f"{named(place)} failed {len(failed)} times, and no other is left: {message}"
        return ""

    def _others(self) -> bool:
        """Whether more GPUs than one are not left out."""
        gone = sum(len(gpu.split(",")) for _, gpu in self.left_out)
        return self._gpus() - gone > 1

    def _forgiven(self, place: Place, trial: int) -> bool:
        """Whether it failed on another device before: no device is then judged by it."""
        found = [there for there in self._failed if there != place and self._drop(there, trial)]
        return bool(found)

    def hold(self, worker: str) -> bool:
        """Note a worker that holds a device; whether it is new."""
        new = worker not in self._holders
        self._holders.add(worker)
        return new

    def let_go(self, worker: str) -> bool:
        """Note that a worker holds no device any more; whether it did."""
        found = worker in self._holders
        self._holders.discard(worker)
        return found

    def _drop(self, place: Place, trial: int) -> bool:
        """Forget a trial's failures on a device; take the device back if there were no others."""
        failed = self._failed[place]
        if trial not in failed:
            return False
        self._failed[place] = [other for other in failed if other != trial]
        if place in self._conductor.state.left_out and not self._failed[place]:
            self._conductor.device(place, f"trial {trial} fails elsewhere too", out=False)
        return True


def named(place: Place) -> str:
    """`lab2 GPU 3`."""
    return f"{place[0]} GPU {place[1]}"
