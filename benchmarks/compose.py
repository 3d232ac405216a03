"""Claim: docker/compose.yaml, started as its header says, is a cluster that keeps its promises.

`bash docker/test_compose.sh` makes an engine and a copy of the tree and starts there:

    python benchmarks/compose.py WORK --base IMAGE --database "WHAT postgres:17 IS" [--out FILE]

Builds and starts it, looks at who gets in, runs a sweep on it, kills every container under a second
sweep and resumes that, adds workers, takes it down and up again. Prints a line for each thing seen;
exits 1 if one is not as promised. Logs are kept in WORK.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from compose_engine import (
    COMPOSE,
    Report,
    compose,
    containers,
    done,
    events,
    health,
    inside,
    nodes,
    run,
    service_of,
    took,
    wait,
)
from compose_looks import doors, hidden, listening, people, strangers

from sweeps import journal

WELL = [f"{service} healthy" for service in ("head", "mlflow", "postgres", "worker")]
ON_CLUSTER = ("--storage", "/sweeps", "--address", "head:6379")
RUNS = """
import collections, json, mlflow
client = mlflow.MlflowClient()
every = [e.experiment_id for e in client.search_experiments()]
runs = client.search_runs(every, max_results=1000)
print(json.dumps(collections.Counter(run.info.status for run in runs)))
"""


def build(report: Report, work: Path, base: str, database: str) -> None:
    version = run("docker", "version", "--format", "{{.Server.Version}}")
    plugin = run("docker", "compose", "version", "--short")
    driver = run("docker", "info", "--format", "{{.Driver}}, cgroup v{{.CgroupVersion}}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = os.uname().release.partition("-")[0]
    report.see("date", f"{datetime.now(UTC):%Y-%m-%d}")
    report.see("hardware", f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {kernel}, no GPU")
    report.see("engine", f"Docker {version}, its compose {plugin}, {driver}")
    start = time.monotonic()
    with (work / "build.log").open("w") as log:
        os.environ["BASE"] = base
        subprocess.run([*COMPOSE, "build"], check=True, stdout=log, stderr=log)
    size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", "ghost-noise-sweeps"))
    report.see("image", f"{size / 1e9:.1f} GB on {base}; build {time.monotonic() - start:.0f} s")
    server = run("docker", "run", "--rm", "--entrypoint", "postgres", "postgres:17", "--version")
    report.see("database", f"{server.split(maxsplit=1)[-1]}: {database}")


def start() -> None:
    """`up`, once more where a busy machine let Ray's own 30 s pass and the head starts anew."""
    command = (*COMPOSE, "up", "-d", "--wait")
    wait(lambda: not done(*command).returncode, "docker compose up -d --wait")


def up(report: Report, work: Path) -> None:
    """Up, well, and each service after what it depends on."""
    with events(work / "events"):
        report.see("up -d --wait", took(start))
    report.see("health", ", ".join(found := health()), found == WELL)
    order = (work / "events").read_text().splitlines()
    for needed, service in (("head", "worker"), ("postgres", "mlflow")):
        after = order.index(f"{service} start") > order.index(f"{needed} health_status: healthy")
        report.see("depends_on", f"{service} after a well {needed}: {after}", after)
    report.see("nodes", found := nodes(), found == 2)
    small = "object store is using /tmp" in compose("logs", "head", "worker")
    report.see("object store", "on the disk" if small else "in memory", not small)


def recorded() -> dict[str, int]:
    """MLflow's runs by status, asked with the password from inside the head."""
    return json.loads(inside("head", "python", "-c", RUNS).splitlines()[-1])


def results(name: str, work: Path) -> int:
    """Results in the journal so far; 0 before there is one."""
    place = work / name
    place.mkdir(exist_ok=True)
    copied = done(*COMPOSE, "cp", f"head:/sweeps/{name}/journal.jsonl", str(place))
    return 0 if copied.returncode else journal.read(place).epochs


def counted(report: Report, name: str, work: Path) -> int:
    """The number of trials, all ended well; epochs were trained in two containers."""
    results(name, work)
    state = journal.read(work / name)
    names = {c["Config"]["Hostname"]: service_of(c) for c in containers()}
    where = Counter(names[r["node"]] for t in state.trials.values() for r in t.results)
    ends = Counter(t.end["status"] if t.end else "open" for t in state.trials.values())
    shown = ", ".join(f"{n} {end}" for end, n in ends.items())
    places = ", ".join(f"{n} on the {service}" for service, n in where.items())
    well = {"finished", "pruned", "diverged"}
    right = state.finished and set(ends) <= well and len(where) == 2
    report.see(name, f"{len(state.trials)} trials: {shown}; epochs: {places}", right)
    return len(state.trials)


