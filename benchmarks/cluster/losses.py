"""Steps of whole sweeps: on all hosts, while one dies, while the head dies, and how fast."""

from __future__ import annotations

import time
from collections import Counter

from lab import wait_for
from machines import Machines
from steps import CLUSTER

WAITING = '''
"""A loop that takes its second an epoch elsewhere, as one on a GPU would."""

import time

from sweeps.trial.loop import EpochResult


def loop(trial, data, *, device="cpu", resume=None):
    for epoch in range((resume["epoch"] if resume else 0) + 1, trial.training.epochs + 1):
        time.sleep(1)
        yield EpochResult(epoch, {"val_accuracy": epoch / 10}, lambda: {"epoch": epoch})
'''


class Losses(Machines):
    """Whatever dies, nothing is lost."""

    def first_sweep(self) -> None:
        """A whole sweep on all hosts, watched and reported."""
        self.spec("first", 24, 27)
        start = time.time()
        self.lab.on_laptop(f"sweeps submit ~/first.yaml {CLUSTER}")
        results = [r for r in self.lab.records("first") if r["kind"] == "result"]
        nodes = Counter(r["node"] for r in results)
        assert set(nodes) == {"lab1", "lab2", "lab3"}, nodes
        self.say(f"submit to the first epoch's metric: {results[0]['time'] - start:.1f} s")
        self.accounted("first", 24, 27)
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

    def worker_dies(self) -> None:
        """Kill -9 of a worker host's init under its trials."""
        self.spec("loses", 18, 120)
        job = self.lab.laptop.start_command(f"sweeps submit ~/loses.yaml {CLUSTER}")
        victim = self.lab.workers[1]
        wait_for("results of the victim", lambda: len(self.results_on("loses", victim.name)) > 6)
        self.doors()
        before = len(self.results_on("loses", victim.name))
        wait_for("one more", lambda: len(self.results_on("loses", victim.name)) > before)
        assert job.poll() is None, "the sweep ended before its host could be killed"
        victim.kill()
        killed = time.time()
        output = job.communicate(timeout=400)[0]
        assert job.returncode == 0, output
        again = [
            r for r in self.lab.records("loses") if r["kind"] == "attempt" and r["attempt"] > 1
        ]
        assert again and any(r["epoch"] > 0 for r in again), again
        self.accounted("loses", 18, 120)
        self.say(
            f"{victim.name} killed: {len(again)} trials went on elsewhere, from epochs "
            f"{sorted(r['epoch'] for r in again)}, the first {again[0]['time'] - killed:.0f} s "
            "after; all 18 finished, no epoch twice"
        )
        victim.start()

    def head_dies(self) -> None:
        """Kill -9 of the head's init; up again, the sweep goes on."""
        self.spec("survives", 12, 40)
        self.lab.on_laptop(f"sweeps submit ~/survives.yaml {CLUSTER} --detach")
        wait_for("results", lambda: len(self.results_on("survives", "")) > 60)
        self.lab.head.kill()
        before = len(self.results_on("survives", ""))
        assert before < 12 * 40, "the sweep ended before its head could be killed"
        lost = self.lab.on_laptop(f"sweeps status survives {CLUSTER}", 3)
        self.say(f"head killed after {before} epochs, status 3: {lost.strip()}")
        self.lab.head.start()
        self.lab.on_laptop("ray up -y ~/lab.yaml --no-config-cache")
        seconds = wait_for("three machines", lambda: self.lab.nodes() == 3, 300)
        self.lab.on_laptop(f"sweeps resume survives {CLUSTER}")
        self.accounted("survives", 12, 40)
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
                self.spec(name, 12, 9, loop)
                said = self.lab.on_laptop(f"cd ~ && sweeps submit {name}.yaml {CLUSTER}")
                assert kind == "digits" or "waiting.py" in said, said
                found[kind, hosts] = self.trials_a_minute(name)
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

    def trials_a_minute(self, name: str) -> float:
        """From the first attempt to the last end."""
        records = self.lab.records(name)
        start = next(r["time"] for r in records if r["kind"] == "attempt")
        ends = [r["time"] for r in records if r["kind"] == "end"]
        return 60 * len(ends) / (ends[-1] - start)
