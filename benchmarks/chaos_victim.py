"""What benchmarks/chaos.py kills: a sweep's driver and workers, and its MLflow server."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos_servers import Server, Store

    from sweeps.state import State

HERE = Path(__file__).parent
SWEEPS = str(Path(sys.executable).with_name("sweeps"))
MARKS = "CHAOS_MARKS"
"""Environment variable: the file in which each epoch that is begun leaves a line."""
ORPHAN_S, AGENT_S = 30.0, 75.0
WORKER = ("ray::TrialActor", "ray::ResourceTrainable")
"""A worker's title while it is idle, and while it trains."""
PATIENCE_S = 300.0
"""Without a record for so long, the sweep is stuck."""


def processes() -> dict[int, tuple[str, str]]:
    """Command and start time of each process of the namespace that is not a zombie."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if fields[0] != "Z":
            found[int(entry.name)] = (command, fields[19])
    return found


def rays(agents: bool) -> dict[int, str]:
    """Start times of Ray's processes: of its two agents, or of all others."""
    return {
        pid: start
        for pid, (command, start) in processes().items()
        if (command.startswith("ray::") or "/ray/" in command)
        and ("agent" in command.lower()) == agents
    }


class Victim:
    """One sweep, run and resumed to its end, and killed on the way.

    With a `store` it is kept there, and every second driver after a kill finds nothing local.
    """

    def __init__(
        self,
        folder: Path,
        content: dict,
        server: Server | None,
        seed: int,
        store: Store | None = None,
    ):
        from sweeps.storage import working_folder

        self.folder, self.server, self.dice = folder, server, random.Random(seed)
        self.name, self.store = content["name"], store
        self.storage = store.address(self.name) if store else str(folder)
        self.journal = working_folder(self.storage) / self.name / "journal.jsonl"
        self.marks = folder / "marks"
        self.file = folder / "spec.json"  # JSON is YAML
        self.file.write_text(json.dumps(content))
        self.kills: Counter[str] = Counter()
        self.allowed = 0
        self.orphans = {False: 0, True: 0}
        self.gone_after = {False: 0.0, True: 0.0}
        """Of agents (True), of Ray's other processes (False)."""
        self._fading: list[tuple[float, bool, dict[int, str]]] = []
        self._starts = 0
        self.driver = self._start("run", str(self.file))

    def _start(self, *arguments: str) -> subprocess.Popen:
        drop = {"PYTHONDONTWRITEBYTECODE"}
        environment = {k: v for k, v in os.environ.items() if k not in drop}
        environment |= {MARKS: str(self.marks), "RAY_TMPDIR": str(self.folder.parent / "r")}
        self._starts += 1
        with (self.folder / f"driver-{self._starts}.log").open("wb") as log:
            return subprocess.Popen(
                [SWEEPS, *arguments, "--storage", self.storage],
                cwd=HERE,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def results(self) -> int:
        """Epochs in the journal."""
        return self.journal.read_bytes().count(b'"kind":"result"') if self.journal.exists() else 0

    def tick(self) -> None:
        """Time goes by: the server comes back, what a dead driver left is looked after."""
        time.sleep(0.02)
        if self.server:
            self.server.tend()
        alive = processes() if self._fading else {}
        for entry in self._fading[:]:
            since, agents, left = entry
            passed = time.monotonic() - since
            left = {pid: start for pid, start in left.items() if alive.get(pid, "")[1:] == (start,)}
            if not left or passed > (AGENT_S if agents else ORPHAN_S):
                self.orphans[agents] += len(left)
                self.gone_after[agents] = max(self.gone_after[agents], passed)
                self._fading.remove(entry)

    def wait(self, ready: Callable[[], bool]) -> bool:
        """Until `ready`; False when the driver has ended before."""
        begun, known = time.monotonic(), self.results()
        while self.driver.poll() is None:
            if ready():
                return True
            self.tick()
            if (found := self.results()) != known:
                begun, known = time.monotonic(), found
            if time.monotonic() > begun + PATIENCE_S:
                raise SystemExit(f"{self.name} is stuck:\n{self.last_words()}")
        return False

    def disturb(self, kinds: list[str], total: int) -> None:
        """Kill one after the other; a kill is due after some epochs, or soon after a resume.

        The `total` epochs of the sweep are about evenly shared among the kills.
        """
        resumed = False
        for index, kind in enumerate(kinds):
            spacing = max(0, total - self.results()) / (len(kinds) - index + 1)
            if resumed and self.dice.random() < 0.3:  # while the driver starts
                moment, count = time.monotonic() + self.dice.uniform(0, 12), 0
            else:
                moment = 0.0
                count = self.results() + round(self.dice.uniform(0, 1.2 * spacing))
            if not self.wait(lambda: time.monotonic() >= moment and self.results() >= count):  # noqa: B023
                return
            moment = time.monotonic() + self.dice.uniform(0, 0.4)
            if not self.wait(lambda: time.monotonic() >= moment):  # noqa: B023
                return
            if not getattr(self, f"_kill_{kind}")():
                return
            self.kills[kind] += 1
            resumed = kind == "driver"

    def _kill_driver(self) -> bool:
        self.allowed += self._running()
        self.driver.kill()
        self.driver.wait()
        for agents in (True, False):
            self._fading.append((time.monotonic(), agents, rays(agents)))
        if self.dice.random() < 0.5:  # else at once, beside what is left of the old one
            while not all(agents for _, agents, _ in self._fading):
                self.tick()
        # before its first record a sweep is not there to be resumed
        again = ("resume", self.name) if self._is_there() else ("run", str(self.file))
        if self.store and self.kills["driver"] % 2:
            self.store.another_machine()
        self.driver = self._start(*again)
        return True

    def _kill_worker(self) -> bool:
        workers: list[int] = []

        def found() -> bool:
            workers[:] = [p for p, (c, _) in processes().items() if c.startswith(WORKER)]
            return bool(workers)

        if not self.wait(found):
            return False
        os.kill(self.dice.choice(sorted(workers)), signal.SIGKILL)
        self.allowed += 1
        return True

    def _kill_server(self) -> bool:
        server = self.server
        assert server is not None
        up = self.wait(lambda: server.process is not None)
        if up:
            server.kill(pause=self.dice.uniform(0, 5))
        return up

    def _is_there(self) -> bool:
        return self.journal.exists() if self.store is None else self._state() is not None

    def _state(self) -> State | None:
        """The sweep as its journal tells it; None before the first record."""
        from sweeps.errors import SweepNotFound
        from sweeps.journal import read

        try:
            return read(self.journal.parent)
        except SweepNotFound:
            return None

    def _running(self) -> int:
        """Trials that have been handed out and have not ended, as far as places go."""
        state = self._state()
        if state is None:
            return 0
        assert state.spec is not None
        handed_out = sum(bool(t.attempts) and not t.end for t in state.trials.values())
        return min(handed_out, state.spec.resources.concurrency or 1)

    def finish(self) -> None:
        """Let the driver come to its end, and what earlier ones left to theirs."""
        self.wait(lambda: False)
        if self.driver.returncode:
            raise SystemExit(f"{self.name}: status {self.driver.returncode}\n{self.last_words()}")
        while not all(agents for _, agents, _ in self._fading):
            self.tick()

    def sync(self) -> int:
        """Deliver to MLflow once more; gives the exit status."""
        return self._start("sync", self.name).wait()

    def last_words(self) -> str:
        """The end of what the newest command printed."""
        return (self.folder / f"driver-{self._starts}.log").read_text()[-3000:]

    def trained_again(self) -> int:
        """Epochs begun more than once."""
        begun = Counter(self.marks.read_text().splitlines())
        return begun.total() - len(begun)