def sweep(report: Report, work: Path) -> int:
    """The header's sweep, and its runs in MLflow."""
    compose("cp", "sweeps/configs/digits.yaml", "head:/sweeps/my.yaml")
    command = ("sweeps", "run", "/sweeps/my.yaml", *ON_CLUSTER)
    report.see("sweeps run", took(lambda: (work / "run.log").write_text(inside("head", *command))))
    trials = counted(report, "digits", work)
    report.see("runs in MLflow", runs := recorded(), closed(runs, trials + 1))
    return trials


def closed(runs: dict[str, int], count: int) -> bool:
    """Whether there are so many and none is open; that of a diverged trial has FAILED."""
    return set(runs) <= {"FINISHED", "FAILED"} and sum(runs.values()) == count


def killed(report: Report, work: Path, before: int) -> None:
    """Kill every container's first process under a sweep; all restart; the sweep is resumed."""
    text = Path("sweeps/configs/digits.yaml").read_text()
    (work / "cut.yaml").write_text(text.replace("name: digits", "name: cut", 1))
    (work / "cut.yaml").chmod(0o644)  # a copy keeps its mode, and the container's user is another
    compose("cp", str(work / "cut.yaml"), "head:/sweeps/cut.yaml")
    command = [*COMPOSE, "exec", "-T", "head", "sweeps", "run", "/sweeps/cut.yaml", *ON_CLUSTER]
    with (work / "cut.log").open("w") as log:
        driver = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait(lambda: results("cut", work) >= 20, "20 epochs of the second sweep")
    for container in containers():
        os.kill(container["State"]["Pid"], signal.SIGKILL)
    driver.wait()

    def again() -> bool:
        return health() == WELL and nodes() == 2

    time_s = took(lambda: wait(again, "all containers well again"))
    restarts = {service_of(c): c["RestartCount"] for c in containers()}
    report.see(
        "kill -9 of all", f"after {results('cut', work)} epochs; two nodes again in {time_s}"
    )
    report.see("restarts", restarts, all(restarts.values()))
    resume = ("sweeps", "resume", "cut", *ON_CLUSTER)
    (work / "resume.log").write_text(inside("head", *resume))
    trials = counted(report, "cut", work)
    report.see("runs in MLflow", runs := recorded(), closed(runs, before + trials + 2))


def more(report: Report) -> None:
    """Two more workers."""
    compose("up", "-d", "--scale", "worker=3")
    wait(lambda: nodes() == 4, "four nodes")
    report.see("--scale worker=3", f"{nodes()} nodes")


def down(report: Report) -> None:
    """`down` keeps sweeps, runs and database for the next `up`; `down -v` keeps nothing."""
    runs = recorded()
    compose("down")
    volumes = run("docker", "volume", "ls", "--quiet").split()
    report.see("down", f"{len(containers())} containers, volumes {', '.join(volumes)}",
               not containers() and len(volumes) == 3)  # fmt: skip
    start()
    kept = inside("head", "ls", "/sweeps").split()
    right = {"digits", "cut"} <= set(kept) and recorded() == runs
    report.see("up again", f"sweeps {', '.join(kept)}; runs {recorded()}", right)
    compose("down", "-v")
    left = [*containers(), *run("docker", "volume", "ls", "--quiet").split()]
    networks = run("docker", "network", "ls", "--quiet", "--filter", "name=ghost-noise")
    report.see("down -v", f"{len(left)} containers and volumes left", not left and not networks)


def prove(report: Report, work: Path) -> None:
    compose("down", "-v")  # what an interrupted proof left has other passwords
    run("sh", "docker/secrets.sh")
    try:
        up(report, work)
        people(report)
        hidden(report)
        doors(report, work)
        listening(report)
        strangers(report)
        trials = sweep(report, work)
        killed(report, work, trials)
        more(report)
        (work / "compose.log").write_text(compose("logs", "--no-color"))
        down(report)
    except BaseException:
        (work / "compose.log").write_text(done(*COMPOSE, "logs", "--no-color").stdout)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("work", type=Path, help="for the logs")
    parser.add_argument("--base", required=True, help="the image that ours is built on")
    parser.add_argument("--database", required=True, help="what stands as postgres:17, in words")
    parser.add_argument("--out", type=Path, help="also write the lines to this file")
    arguments = parser.parse_args()
    report = Report()
    build(report, arguments.work, arguments.base, arguments.database)
    prove(report, arguments.work)
    report.see("all", "as promised", report.good)
    if arguments.out:
        arguments.out.write_text("\n".join(report.lines) + "\n")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
