from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from compose_spec import PyOptions

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker/compose.yaml").read_text()
TREE = yaml.safe_load(TEXT)


def validate(text: str) -> None:
    PyOptions(apply_merge=True).from_yaml(text).validate()


def test_the_compose_specification_takes_it():
    validate(TEXT)


@pytest.mark.parametrize("wrong", ["depend_on", "shm"])
def test_the_specification_refuses_a_key_it_does_not_know(wrong):
    right = {"depend_on": "depends_on", "shm": "shm_size"}[wrong]
    with pytest.raises(ValueError, match=wrong):
        validate(TEXT.replace(f"{right}:", f"{wrong}:"))


def test_every_port_is_published_on_loopback_alone():
    ports = [p for service in TREE["services"].values() for p in service.get("ports", [])]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_listens_beyond_its_container_asks_for_a_secret():
    services = TREE["services"]
    assert services["head"]["environment"]["RAY_AUTH_MODE"] == "token"
    assert services["worker"]["environment"]["RAY_AUTH_MODE"] == "token"
    assert "basic-auth" in (ROOT / "docker/mlflow.sh").read_text()


def test_postgres_is_well_only_once_the_network_reaches_it():
    """While the image makes the database its server answers on the socket, for longer than 15 s."""
    health = TREE["services"]["postgres"]["healthcheck"]
    assert "--host=127.0.0.1" in health["test"]
    assert health["start_period"]


def made_secrets(folder: Path) -> dict[str, str]:
    subprocess.run(["sh", ROOT / "docker/secrets.sh", folder], check=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_secrets_are_files_of_mode_0600_that_neither_git_nor_the_image_takes(tmp_path):
    names = {Path(secret["file"]).name for secret in TREE["secrets"].values()}
    assert {Path(s["file"]).parent.name for s in TREE["secrets"].values()} == {"secrets"}
    first, second = made_secrets(tmp_path), made_secrets(tmp_path)
    assert first.keys() == names
    assert first == second  # the second time it leaves them
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())
    assert "/docker/secrets/" in (ROOT / ".gitignore").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and "!docker" not in ignored


def test_the_image_takes_only_what_the_context_holds():
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = set()
    for line in (ROOT / "docker/Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            copied |= {word for word in line.split()[1:-1] if word[0] not in "-$"}
    assert copied <= kept
    assert all((ROOT / name).exists() for name in kept)


def test_the_proof_says_loudly_that_it_proves_nothing_without_an_engine(tmp_path):
    for program in ("bash", "dirname", "realpath", "id"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    proof = subprocess.run(
        [tmp_path / "bash", ROOT / "docker/test_compose.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert proof.stdout == ""
    assert proof.stderr.startswith("SKIPPED: no compose was started, nothing is proved.")
    assert "apt-get install docker.io" in proof.stderr or "sudo make test-compose" in proof.stderr
