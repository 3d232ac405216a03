"""A lab of test hosts: a laptop, three machines, and `cluster-onprem.yaml` filled in for them."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hosts import ROOT, Host, bridge, make_key

FILLED_IN = (
    ("head_ip: 192.0.2.10", "head_ip: 10.213.77.11"),
    ("[192.0.2.11, 192.0.2.12]", "[10.213.77.12, 10.213.77.13]"),
    ("ssh_user: ubuntu", "ssh_user: lab"),
    ("~/ghost-noise-sweeps", str(ROOT)),
    ("$HOME/ghost-noise-sweeps", str(ROOT)),
    ("/shared/sweeps", "/mnt/sweeps"),
)
"""Addresses, user and paths of the shipped file, and what stands there for the test hosts."""


class Lab:
    """A context: four hosts that are up, a key and a token on the laptop."""

    def __enter__(self) -> Lab:
        # beside no checkout: /tmp is another one on each host
        self.base = Path(tempfile.mkdtemp(prefix="sweeps-lab-", dir="/var/tmp"))
        self.storage = self.base / "shared" / "sweeps"
        (self.base / "shared").mkdir()
        self.hosts: list[Host] = []
        try:
            bridge(up=True)
            make_key(self.base / "key")
            for number, name in enumerate(("laptop", "lab1", "lab2", "lab3"), 10):
                self._add(name, number)
        except BaseException:
            self.__exit__()
            raise
        self.laptop, self.head, *self.workers = self.hosts
        shutil.copy(self.base / "key", self.laptop.own / "home/.ssh/id_ed25519")
        self.write("lab.yaml", filled_in())
        return self

    def __exit__(self, *exception: object) -> None:
        for host in self.hosts:
            host.remove()
        bridge(up=False)
        shutil.rmtree(self.base, ignore_errors=True)

    def write(self, name: str, text: str) -> None:
        """Put a file into the laptop's home folder."""
        (self.laptop.own / "home" / name).write_text(text)

    def on_laptop(self, command: str, expect: int | None = 0) -> str:
        """What a command there prints; it must end with the status `expect`."""
        done = self.laptop.run(command)
        output = done.stdout + done.stderr
        if expect is not None and done.returncode != expect:
            raise AssertionError(
                f"{command}\nended with {done.returncode}, not {expect}:\n{output[-3000:]}"
            )
        return output

    def records(self, name: str) -> list[dict[str, Any]]:
        """The journal of a sweep as far as it is written."""
        path = self.storage / name / "journal.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def nodes(self) -> int:
        """Machines that Ray has."""
        code = (
            "import os; os.environ.setdefault('RAY_LOG_TO_STDERR', '0'); import ray;"
            "ray.init('auto', log_to_driver=False, logging_level=40);"
            "print('NODES', sum(n['Alive'] for n in ray.nodes()))"
        )
        said = self.head.run(f'. ~/.sweeps.sh; python -c "{code}"').stdout
        found = re.search(r"NODES (\d+)", said)  # the raylet may speak after it
        return int(found[1]) if found else 0

    def _add(self, name: str, number: int) -> None:
        host = Host(name, number, self.base, self.base / "shared")
        self.hosts.append(host)
        shutil.copy(self.base / "key.pub", host.own / "home/.ssh/authorized_keys")
        host.start(sshd=name != "laptop")


def filled_in() -> str:
    """The shipped file for the test hosts."""
    text = (ROOT / "cluster-onprem.yaml").read_text()
    for shipped, ours in FILLED_IN:
        assert shipped in text, f"cluster-onprem.yaml names no {shipped}"
        text = text.replace(shipped, ours)
    return text


def wait_for(what: str, true: Callable[[], Any], seconds: float = 180) -> float:
    """Wait until `true()`; gives the seconds it took."""
    start = time.monotonic()
    while not true():
        if time.monotonic() > start + seconds:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)
    return time.monotonic() - start
