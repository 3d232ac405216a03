"""Machines that do not answer or refuse, tokens, and the verbs with `--cluster`."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from sweeps.cli import main
from sweeps.cli.elsewhere import _without_cluster
from sweeps.cluster import jobs
from sweeps.cluster.doctor import _machine, _split, _together
from sweeps.cluster.file import ClusterFile
from sweeps.cluster.probe import _SCRIPT, Facts
from sweeps.cluster.ssh import Machine, free_port
from sweeps.driver.autoscaling import to_come
from sweeps.driver.nodes import _judge, _look
from sweeps.errors import ClusterError, PreflightError
from sweeps.service import ResourcesSpec


@pytest.fixture
def cluster(tmp_path: Path) -> ClusterFile:
    key = tmp_path / "key"
    key.touch()
    return ClusterFile(tmp_path / "lab.yaml", "lab", key, "head", ("one", "two"))


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our own `ssh`, first in PATH: a shell script that the test writes."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("lab@one: Permission denied (publickey).", "authorized_keys"),
        ("connect to host one port 22: Connection refused", "openssh-server"),
        ("Could not resolve hostname one: Name or service not known", "no known name"),
        ("Host key verification failed.", "ssh-keygen -R one"),
        ("connect to host one port 22: No route to host", "No route to host. See that it is up"),
    ],
)
def test_each_way_of_not_reaching_a_machine_has_its_remedy(
    cluster: ClusterFile, ssh: Path, said: str, remedy: str
):
    ssh.write_text(f"#!/bin/sh\necho '{said}' >&2; exit 255\n")
    with pytest.raises(ClusterError, match=remedy) as caught:
        Machine("one", cluster).run("true")
    assert str(caught.value).startswith("one ") and "\n" not in str(caught.value)


def test_a_key_that_is_not_there_is_named(cluster: ClusterFile, ssh: Path):
    assert cluster.key
    ssh.write_text("#!/bin/sh\nexit 255\n")
    cluster.key.unlink()
    with pytest.raises(ClusterError, match=str(cluster.key)):
        Machine("one", cluster).run("true")


def test_a_command_keeps_its_words_its_output_and_its_status(cluster: ClusterFile, ssh: Path):
    ssh.write_text('#!/bin/sh\nfor last; do :; done; exec sh -c "$last"\n')  # the far side's shell
    done = Machine("one", cluster).run("printf '%s|' 'a b' \"c'd\"; exit 7")
    assert (done.stdout, done.returncode) == ("a b|c'd|", 7)


def test_a_taken_port_of_ours_is_said(cluster: ClusterFile, ssh: Path):
    ssh.write_text("#!/bin/sh\necho 'bind [127.0.0.1]:7: Address already in use' >&2; exit 255\n")
    with (
        pytest.raises(ClusterError, match="port 7 is taken"),
        Machine("one", cluster).tunnel(80, 7),
    ):
        pass


def test_the_token_must_be_there_and_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with pytest.raises(PreflightError, match="there is no token"):
        jobs.check_token()
    token.write_text("0" * 64)
    token.chmod(0o644)
    with pytest.raises(PreflightError, match="mode 0644"):
        jobs.check_token()
    token.chmod(0o600)
    jobs.check_token()


class _Refuses(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """As a job server does that wants another token."""
        self.send_response(403)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Refuses)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore")  # Ray's own, at the import of its client
def test_a_refused_token_and_no_server_are_told_apart(
    tmp_path: Path, refusing: int, monkeypatch: pytest.MonkeyPatch
):
    token = tmp_path / "token"
    token.write_text("0" * 64)
    token.chmod(0o600)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ClusterError, match="refuses the token"):  # noqa: SIM117
        with jobs.server(None, f"127.0.0.1:{refusing}"):
            pass
    with pytest.raises(ClusterError, match="no job server of Ray answers"):  # noqa: SIM117
        with jobs.server(None, f"127.0.0.1:{free_port()}"):
            pass


def test_a_verb_with_cluster_runs_the_same_words_on_the_head(tmp_path: Path, ssh: Path):
    file, seen = tmp_path / "lab.yaml", tmp_path / "seen"
    file.write_text(
        "provider: {type: local, head_ip: head, worker_ips: []}\nauth: {ssh_user: lab}\n"
    )
    ssh.write_text(f'#!/bin/sh\nfor last; do :; done; echo "$last" >> {seen}; exit 4\n')
    done = CliRunner().invoke(main, ["status", "mine", "--cluster", str(file), "--json"])
    assert done.exit_code == 4, done.output
    asked = seen.read_text().splitlines()[-1]
    assert "sweeps status mine --json" in asked and "--cluster" not in asked
    assert "SWEEPS_STORAGE" in asked


def test_the_words_go_without_the_cluster():
    words = ["mine", "--cluster", "a.yaml", "--failed", "--cluster=b.yaml"]
    assert _without_cluster(words) == ["mine", "--failed"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "x", "--cluster", "none.yaml"], "cannot be read"),
        (["submit", "x.yaml"], "give either --cluster FILE or --address"),
        (["resume", "x", "--cluster", "a", "--address", "b:1"], "each name a cluster"),
        (["ui", "x", "--cluster", "a", "--optuna"], "--optuna is for a sweep here"),
        (["ui", "x", "--cluster", "a", "--storage", "b"], "--storage is for a sweep here"),
        (["status", "--json"], "--json needs NAME"),
        (["down", "none.yaml"], "cannot be read"),
        (["doctor", "none.yaml"], "cannot be read"),
    ],
)
def test_bad_words_have_status_2_and_a_reason(words: list[str], said: str):
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and said in done.output, done.output


GOOD = {"rsync": "/usr/bin/rsync", "make": "/usr/bin/make", "python": "3.11.7", "token": "600"}


def test_a_machine_in_order_has_no_remedies():
    facts = Facts({**GOOD, "device": "8", "gpus": "8 NVIDIA H100 80GB HBM3, 999.65.06"})
    assert not any(finding.remedy for finding in _machine("one", facts))


@pytest.mark.parametrize(
    ("says", "status", "found"),
    [
        ("NVIDIA T4, 580.65\nNVIDIA H100, 580.65\nNVIDIA T4, 580.65", 0, "1 NVIDIA H100"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9, ""),
    ],
)
def test_cards_are_counted_and_a_complaint_is_no_card(tmp_path, says, status, found):
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "{says}"\nexit {status}\n')
    program.chmod(0o755)
    line = _SCRIPT[_SCRIPT.index('echo "gpus ') : _SCRIPT.index('echo "device ')]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.check_output(["sh", "-c", line], env=environment, text=True)
    _, _, cards = done.strip().partition("gpus")
    assert cards.strip() == (found and f"{found}, 580.65;2 NVIDIA T4, 580.65")


@pytest.mark.parametrize(
    ("facts", "remedy"),
    [
        (Facts({**GOOD, "rsync": ""}), "apt install rsync"),
        (Facts({**GOOD, "python": "3.9.2"}), "Install 3.11"),
        (Facts({**GOOD, "ray": "2.40.0"}), "ray up"),
        (Facts({**GOOD, "token": "644"}), "chmod 600"),
        (Facts({**GOOD, "device": "2"}), "nvidia-smi"),
        (Facts({**GOOD, "gpus": "1 NVIDIA T4, 999.1;1 NVIDIA T4, 470.82.01"}), "driver 5"),
        (Facts(GOOD, clock_error=-90.0), "chrony"),
    ],
)
def test_each_lack_has_its_remedy(facts: Facts, remedy: str):
    (wrong,) = (finding for finding in _machine("one", facts) if finding.remedy)
    assert remedy in str(wrong)


def test_taken_ports_different_pythons_and_half_a_cluster(cluster: ClusterFile):
    idle = {a: Facts(GOOD) for a in cluster.machines}
    assert not any(f.remedy for f in _together(cluster, idle))
    taken = idle | {"head": Facts({**GOOD, "ports": "22 5000"})}
    assert [f.found for f in _together(cluster, taken) if f.remedy] == ["5000 (MLflow) is taken"]
    other = idle | {"two": Facts({**GOOD, "python": "3.12.1"})}
    assert "two 3.12.1" in next(f for f in _together(cluster, other) if f.remedy).found
    half = idle | {"one": Facts({**GOOD, "raylet": "17"})}
    (found,) = (f for f in _together(cluster, half) if f.remedy)
    assert found.found == "runs on one, not on head, two"
    assert f"sweeps down {cluster.path}" in found.remedy


def test_a_message_is_split_into_what_and_remedy():
    assert _split(ClusterError("one is away. Wake it. Soon")) == ("one is away", "Wake it. Soon")


def test_machines_that_do_not_see_the_drivers_file_are_named(tmp_path: Path):
    probe = tmp_path / "sweep" / ".probe"
    probe.mkdir(parents=True)
    (probe / "driver").write_text("word")
    assert _look(str(probe), "word", "one") == ""
    assert "older file" in _look(str(probe), "other", "two")
    assert "does not see" in _look(str(tmp_path / "elsewhere"), "word", "two")
    _judge(probe.parent, "word", {"one": ""})
    with pytest.raises(
        PreflightError, match=f"from the driver on {socket.gethostname()}, two wrote"
    ):
        _judge(probe.parent, "word", {"one": "", "two": ""})


def test_a_labs_file_promises_no_more_machines_than_there_are(tmp_path: Path):
    kinds = {"local": {"resources": {}, "max_workers": 2}}
    config = {"available_node_types": kinds, "head_node_type": "local", "max_workers": 2}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert to_come(ResourcesSpec(), tmp_path / "config.yaml") == 0
    assert to_come(ResourcesSpec(), tmp_path / "none.yaml") == 0
