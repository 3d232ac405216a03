"""Test hosts on one machine: what a lab has, of namespaces and real sshd. Needs root.

Each host has its own network, processes, host name, /tmp, home folder, /run and /dev/shm, a copy on
write of this checkout at its own path, and `/mnt`, the same folder on all: the lab's NFS. They meet
on a bridge of their own that leads nowhere else. Killing a host's init kills all that runs there.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = ("ip", "unshare", "nsenter", "ssh", "ssh-keygen", "rsync", "/usr/sbin/sshd")
_BRIDGE = "sweepsbr0"
_NETWORK = "10.213.77"
_BOOT = """
set -e
hostname {name}
ip link set lo up
mount --make-rprivate /
mount -t overlay overlay -o lowerdir={root},upperdir={own}/upper,workdir={own}/work {own}/checkout
mount --bind {own}/tmp /tmp
mkdir -p {root}
mount --bind {own}/checkout {root}
mount --bind {own}/home /home
mount --bind {own}/etc /etc
mount --bind {shared} /mnt
mount -t tmpfs -o size=8g tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir /run/sshd
{sshd}
touch {own}/up
while :; do sleep 3600 & wait; done
"""


def missing() -> list[str]:
    """What has to be installed first."""
    return [name for name in NEEDED if not shutil.which(name)]


class Host:
    """One machine of the lab; `start` boots it, `kill` is a power cut."""

    def __init__(self, name: str, number: int, base: Path, shared: Path):
        self.name = name
        self.address = f"{_NETWORK}.{number}"
        self.own = base / name
        self._net = f"sweeps-{name}"
        self.shared = shared
        for part in ("upper", "work", "checkout", "tmp", "home/.ssh"):
            (self.own / part).mkdir(parents=True)
        (self.own / "tmp").chmod(0o1777)
        for part in ("home", "home/.ssh"):
            (self.own / part).chmod(0o700)
        users = Path("/etc/passwd").read_text().splitlines()[1:]
        lab = "lab:x:0:0:lab:/home:/bin/bash"  # uid 0 inside, since the checkout is root's
        # the whole folder: a file that the machine itself replaces would lose its mount
        shutil.copytree("/etc", self.own / "etc", symlinks=True)
        (self.own / "etc/passwd").write_text("\n".join([lab, *users, ""]))
        self._process: subprocess.Popen[bytes] | None = None
        self._plug_in(number)

    def start(self, *, sshd: bool = True) -> None:
        """Boot it, and wait until it is up."""
        (self.own / "up").unlink(missing_ok=True)
        script = _BOOT.format(
            name=self.name,
            root=ROOT,
            own=self.own,
            shared=self.shared,
            sshd=f"/usr/sbin/sshd -f {self._sshd_config()}" if sshd else "",
        )
        namespaces = [
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", self._net, "unshare", *namespaces, "bash", "-c", script],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not (self.own / "up").exists():
            if self._process.poll() is not None:
                raise RuntimeError(f"test host {self.name} did not boot")
            time.sleep(0.05)

    def kill(self) -> None:
        """End every process of the host at once."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Kill it and take its network away."""
        self.kill()
        subprocess.run(["ip", "netns", "del", self._net], check=False)

    def run(self, command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """A shell command on the host, as its user `lab`; its output is captured."""
        return subprocess.run(
            self._inside(command), capture_output=True, text=True, check=False, timeout=timeout
        )

    def start_command(self, command: str) -> subprocess.Popen[str]:
        """A shell command that goes on, its output in a pipe."""
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(self._inside(command), **out)  # type: ignore[call-overload]

    def processes(self) -> list[str]:
        """What runs there besides the init, its sleep and the ssh server."""
        lines = self.run("ps -eo pid=,ppid=,args=").stdout.splitlines()
        rows = [line.split(None, 2) for line in lines]
        quiet = ("sshd:", "sleep 3600", "ps -eo", "bash -uc")
        return [r[2] for r in rows if r[0] != "1" and not r[2].startswith(quiet)]

    def listening(self) -> list[tuple[str, int, str]]:
        """Address, port and program of each listening TCP socket."""
        found = []
        for line in self.run("ss -H -ltnp").stdout.splitlines():
            place, who = line.split()[3], line.rpartition("users:")[2]
            address, _, port = place.rpartition(":")
            found.append((address.strip("[]"), int(port), who.split('"')[1] if '"' in who else ""))
        return sorted(set(found), key=lambda row: row[1])

    def _inside(self, command: str) -> list[str]:
        assert self._process, f"{self.name} is not up"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        init = children.read_text().split()[0]
        environment = (
            f"export HOME=/home USER=lab PATH={ROOT}/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin; "
        )
        inside = environment + f"cd {shlex.quote(str(ROOT))}; " + command
        clean = ["env", "-i", "--default-signal=INT", "TERM=dumb", "LANG=C.UTF-8"]
        return [
            "nsenter",
            "-t",
            init,
            *["-m", "-u", "-i", "-n", "-p"],
            *clean,
            "bash",
            "-uc",
            inside,
        ]

    def _plug_in(self, number: int) -> None:
        cable = f"swp{number}"
        for left in (f"ip netns del {self._net}", f"ip link del {cable}"):  # by a killed run
            subprocess.run(left.split(), check=False, stderr=subprocess.DEVNULL)
        for command in (
            f"ip netns add {self._net}",
            f"ip link add {cable} type veth peer name eth0 netns {self._net}",
            f"ip link set {cable} master {_BRIDGE} up",
            f"ip -n {self._net} addr add {self.address}/24 dev eth0",
            f"ip -n {self._net} link set eth0 up",
            f"ip -n {self._net} route add default via {_NETWORK}.1",
        ):
            subprocess.run(command.split(), check=True)

    def _sshd_config(self) -> Path:
        key, config = self.own / "host_key", self.own / "sshd_config"
        if not key.exists():
            make_key(key)
        config.write_text(
            f"HostKey {key}\nPidFile none\nUsePAM no\nPasswordAuthentication no\nUseDNS no\n"
            "StrictModes no\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
        )
        return config


def make_key(path: Path) -> None:
    """An ssh key without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def bridge(up: bool) -> None:
    """The switch that the hosts hang on; it has no way out."""
    subprocess.run(["ip", "link", "del", _BRIDGE], check=False, stderr=subprocess.DEVNULL)
    if up:
        subprocess.run(["ip", "link", "add", _BRIDGE, "type", "bridge"], check=True)
        subprocess.run(["ip", "link", "set", _BRIDGE, "up"], check=True)
