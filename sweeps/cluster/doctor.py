"""What a cluster, or this machine, lacks for a sweep: one finding a line, each with its remedy."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from sweeps.cluster import file as files
from sweeps.cluster.file import ClusterFile
from sweeps.cluster.jobs import PORT, check_token
from sweeps.cluster.probe import Facts, ask
from sweeps.cluster.ssh import Machine, head
from sweeps.errors import SweepError

PYTHONS = ("3.11", "3.12", "3.13")
_CLOCK_S = 5.0
_DRIVERS = {"12": 525, "13": 580}
"""The oldest NVIDIA driver that serves a torch for that CUDA."""
_HEAD_PORTS = {6379: "Ray's store", PORT: "Ray's job server", 5000: "MLflow"}


@dataclass(frozen=True)
class Finding:
    """One line: of which machine, what was looked at, what was found, what to do."""

    machine: str
    what: str
    found: str
    remedy: str = ""
    """Empty: all is well."""

    def __str__(self) -> str:
        state = "FAIL" if self.remedy else "ok  "
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{state}  {self.machine:<15}  {self.what:<8}  {self.found}{remedy}"


def examine(path: str | None) -> Iterator[Finding]:
    """This machine, and then those of the cluster file at `path`, if any.

    Raises:
        PreflightError: it is no cluster file.
    """
    yield from _here(cluster=bool(path))
    if path is None:
        return
    cluster = files.read(path)
    yield _schema(cluster.path)
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda a: _ask(Machine(a, cluster)), cluster.machines))
    facts: dict[str, Facts] = {}
    for address, answer in zip(cluster.machines, asked, strict=True):
        if isinstance(answer, Facts):
            facts[address] = answer
            yield from _machine(address, answer)
        else:
            yield Finding(address, "ssh", *_split(answer))
    yield from _together(cluster, facts)
    if len(facts) == len(cluster.machines):
        yield from _storage(cluster)


def _here(cluster: bool) -> Iterator[Finding]:
    python = platform.python_version()
    remedy = (
        "" if python.startswith(PYTHONS) else "Use 3.11 to 3.13: make install PYTHON=python3.12"
    )
    ours = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("ray", "torch"))
    yield Finding("here", "python", f"{python}, {ours}", remedy)
    if not cluster:
        yield _writable(Path("sweep-data").absolute())
        return
    for program, package in (("ssh", "openssh-client"), ("rsync", "rsync")):
        place = shutil.which(program)
        yield Finding("here", program, place or "missing", "" if place else _install(package))
    try:
        check_token()
        yield Finding("here", "token", "there, for you alone")
    except SweepError as error:
        yield Finding("here", "token", *_split(error))


def _writable(folder: Path) -> Finding:
    there = next(p for p in (folder, *folder.parents) if p.exists())
    remedy = "" if os.access(there, os.W_OK) else "Choose another with --storage"
    return Finding("here", "storage", f"{folder} can{'not' if remedy else ''} be written", remedy)


def _schema(path: Path) -> Finding:
    """Ray's own word on the file."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # its warnings for Docker
            validate_config(prepare_config(files.tree_of(path)))
    except Exception as error:  # jsonschema's, click's, or a KeyError from inside
        reason = str(error).strip().splitlines()[0]
        return Finding("here", "file", f"{path}: {reason}", "Compare it with cluster-onprem.yaml")
    return Finding("here", "file", f"{path} is as Ray wants it")


def _ask(machine: Machine) -> Facts | SweepError:
    try:
        return ask(machine)
    except SweepError as error:
        return error


def _machine(address: str, facts: Facts) -> Iterator[Finding]:
    for program in ("rsync", "make"):
        place = facts[program]
        yield Finding(address, program, place or "missing", "" if place else _install(program))
    python = facts["python"]
    good = python.startswith(PYTHONS)
    yield Finding(
        address, "python", python or "missing", "" if good else "Install 3.11 to 3.13 as python3"
    )
    yield from (_version(address, name, facts[name]) for name in ("ray", "torch"))
    cards, devices = facts["gpus"], int(facts["device"] or 0)
    broken = "Install or reload the NVIDIA driver: nvidia-smi must work" if devices else ""
    found = cards or ("no driver" if devices else "none")
    yield Finding(address, "gpu", found, _old_driver(cards) if cards else broken)
    off = facts.clock_error
    remedy = "Set its clock: apt install chrony" if abs(off) > _CLOCK_S else ""
    yield Finding(address, "clock", f"{off:+.0f} s from ours" if remedy else "as ours", remedy)
    if mode := facts["token"]:
        remedy = "" if mode == "600" else f"On {address}: chmod 600 ~/.ray/auth_token"
        yield Finding(address, "token", f"mode 0{mode}", remedy)


