"""What all steps of the proof share: the lab, what they say, and the sweeps that they look at."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lab import Lab

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


class Steps:
    """Each prints what it found and raises AssertionError if that is wrong."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Print a line that belongs to the result."""
        self.lines.append(line)
        print(line, flush=True)

    def spec(self, name: str, trials: int, epochs: int, loop: str = "") -> None:
        """Write a sweep's spec on the laptop."""
        text = SPEC.format(name=name, trials=trials, epochs=epochs, loop=loop)
        self.lab.write(f"{name}.yaml", text)

    def results_on(self, name: str, node: str) -> list[dict[str, Any]]:
        """A sweep's results, of all machines or one."""
        results = (r for r in self.lab.records(name) if r["kind"] == "result")
        return [r for r in results if r["node"] == node or not node]

    def accounted(self, name: str, trials: int, epochs: int) -> None:
        """Every trial has one end that was not taken back, and each of its epochs once."""
        records = self.lab.records(name)
        ends = Counter(r["trial"] for r in records if r["kind"] == "end")
        ends.subtract(r["trial"] for r in records if r["kind"] == "reopen")
        assert ends == dict.fromkeys(range(trials), 1), ends
        seen = Counter((r["trial"], r["epoch"]) for r in records if r["kind"] == "result")
        wanted = {(trial, epoch) for trial in range(trials) for epoch in range(1, epochs + 1)}
        assert set(seen) == wanted and set(seen.values()) == {1}, "an epoch is missing or twice"
