"""Claim: a lab's own machines work as cluster-onprem.yaml says, and whatever dies, nothing is lost.

    make test-cluster        (root; twelve minutes or so on 2 cores)
    python benchmarks/cluster/proof.py [--out benchmarks/results/cluster.txt]

On three test hosts and a laptop (hosts.py): `ray up` of the shipped file with addresses, user and
paths filled in; a sweep on all of them; every listening port of every host tried by a stranger; a
storage that is not shared; a worker host killed mid-sweep; the head killed and started again;
`sweeps down` and what it leaves. Exit status 1 at the first thing that is not as it should be.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from hosts import missing
from lab import Lab, filled_in, wait_for

CLUSTER = "--cluster ~/lab.yaml"
SPEC = """
name: {name}
data: {{name: digits}}
model: {{name: mlp, options: {{depth: 3, width: 128}}, noise: {{kind: ghost}}}}
training: {{epochs: {epochs}, optimizer: {{name: sgd}}{loop}}}
space:
  model.noise.ghost_size: {{logint: [4, 64]}}
  training.optimizer.lr: {{loguniform: [1e-2, 1]}}
search: {{sampler: random, trials: {trials}}}
stopping: {{name: none}}
"""
WAITING = '''
"""A loop that takes its second an epoch elsewhere, as one on a GPU would."""

import time

from sweeps.trial.loop import EpochResult


def loop(trial, data, *, device="cpu", resume=None):
    for epoch in range((resume["epoch"] if resume else 0) + 1, trial.training.epochs + 1):
        time.sleep(1)
        yield EpochResult(epoch, {"val_accuracy": epoch / 10}, lambda: {"epoch": epoch})
'''


class Proof:
    """The steps, in order; each prints what it found and raises AssertionError if that is wrong."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Print a line that belongs to the result."""
        self.lines.append(line)
        print(line, flush=True)

    def doctor(self) -> None:
        """What is wrong before anything is started, on real machines."""
        refused = self.lab.on_laptop(f"sweeps submit sweeps/configs/digits.yaml {CLUSTER}", 2)
        assert "there is no token" in refused, refused
        self.lab.on_laptop("ray get-auth-token --generate && chmod 600 ~/.ray/auth_token")
        well = self.lab.on_laptop("sweeps doctor ~/lab.yaml").count("ok  ")
        self.say(f"doctor, status 0: {well} findings, all well")
        hidden = self.lab.workers[0].run("mount --bind /dev/null /usr/bin/rsync")
        assert not hidden.returncode, hidden.stderr
        port = self.lab.head.start_command("exec python3 -m http.server -b 127.0.0.1 6379")
        self.lab.on_laptop("chmod 644 ~/.ray/auth_token")
        wait_for("the port", lambda: any(p == 6379 for _, p, _ in self.lab.head.listening()))
        said = self.lab.on_laptop("sweeps doctor ~/lab.yaml", 2)
        wrong = [line for line in said.splitlines() if line.startswith("FAIL")]
        assert len(wrong) == 3 and all(word in said for word in ("rsync", "0644", "6379")), said
        for line in wrong:
            self.say(f"doctor, status 2: {line}")
        self.lab.on_laptop("chmod 600 ~/.ray/auth_token")
        self.lab.workers[0].run("umount /usr/bin/rsync")
        self.lab.head.run(r"kill $(ss -Hltnp 'sport = 6379' | grep -o 'pid=[0-9]*' | cut -d= -f2)")
        port.wait()
        self._unreachable()

    def _unreachable(self) -> None:
        text = filled_in()
        self.lab.on_laptop("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/other")
        self.lab.write("other.yaml", text.replace("id_ed25519", "other"))
        self.lab.write("away.yaml", text.replace("head_ip: 10.213.77.11", "head_ip: 10.213.77.99"))
        for file in ("other", "away"):
            said = self.lab.on_laptop(f"sweeps status --cluster ~/{file}.yaml", 3).strip()
            assert said.count("\n") == 0, said
            self.say(f"status 3: {said}")

    def up(self) -> None:
        """Three machines from the shipped file."""
        start = time.monotonic()
        self.lab.on_laptop("ray up -y ~/lab.yaml --no-config-cache")
        first = time.monotonic() - start
        wait_for("three machines", lambda: self.lab.nodes() == 3)
        self.say(
            f"ray up: {first:.0f} s to the head, {time.monotonic() - start:.0f} s to all three"
        )

    def first_sweep(self) -> None:
        """A whole sweep on all hosts, watched and reported."""
        self._spec("first", 24, 27)
        start = time.time()
        self.lab.on_laptop(f"sweeps submit ~/first.yaml {CLUSTER}")
        results = [r for r in self.lab.records("first") if r["kind"] == "result"]
        nodes = Counter(r["node"] for r in results)
        assert set(nodes) == {"lab1", "lab2", "lab3"}, nodes
        self.say(f"submit to the first epoch's metric: {results[0]['time'] - start:.1f} s")
        self._accounted("first", 24, 27)
        self.lab.on_laptop("sweeps doctor ~/lab.yaml")
        status = self.lab.on_laptop(f"sweeps status first {CLUSTER}")
        assert "24 of 24: 24 finished" in status, status
        report = self.lab.on_laptop(f"sweeps report first {CLUSTER}")
        assert "24 of 24: 24 finished" in report, report
        runs = self.lab.head.run(
            "python -c \"import mlflow; mlflow.set_tracking_uri('http://127.0.0.1:5000');"
            "print('RUNS', sorted(mlflow.search_runs(experiment_names=['first']).status))\""
        ).stdout
        assert runs.count("FINISHED") == 25 and "RUNNING" not in runs, runs
        self.say(f"epochs by host: {dict(sorted(nodes.items()))}; MLflow holds all 24 runs, closed")

    def not_shared(self) -> None:
        """A folder of each machine's own is refused before the first trial."""
        said = self.lab.on_laptop(f"sweeps submit ~/first.yaml {CLUSTER} --storage /home/own", 2)
        line = next(line for line in said.splitlines() if line.startswith("error:"))
        assert "is not shared by all machines" in line and "lab2" in line and "lab3" in line, said
        self.say(f"storage not shared, status 2: {line}")

    def worker_dies(self) -> None:
        """Kill -9 of a worker host's init under its trials."""
        self._spec("loses", 18, 120)
        job = self.lab.laptop.start_command(f"sweeps submit ~/loses.yaml {CLUSTER}")
        victim = self.lab.workers[1]
        wait_for("results of the victim", lambda: len(self._results_on("loses", victim.name)) > 6)
        self.doors()
        before = len(self._results_on("loses", victim.name))
        wait_for("one more", lambda: len(self._results_on("loses", victim.name)) > before)
        assert job.poll() is None, "the sweep ended before its host could be killed"
        victim.kill()
        killed = time.time()
        output = job.communicate(timeout=400)[0]
        assert job.returncode == 0, output
        again = [
            r for r in self.lab.records("loses") if r["kind"] == "attempt" and r["attempt"] > 1
        ]
        assert again and any(r["epoch"] > 0 for r in again), again
        self._accounted("loses", 18, 120)
        self.say(
            f"{victim.name} killed: {len(again)} trials went on elsewhere, from epochs "
            f"{sorted(r['epoch'] for r in again)}, the first {again[0]['time'] - killed:.0f} s "
            "after; all 18 finished, no epoch twice"
        )
        victim.start()

    def head_dies(self) -> None:
        """Kill -9 of the head's init; up again, the sweep goes on."""
        self._spec("survives", 12, 40)
        self.lab.on_laptop(f"sweeps submit ~/survives.yaml {CLUSTER} --detach")
        wait_for("results", lambda: len(self._results_on("survives", "")) > 60)
        self.lab.head.kill()
        before = len(self._results_on("survives", ""))
        assert before < 12 * 40, "the sweep ended before its head could be killed"
        lost = self.lab.on_laptop(f"sweeps status survives {CLUSTER}", 3)
        self.say(f"head killed after {before} epochs, status 3: {lost.strip()}")
        self.lab.head.start()
        self.lab.on_laptop("ray up -y ~/lab.yaml --no-config-cache")
        seconds = wait_for("three machines", lambda: self.lab.nodes() == 3, 300)
        self.lab.on_laptop(f"sweeps resume survives {CLUSTER}")
        self._accounted("survives", 12, 40)
        self.say(
            f"head up again, all machines {seconds:.0f} s later; resumed: all 12 finished, "
            "no epoch twice"
        )

    def pace(self) -> None:
        """Trials a minute on three hosts and on one: ours, which compute, and some that wait."""
        found: dict[tuple[str, int], float] = {}
        self.lab.write("waiting.py", WAITING)
        for hosts in (3, 1):
            if hosts == 1:
                for worker in self.lab.workers:
                    worker.kill()
                wait_for("one machine", lambda: self.lab.nodes() == 1)
            for kind, loop in (("digits", ""), ("waiting", ", loop: waiting:loop")):
                name = f"{kind}{hosts}"
                self._spec(name, 12, 9, loop)
                said = self.lab.on_laptop(f"cd ~ && sweeps submit {name}.yaml {CLUSTER}")
                assert kind == "digits" or "waiting.py" in said, said
                found[kind, hosts] = self._trials_a_minute(name)
        for kind in ("digits", "waiting"):
            three, one = found[kind, 3], found[kind, 1]
            self.say(
                f"{kind}: {three:.1f} trials a minute on 3 hosts, {one:.1f} on 1 "
                f"({three / one:.2f}x)"
            )
        for worker in self.lab.workers:
            worker.start()
        seconds = wait_for("three machines", lambda: self.lab.nodes() == 3, 300)
        self.say(f"both workers booted again: part of the cluster {seconds:.0f} s later, unasked")

    def down(self) -> None:
        """Nothing of ours is left on any host."""
        self.lab.on_laptop("sweeps down ~/lab.yaml")
        wait_for("quiet hosts", lambda: not any(h.processes() for h in self.lab.hosts), 20)
        self.say("sweeps down: no process of ours on any host")

    def doors(self) -> None:
        """Every listening port of every host, tried by a stranger: none may be open."""
        places = {}
        for host in (self.lab.head, *self.lab.workers):
            for address, port, program in host.listening():
                kept = places.get((host, port), [program, True])[1]
                places[host, port] = [program, kept and address.endswith("127.0.0.1")]
        words = " ".join(f"{host.address}:{port}" for host, port in places)
        said = self.lab.on_laptop(f"python benchmarks/cluster/doors.py {words}").split("\n")
        verdicts = dict(line.split() for line in said if line.count(" ") == 1)
        for (host, port), (program, loopback) in places.items():
            verdict = verdicts[f"{host.address}:{port}"]
            where = "loopback, " if loopback else ""
            self.say(f"  {host.name} {port:>5} {program:<16} {where}{verdict}")
            assert verdict in ("key", "refused"), (host.name, port, program, verdict)
        answers = Counter(verdicts.values())
        self.say(f"{len(verdicts)} listening ports: {dict(answers)}; none open")
        owner = f"TOKEN=$(cat ~/.ray/auth_token) python benchmarks/cluster/doors.py {words}"
        assert self.lab.on_laptop(owner).count("OPEN") > 10, (
            "the owner's token opens nothing either"
        )
        self._wrong_token()

    def _wrong_token(self) -> None:
        submit = f"sweeps submit ~/first.yaml {CLUSTER}"
        wrong = (
            f"printf %064d 0 > ~/wrong && chmod 600 ~/wrong && RAY_AUTH_TOKEN_PATH=~/wrong {submit}"
        )
        said = self.lab.on_laptop(wrong, 3)
        self.say(f"wrong token, status 3: {said.strip().splitlines()[-1]}")

    def _spec(self, name: str, trials: int, epochs: int, loop: str = "") -> None:
        text = SPEC.format(name=name, trials=trials, epochs=epochs, loop=loop)
        self.lab.write(f"{name}.yaml", text)

    def _results_on(self, name: str, node: str) -> list[dict[str, Any]]:
        results = (r for r in self.lab.records(name) if r["kind"] == "result")
        return [r for r in results if r["node"] == node or not node]

    def _accounted(self, name: str, trials: int, epochs: int) -> None:
        """Every trial has one end, and each of its epochs once."""
        records = self.lab.records(name)
        ends = Counter(r["trial"] for r in records if r["kind"] == "end")
        assert ends == dict.fromkeys(range(trials), 1), ends
        seen = Counter((r["trial"], r["epoch"]) for r in records if r["kind"] == "result")
        wanted = {(trial, epoch) for trial in range(trials) for epoch in range(1, epochs + 1)}
        assert set(seen) == wanted and set(seen.values()) == {1}, "an epoch is missing or twice"

    def _trials_a_minute(self, name: str) -> float:
        """From the first attempt to the last end."""
        records = self.lab.records(name)
        start = next(r["time"] for r in records if r["kind"] == "attempt")
        ends = [r["time"] for r in records if r["kind"] == "end"]
        return 60 * len(ends) / (ends[-1] - start)


STEPS = ("doctor", "up", "first_sweep", "not_shared", "worker_dies", "head_dies", "pace", "down")


def main() -> None:
    """Run the steps; write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path)
    parser.add_argument("steps", nargs="*", default=STEPS, help="of " + ", ".join(STEPS))
    asked = parser.parse_args()
    out = asked.out
    if os.geteuid() or missing():
        need = ", ".join(missing()) or "root"
        print(f"NOT TESTED: the cluster's proof needs {need} (Debian: openssh-server rsync)")
        return
    start = time.monotonic()
    with Lab() as lab:
        proof = Proof(lab)
        proof.say(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({_cpu()}), n = 1; three")
        proof.say("test hosts of namespaces on the one machine, which all share its cores")
        for step in asked.steps:
            getattr(proof, step)()
        proof.say(f"all of it: {(time.monotonic() - start) / 60:.1f} minutes")
    if out:
        out.write_text("\n".join(proof.lines) + "\n")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
