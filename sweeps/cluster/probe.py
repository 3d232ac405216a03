"""What one machine says of itself in a single ssh command, before and after `ray up`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sweeps.cluster.ssh import Machine

_SCRIPT = r"""
echo "rsync $(rsync --version 2>/dev/null | head -1)"
echo "make $(make --version 2>/dev/null | head -1)"
echo "python $(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null)"
for name in ray torch; do
  echo "$name $(python3 -c "from importlib.metadata import version as v; print(v('$name'))" \
    2>/dev/null)"
done
# Without a driver it says so where the cards would stand, and fails.
echo "gpus $(cards=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader \
  2>/dev/null) && echo "$cards" | sort | uniq -c | sed 's/^ *//' | paste -sd ';')"
echo "device $(ls /dev/nvidia[0-9]* 2>/dev/null | wc -l)"
echo "token $(stat -c %a ~/.ray/auth_token 2>/dev/null)"
echo "raylet $(pgrep -x raylet | head -1)"
echo "gcs $(pgrep -x gcs_server | head -1)"
echo "mlflow ${MLFLOW_TRACKING_URI:-}"
echo "ports $(ss -Hltn 2>/dev/null | awk '{sub(/.*:/, "", $4); print $4}' | sort -un |
  paste -sd ' ')"
echo "clock $(date +%s.%N)"
"""


@dataclass
class Facts:
    """The answers by name; an empty one: not there."""

    answers: dict[str, str] = field(default_factory=dict)
    clock_error: float = 0.0
    """Seconds by which its clock is ahead of ours, the time that ssh took set aside."""

    def __getitem__(self, name: str) -> str:
        return self.answers.get(name, "")

    @property
    def ports(self) -> set[int]:
        """Where something listens."""
        return {int(port) for port in self["ports"].split() if port.isdigit()}


def ask(machine: Machine) -> Facts:
    """Everything at once.

    Raises:
        ClusterError: the machine cannot be reached.
    """
    before = time.time()
    lines = machine.run(_SCRIPT).stdout.splitlines()
    after = time.time()
    answers = {name: rest for name, _, rest in (line.partition(" ") for line in lines)}
    clock = float(answers.get("clock") or before)
    error = clock - after if clock > after else min(0.0, clock - before)
    return Facts(answers, error)
