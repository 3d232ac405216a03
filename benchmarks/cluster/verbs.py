"""Steps of the verbs: each of them on a cluster, as a user gives it."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter

from lab import wait_for
from steps import CLUSTER, Steps

BREAKING = '''
"""A loop of half seconds an epoch, in which one trial breaks once while /mnt/breaks is there."""

import time
from pathlib import Path

from sweeps.trial.loop import EpochResult


def loop(trial, data, *, device="cpu", resume=None):
    for epoch in range((resume["epoch"] if resume else 0) + 1, trial.training.epochs + 1):
        time.sleep(0.5)
        if epoch == 3:
            breaks()
        yield EpochResult(epoch, {"val_accuracy": epoch / 100}, lambda: {"epoch": epoch})


def breaks():
    try:
        Path("/mnt/breaks").unlink()
    except FileNotFoundError:
        return
    raise RuntimeError("a part of the test broke")
'''
_GET = (
    "python -c \"import sys, urllib.request as u, urllib.error as e\ntry: print('GOT', u.urlopen("
    "sys.argv[1]).status)\nexcept e.HTTPError as found: print('GOT', found.code)\n"
    "except OSError: print('GOT nothing')\" "
)


class Verbs(Steps):
    """`status`, `logs`, `stop`, `resume`, `retry`, `extend`, `report`, `sync`, `ui`."""

    def verbs(self) -> None:
        """One sweep under every verb that takes `--cluster`."""
        self._tried_out()
        self._detached()
        self._looked_at()
        self._stopped_and_resumed()
        self._retried_and_extended()
        self._reported()
        self._shown()

    def on_the_head(self) -> None:
        """`submit --address`, there where Ray's job server can be reached as it is."""
        self.spec("atonce", 4, 3)
        file = (self.lab.laptop.own / "home/atonce.yaml").read_text()
        (self.lab.head.own / "home/atonce.yaml").write_text(file)
        line = ". ~/.sweeps.sh; sweeps submit ~/atonce.yaml --address 127.0.0.1:8265"
        done = self.lab.head.run(line)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "shipping spec.yaml" in done.stdout and "4 finished" in done.stdout, done.stdout
        self.accounted("atonce", 4, 3)
        self.say("submit --address on the head: 4 of 4 trials finished, followed to the end")

    def _tried_out(self) -> None:
        """`preview --cluster`, of a loop that is shipped with its spec."""
        self.spec("tried", 8, 60, ", loop: breaking:loop")
        self.lab.write("breaking.py", BREAKING)
        said = self.lab.on_laptop(f"cd ~ && sweeps preview tried.yaml {CLUSTER}")
        assert "breaking.py" in said and "tried: 6 at a time, as tried" in said, said
        line = next(x for x in said.splitlines() if " s an epoch, " in x)
        assert "0.5" in line, said
        self.say(f"preview: {line}")
        assert not (self.lab.storage / "tried").exists(), "a preview keeps nothing"

    def _detached(self) -> None:
        """Ctrl-C lets a submitted sweep go on alone."""
        self.spec("steered", 8, 60, ", loop: breaking:loop")
        self.lab.write("breaking.py", BREAKING)
        (self.lab.storage.parent / "breaks").touch()
        job = self._begin(f"cd ~ && exec sweeps submit steered.yaml {CLUSTER}")
        wait_for("results", lambda: len(self.results_on("steered", "")) > 8)
        said = self._interrupt(job)
        assert "breaking.py" in said and "Detached; steered goes on" in said, said
        self.say(f"submit, Ctrl-C, status 0: {said.strip().splitlines()[-1]}")

    def _looked_at(self) -> None:
        wait_for("the failure", lambda: self._ends() == {"failed": 1})
        said = self._cluster("status steered")
        assert "steered: running" in said and "a part of the test broke" in said, said
        for line in said.splitlines():
            if line.startswith(("steered", "trials", "trial ")):
                self.say(f"status steered: {line}")
        listing = self._cluster("status")
        used = re.search(r"[\d.]+/[\d.]+ CPU", listing)
        assert "steered: running" in listing and used and not used[0].startswith("0.0/"), listing
        self.say(f"status: all sweeps, a line each, and the machines: {used[0]} taken")
        broken = next(r["trial"] for r in self.lab.records("steered") if r["kind"] == "end")
        trial = self._cluster(f"logs steered {broken}")
        assert "Traceback" in trial and "epoch 2 on lab" in trial, trial
        assert "has no trial 99" in self._cluster("logs steered 99", 2)
        self.say(f"logs steered {broken}: its epochs, each with its machine, and the traceback")

    def _stopped_and_resumed(self) -> None:
        said = self._cluster("stop steered")
        assert "steered has stopped; all is kept" in said, said
        before = len(self.results_on("steered", ""))
        assert before < 7 * 60 + 2, "the sweep ended before it could be stopped"
        assert "steered: stopped (on request)" in self._cluster("status steered")
        assert "steered is not running" in self._cluster("stop steered")
        self.say(f"stop, after {before} epochs: {said.strip()}")
        self._cluster("resume steered", 1)  # the one that broke is still failed
        assert self._ends() == {"finished": 7, "failed": 1}, self._ends()
        self.say("resume, status 1: 7 finished, 1 failed")

    def _retried_and_extended(self) -> None:
        self._cluster("retry steered --failed")
        self.accounted("steered", 8, 60)
        self._cluster("extend steered --trials 2")
        self.accounted("steered", 10, 60)
        self.say(
            "retry --failed, then extend --trials 2, status 0: all 10 finished, no epoch twice"
        )

    def _reported(self) -> None:
        said = self._cluster("report steered")
        assert "10 of 10: 10 finished" in said, said
        table = self._cluster("report steered --format csv")
        assert table.count("\n") > 10, table
        self._cluster("sync steered")
        logs = self._cluster("logs steered")
        assert "== /mnt/sweeps/steered/logs/driver.log" in logs, logs
        missing = self._cluster("report nosuch", 2)
        assert "nosuch" in missing, missing
        self.say(
            f"report, report --format csv ({table.count(chr(10))} lines), sync and logs, status 0"
        )

    def _shown(self) -> None:
        """The pages answer for as long as one looks; Ray's asks for the token."""
        job = self._begin(f"exec sweeps ui steered {CLUSTER}")
        said = "".join(self._line(job) for _ in range(3))
        pages = re.findall(r"http://[^\s#]+", said)
        pages[1] += "/api/jobs/"  # the page itself is a shell without content
        found = [self._get(page) for page in pages]
        assert found == ["200", "401"], (said, found)
        rest = self._interrupt(job)
        assert [self._get(page) for page in pages] == ["nothing"] * 2, rest
        self.say(
            "ui: MLflow's page 200, Ray's jobs without a token 401; after Ctrl-C neither listens"
        )

    def _cluster(self, words: str, expect: int = 0) -> str:
        return self.lab.on_laptop(f"sweeps {words} {CLUSTER}", expect)

    def _ends(self) -> Counter[str]:
        """Trials by how they ended, as the journal has it now."""
        last: dict[int, str] = {}
        for record in self.lab.records("steered"):
            if record["kind"] in ("end", "reopen"):
                last[record["trial"]] = record["status"] if record["kind"] == "end" else ""
        return Counter(status for status in last.values() if status)

    def _begin(self, command: str) -> subprocess.Popen[str]:
        """A command on the laptop that Ctrl-C can be sent to."""
        job = self.lab.laptop.start_command(f"echo $$; {command}")
        self._number = int(self._line(job))
        return job

    def _line(self, job: subprocess.Popen[str]) -> str:
        assert job.stdout
        return job.stdout.readline()

    def _interrupt(self, job: subprocess.Popen[str]) -> str:
        """Ctrl-C; what the command had to say. It must end well."""
        start = time.monotonic()
        self.lab.laptop.run(f"kill -INT {self._number}")
        said = job.communicate(timeout=60)[0]
        assert job.returncode == 0, (job.returncode, said)
        assert time.monotonic() - start < 30, "it took its time"
        return said

    def _get(self, page: str) -> str:
        found = re.search(r"GOT (\w+)", self.lab.on_laptop(f"{_GET} {page}"))
        assert found
        return found[1]