def _old_driver(cards: str) -> str:
    """What to do about a driver with which our torch sees no GPU; empty where it does."""
    try:
        cuda = importlib.metadata.version("cuda-toolkit").partition(".")[0]
    except importlib.metadata.PackageNotFoundError:  # a torch for CPUs alone
        return ""
    least = _DRIVERS.get(cuda, 0)
    if min((int(found) for found in re.findall(r", (\d+)\.", cards)), default=least) >= least:
        return ""
    return f"Install NVIDIA driver {least} or later, or torch sees no GPU: it is for CUDA {cuda}"


def _version(address: str, package: str, there: str) -> Finding:
    ours = importlib.metadata.version(package)
    if not there:
        return Finding(address, package, "not installed yet; `ray up` does it")
    remedy = "" if there == ours else "Bring it up to date: ray up, with this checkout"
    return Finding(address, package, there + (f", {ours} here" if remedy else ""), remedy)


def _together(cluster: ClusterFile, facts: dict[str, Facts]) -> Iterator[Finding]:
    """What only several machines show: the same Python, and Ray on all or none."""
    pythons = {facts[a]["python"].rpartition(".")[0] for a in facts}
    if len(pythons) > 1:
        found = ", ".join(f"{a} {facts[a]['python']}" for a in facts)
        yield Finding("all", "python", f"differs: {found}", "Install the same on all machines")
    if cluster.head not in facts:
        return
    at_head = facts[cluster.head]
    running = [a for a in facts if facts[a]["raylet"] or facts[a]["gcs"]]
    if not running:
        for port, what in _HEAD_PORTS.items():
            remedy = (
                "End what listens there (ss -ltnp), or change the file"
                if port in at_head.ports
                else ""
            )
            taken = "taken" if remedy else "free"
            yield Finding(cluster.head, "port", f"{port} ({what}) is {taken}", remedy)
        return
    missing = [a for a in cluster.machines if a not in running]
    down = f"Wait a minute for workers to join, or take it down: sweeps down {cluster.path}"
    found = f"runs on {', '.join(running)}" + (f", not on {', '.join(missing)}" if missing else "")
    yield Finding("all", "cluster", found, down if missing else "")
    if at_head["gcs"] and at_head["mlflow"]:
        yield _mlflow(cluster, at_head["mlflow"])


def _mlflow(cluster: ClusterFile, uri: str) -> Finding:
    code = f"import urllib.request as u; u.urlopen({uri.rstrip('/') + '/health'!r}, timeout=5)"
    done = head(cluster).run(f"python3 -c {shlex.quote(code)}")
    remedy = "On the head: python -m sweeps.track.server; what it said is in mlflow.log"
    answers = done.returncode == 0
    found = f"{uri} {'answers' if answers else 'does not answer'}"
    return Finding(cluster.head, "mlflow", found, "" if answers else remedy)


def _storage(cluster: ClusterFile) -> Iterator[Finding]:
    """The head writes, every machine reads and writes."""
    named = re.search(r"SWEEPS_STORAGE=([^\s'\"]+)", cluster.path.read_text(encoding="utf-8"))
    if not named or "://" in named[1]:
        return
    place, word = named[1], uuid.uuid4().hex
    probe = shlex.quote(f"{place}/.doctor-{word}")
    writing = f"mkdir -p {shlex.quote(place)} && echo {word} > {probe}"
    written = head(cluster).run(f"{writing} 2>&1")
    if written.returncode:
        reason = written.stdout.strip().rpartition(": ")[2]
        remedy = "Mount it, and let auth.ssh_user write there"
        yield Finding(cluster.head, "storage", f"{place} cannot be written ({reason})", remedy)
        return
    for address in cluster.machines:
        done = Machine(address, cluster).run(
            f"cat {probe} 2>/dev/null; test -w {shlex.quote(place)}"
        )
        same = done.stdout.strip() == word
        found = "shared" if same else "does not hold what the head wrote"
        if same and done.returncode:
            found = "cannot be written"
        well = same and not done.returncode
        remedy = "" if well else "Mount the same folder at that path on every machine"
        yield Finding(address, "storage", f"{place} {found}", remedy)
    head(cluster).run(f"rm -f {probe}")


def _install(package: str) -> str:
    return f"Install it: apt install {package}"


def _split(error: SweepError) -> tuple[str, str]:
    """A message's first sentence, and the rest of it: the remedy."""
    found, _, remedy = str(error).partition(". ")
    return found, remedy or "See docs/cluster.md"
