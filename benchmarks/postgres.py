"""Claim: a sweep's runs reach an MLflow server that is behind a password and keeps PostgreSQL.

    python benchmarks/postgres.py [--out FILE]

Needs root, and Debian's `postgresql` with what requirements-server.lock adds. Starts a PostgreSQL
of its own as the user postgres and docker/mlflow.sh, as docker/compose.yaml does, both on loopback;
runs a small sweep; counts runs and metric rows in PostgreSQL against the sweep's journal; delivers
the sweep again. Exits 1 if a count differs, a password is not asked for, or one is to be seen.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps import journal
from sweeps.errors import PreflightError

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PATIENCE_S = 120.0
CALLS = 40
SWEEP = """
name: stored
model: {{name: mlp, options: {{depth: 2, width: 32}}, noise: {{ghost_size: 16}}}}
training: {{epochs: 3, batch_size: 128}}
space: {{training.optimizer.lr: {{loguniform: [0.01, 1]}}}}
search: {{trials: 8}}
tracking: {{uri: {uri}}}
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def programs() -> Path:
    """The folder of PostgreSQL's own programs.

    Raises:
        PreflightError: it is not installed, or this is not root.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or os.geteuid():
        raise PreflightError("root and PostgreSQL are needed: apt-get install postgresql, as root")
    return found[-1].parent


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the process and all it started."""
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()


