"""One machine of a cluster over ssh: commands, their output, tunnels, and errors in one line."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps.cluster.file import ClusterFile
from sweeps.errors import ClusterError

CONNECT_S = 10
_FAILED = 255
_ENVIRONMENT = "if [ -f ~/.sweeps.sh ]; then . ~/.sweeps.sh; fi; "
"""What cluster-onprem.yaml leaves on each machine: PATH, the storage, MLflow's address."""
_REMEDIES = {
    "Permission denied": "does not take the key ({key}). Set auth.ssh_private_key, or "
    "add its .pub file to ~/.ssh/authorized_keys there",
    "Connection refused": "refuses ssh. See that it is up, and install openssh-server there",
    "Could not resolve": "is no known name. Correct it in the cluster file",
    "Host key verification failed": "is not the machine it was (its host key differs). If that is "
    "right: ssh-keygen -R {address}",
    "No such file": "cannot be tried: the key file {key} is not there. Set auth.ssh_private_key",
}


class Machine:
    """One machine; every command runs in a login shell with the cluster's environment."""

    def __init__(self, address: str, cluster: ClusterFile):
        self.address = address
        self._cluster = cluster

    def run(self, command: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a shell command there and keep its output.

        Raises:
            ClusterError: the machine cannot be reached, or the command takes too long.
        """
        try:
            done = subprocess.run(
                self._ssh(command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(
                f"{self.address} does not answer within {timeout:.0f} s. See what keeps it busy"
            ) from None
        if done.returncode == _FAILED:
            raise ClusterError(self._why(done.stderr))
        return done

    def stream(self, command: str) -> int:
        """Run a shell command there with our own standard output and error; gives its status.

        Raises:
            ClusterError: the machine cannot be reached.
        """
        self.run("true")  # says why, where ssh itself would only fail
        return subprocess.run(self._ssh(command), stdin=subprocess.DEVNULL, check=False).returncode

    @contextmanager
    def tunnel(self, port: int, here: int = 0) -> Iterator[int]:
        """Lead a port of our loopback to that port of the machine's loopback; gives ours.

        Raises:
            ClusterError: the machine cannot be reached, or our port `here` is taken.
        """
        here = here or free_port()
        forward = [
            "-N",
            "-o",
            "ExitOnForwardFailure=yes",
            "-L",
            f"127.0.0.1:{here}:127.0.0.1:{port}",
        ]
        process = subprocess.Popen(
            [*self._options(), *forward, self._who()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us: the tunnel is closed last
        )
        try:
            self._wait_for(process, here)
            yield here
        finally:
            process.terminate()
            process.wait()
            if process.stderr:
                process.stderr.close()

    def _wait_for(self, process: subprocess.Popen[str], port: int) -> None:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        assert process.stderr
        said = process.stderr.read()
        if "in use" in said:
            raise ClusterError(f"port {port} is taken on this machine. Choose another with --port")
        raise ClusterError(self._why(said))

    def _ssh(self, command: str) -> list[str]:
        shell = shlex.join(["bash", "-c", _ENVIRONMENT + command])
        if self._cluster.container:
            shell = f"docker exec {shlex.quote(self._cluster.container)} {shell}"
        return [*self._options(), self._who(), shell]

    def _who(self) -> str:
        return f"{self._cluster.user}@{self.address}"

    def _options(self) -> list[str]:
        key = (
            ["-i", str(self._cluster.key), "-o", "IdentitiesOnly=yes"] if self._cluster.key else []
        )
        settings = ("BatchMode=yes", f"ConnectTimeout={CONNECT_S}", "LogLevel=ERROR")
        lasting = ("StrictHostKeyChecking=accept-new", "ServerAliveInterval=15")
        return ["ssh", *key, *(word for s in (*settings, *lasting) for word in ("-o", s))]

    def _why(self, said: str) -> str:
        """The first of ssh's complaints that we know a remedy for, else its last line."""
        key = self._cluster.key
        if key and not os.access(key, os.R_OK):
            said = "No such file"
        for sign, remedy in _REMEDIES.items():
            if sign in said:
                words = {"address": self.address, "key": key or "the user's own"}
                return f"{self.address} {remedy.format_map(words)}"
        reason = (said.strip().splitlines() or ["ssh failed"])[-1]
        return (
            f"{self.address} cannot be reached: {reason}. See that it is up and the address right"
        )


def head(cluster: ClusterFile) -> Machine:
    """The cluster's head."""
    return Machine(cluster.head, cluster)


def free_port() -> int:
    """A port of our loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def token_file() -> Path:
    """Where the cluster's token is on this machine, as Ray looks for it."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"
