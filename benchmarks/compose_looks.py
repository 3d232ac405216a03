"""What benchmarks/compose.py looks at while the cluster runs: users, secrets, ports, strangers."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from compose_engine import (
    COMPOSE,
    Report,
    compose,
    containers,
    done,
    inside,
    nodes,
    run,
    service_of,
    status,
)

DASHBOARD = "http://127.0.0.1:8265/api/jobs/"
MLFLOW = "http://127.0.0.1:5000/api/2.0/mlflow/experiments/search?max_results=5"


def people(report: Report) -> None:
    """No container's process is root's, and the cluster's user reads its secrets."""
    for container in containers():
        top = run("docker", "top", container["Id"], "-eo", "pid,uid").splitlines()[1:]
        users = Counter(line.split()[1] for line in top)
        found = ", ".join(f"{n} of uid {user}" for user, n in users.items())
        report.see("processes", f"{service_of(container)}: {found}", "0" not in users)
    files = "/run/secrets/ray_token .mlflow/credentials"
    script = f"cat {files} > /dev/null && stat -L -c '%a of uid %u' {files}"
    modes = inside("head", "sh", "-c", script).splitlines()
    right = all(mode.startswith("600 ") for mode in modes)
    report.see("secrets", f"read by uid {inside('head', 'id', '-u')}, mode {modes[0]}", right)


def hidden(report: Report) -> None:
    """No secret in what the engine tells, the image, the arguments or the logs."""
    files = Path("docker/secrets").iterdir()
    words = {w: path.name for path in files for w in path.read_text().split() if len(w) > 40}
    places = {
        "inspect": run("docker", "inspect", *(c["Id"] for c in containers())),
        "image": run("docker", "history", "--no-trunc", "ghost-noise-sweeps")
        + run("docker", "inspect", "ghost-noise-sweeps"),
        "arguments": run("ps", "-eo", "args"),
        "logs": compose("logs", "--no-color"),
    }
    assert len(words) == 4 and "mlflow server" in places["arguments"]
    seen = [f"{n} in {p}" for p, text in places.items() for w, n in words.items() if w in text]
    report.see("secrets shown", f"{', '.join(seen) or 'none'} ({', '.join(places)})", not seen)


def doors(report: Report, work: Path) -> None:
    """Who gets in at the two published ports."""
    token = Path("docker/secrets/ray_token").read_text()
    user, password = re.findall(r"= (\S+)", Path("docker/secrets/mlflow_credentials").read_text())
    os.umask(0o077)
    (work / "header").write_text(f"Authorization: Bearer {token}\n")
    (work / "netrc").write_text(f"machine 127.0.0.1 login {user} password {password}\n")
    wrong, right = ("-H", "Authorization: Bearer 0"), ("-H", f"@{work / 'header'}")
    asked = [status(DASHBOARD, *how) for how in ((), wrong, right)]
    text = "no token {}, a wrong one {}, the token {}".format(*asked)
    report.see("dashboard", text, asked == [401, 403, 200])
    right = ("--netrc-file", str(work / "netrc"))
    ways = ((), ("-u", "admin:0"), right, (*right, "-H", "Host: elsewhere.example"))
    asked = [status(MLFLOW, *how) for how in ways]
    text = "no password {}, a wrong one {}, the password {}, under another name {}"
    report.see("MLflow", text.format(*asked), asked == [401, 401, 200, 403])


def listening(report: Report) -> None:
    """Nothing listens beyond loopback; no other address of the machine leads in."""
    here = [line.split()[3] for line in run("ss", "-Hltn").splitlines()]
    beyond = [address for address in here if not address.startswith("127.0.0.1:")]
    report.see("listening", f"{', '.join(sorted(here))}; else {beyond or 'none'}", not beyond)
    others = run("ip", "-o", "-4", "address", "show").splitlines()
    others = [words[3].partition("/")[0] for line in others if (words := line.split())[1] != "lo"]
    ports = (5000, 8265, 6379, 5432)
    tried = [f"http://{address}:{port}" for address in others for port in ports]
    open_ = [url for url in tried if status(url)]
    report.see("elsewhere", f"{open_ or 'nobody'} answers at {len(tried)} other places", not open_)


def strangers(report: Report) -> None:
    """A container on the same network that has no secret joins neither Ray nor PostgreSQL."""
    join = ("timeout", "120", "ray", "start", "--address=head:6379")
    for name, setting in {"no token": "TOKEN_PATH=/nowhere", "a wrong one": "TOKEN=0"}.items():
        extra = ("--rm", "--no-deps", "-T", "-e", f"RAY_AUTH_{setting}")
        result = done(*COMPOSE, "run", *extra, "worker", *join)
        report.see("ray start", f"{name}: status {result.returncode}", result.returncode != 0)
    report.see("nodes", found := nodes(), found == 2)
    psql = ("psql", "--host=postgres", "--username=mlflow", "--command=SELECT 1")
    extra = ("--rm", "--no-deps", "-T", "-e", "PGPASSWORD=0", "--entrypoint", psql[0])
    result = done(*COMPOSE, "run", *extra, "postgres", *psql[1:])
    refused = "password authentication failed" in result.stderr
    report.see(
        "PostgreSQL", f"a wrong password: {'refused' if refused else 'NOT refused'}", refused
    )