@contextmanager
def postgres(work: Path, secrets: Path) -> Iterator[tuple[int, list[str]]]:
    """A PostgreSQL on loopback with the user and database `mlflow`; its port and a psql command."""
    place, port = work / "postgres", free_port()
    place.mkdir()
    password = place / "password"
    password.write_bytes((secrets / "postgres_password").read_bytes())
    for path in (place, password):
        subprocess.run(["chown", "postgres", str(path)], check=True)
    password.chmod(0o600)
    start = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": place}
    data, bin_ = str(place / "data"), programs()
    make = [bin_ / "initdb", "-D", data, "-U", "mlflow", "-A", "scram-sha-256", "-E", "UTF8"]
    make += ["--no-sync", f"--pwfile={password}"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL, **start)
    run = [bin_ / "postgres", "-D", data, "-p", str(port), "-k", str(place)]
    run += ["-c", "listen_addresses=127.0.0.1"]
    log = (place / "log").open("wb")
    process = subprocess.Popen(run, stdout=log, stderr=log, start_new_session=True, **start)
    os.environ["PGPASSWORD"] = (secrets / "postgres_password").read_text()
    psql = [str(bin_ / "psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "-AtF "]
    with ended(process):
        wait(lambda: ask([*psql, "-d", "postgres"], "CREATE DATABASE mlflow") is not None)
        yield port, [*psql, "-d", "mlflow"]


def ask(psql: list[str], query: str) -> list[list[str]] | None:
    """The rows of a query; None while PostgreSQL does not answer."""
    done = subprocess.run([*psql, "-c", query], capture_output=True, text=True, check=False)
    return None if done.returncode else [line.split() for line in done.stdout.splitlines()]


@contextmanager
def mlflow(work: Path, secrets: Path, port: int) -> Iterator[tuple[str, int]]:
    """docker/mlflow.sh on loopback; gives its address and process."""
    here = free_port()
    os.environ["PATH"] = f"{BIN}:{os.environ['PATH']}"
    settings = {
        "SECRETS": str(secrets),
        "POSTGRES": f"127.0.0.1:{port}",
        "MLFLOW_PORT": str(here),
        "ARTIFACTS": str(work / "artifacts"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (work / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", str(ROOT / "docker/mlflow.sh")],
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    uri = f"http://127.0.0.1:{here}"
    with ended(process):
        wait(lambda: status(f"{uri}/health") == 200 or process.poll() is not None)
        if process.poll() is not None:
            raise ChildProcessError((work / "mlflow.log").read_text())
        yield uri, process.pid


def status(url: str) -> int | None:
    """The HTTP status of a request without a password; None when nobody answers."""
    try:
        return urllib.request.urlopen(url, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def wait(ready) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer for {PATIENCE_S:g} s")
        time.sleep(0.3)


def seen(secrets: Path, group: int) -> list[str]:
    """Secrets that an argument of the server's processes shows, by the name of their file."""
    lines = subprocess.run(["ps", "-eo", "pgid=,args="], capture_output=True, text=True, check=True)
    shown = "\n".join(x for x in lines.stdout.splitlines() if x.split()[0] == str(group))
    words = {w: p.name for p in secrets.iterdir() for w in p.read_text().split() if len(w) > 40}
    assert len(words) == 4 and "mlflow" in shown
    return [name for word, name in words.items() if word in shown]


def call_ms(uri: str) -> float:
    """Milliseconds of one call with a password, over CALLS of them."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    client.search_experiments(max_results=1)
    start = time.perf_counter()
    for _ in range(CALLS):
        client.search_experiments(max_results=1)
    return (time.perf_counter() - start) / CALLS * 1e3


def sweep(work: Path, uri: str, *verb: str) -> None:
    """Run one verb of the command line as a user would."""
    (work / "stored.yaml").write_text(SWEEP.format(uri=uri))
    command = [BIN / "sweeps", *verb, "--storage", work / "sweeps"]
    subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)


def counted(psql: list[str]) -> tuple[Counter[str], int]:
    """Runs by status and metric rows of trials, as PostgreSQL has them."""
    runs = ask(psql, "SELECT status, count(*) FROM runs GROUP BY status")
    rows = ask(
        psql, "SELECT count(*) FROM metrics JOIN runs USING (run_uuid) WHERE name ~ '^trial'"
    )
    assert runs and rows
    return Counter({state: int(n) for state, n in runs}), int(rows[0][0])


def prove(work: Path) -> tuple[list[str], bool]:
    """What was seen, and whether all is as claimed."""
    secrets = work / "secrets"
    subprocess.run(["sh", str(ROOT / "docker/secrets.sh"), str(secrets)], check=True)
    (work / ".mlflow").mkdir()
    (work / ".mlflow/credentials").symlink_to(secrets / "mlflow_credentials")
    os.environ["HOME"] = str(work)
    with postgres(work, secrets) as (port, psql), mlflow(work, secrets, port) as (uri, group):
        refused = status(f"{uri}/api/2.0/mlflow/experiments/search?max_results=1")
        shown, milliseconds = seen(secrets, group), call_ms(uri)
        sweep(work, uri, "run", "stored.yaml")
        runs, rows = counted(psql)
        sweep(work, uri, "sync", "stored")
        again = counted(psql)
        server = ask(psql, "SHOW server_version")
    state = journal.read(work / "sweeps" / "stored")
    metrics = sum(len(r["metrics"]) for t in state.trials.values() for r in t.results)
    lines = [
        f"PostgreSQL {server[0][0] if server else '?'}, MLflow with basic auth, one machine",
        f"without a password       HTTP {refused}",
        f"secrets in arguments     {', '.join(shown) or 'none'}",
        f"one call with a password {milliseconds:.1f} ms (n = {CALLS}, cached)",
        f"trials in the journal    {len(state.trials)}, and {metrics} metrics",
        f"runs in PostgreSQL       {dict(runs)} (one is the sweep's), and {rows} metric rows",
        f"delivered once more      {dict(again[0])}, and {again[1]} metric rows",
    ]
    whole = (
        runs == {"FINISHED": len(state.trials) + 1} and rows == metrics and again == (runs, rows)
    )
    return lines, whole and refused == 401 and not shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="also write the lines to this file")
    arguments = parser.parse_args()
    try:
        programs()
    except PreflightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        work = Path(folder)
        work.chmod(0o755)  # the user postgres must come in
        lines, good = prove(work)
    text = "\n".join([*lines, "as claimed" if good else "NOT as claimed"])
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
