"""cluster-onprem.yaml and what we read of such files."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from sweeps.cluster.doctor import _schema
from sweeps.cluster.file import read
from sweeps.errors import PreflightError

SHIPPED = Path(__file__).parents[2] / "cluster-onprem.yaml"


@pytest.fixture(scope="module")
def shipped() -> dict:
    return yaml.safe_load(SHIPPED.read_text())


@pytest.mark.filterwarnings("ignore")  # Ray's own, at the import of its launcher
def test_ray_itself_takes_the_shipped_file_and_no_unknown_field(tmp_path: Path, shipped: dict):
    assert not _schema(SHIPPED).remedy
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({**shipped, "workers": 3}))
    assert "workers" in _schema(wrong).found


def test_the_head_asks_for_a_token_and_keeps_its_pages_to_itself(shipped: dict):
    commands = shipped["head_start_ray_commands"]
    start = next(command for command in commands if "ray start" in command)
    assert commands.index("chmod 600 ~/.ray/auth_token") < commands.index(start)
    assert "--dashboard-host=127.0.0.1" in start and "RAY_enable_autoscaler_v2=0" in start
    environment = next(c for c in shipped["setup_commands"] if ".sweeps.sh" in c)
    assert "RAY_AUTH_MODE=token" in environment
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:" in environment
    assert shipped["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_every_file_that_an_installation_needs_is_shipped(shipped: dict):
    root, mounts = SHIPPED.parent, set(shipped["file_mounts"].values())
    assert all((root / here).exists() for here in mounts if here[0] != "~")
    project = tomllib.loads((root / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert mounts >= {*packages, project["project"]["readme"], *project["project"]["license-files"]}


def test_machines_user_and_key_are_read(shipped: dict):
    cluster = read(SHIPPED)
    assert cluster.machines == (
        shipped["provider"]["head_ip"],
        *shipped["provider"]["worker_ips"],
    )
    assert (cluster.user, cluster.container) == ("ubuntu", "")
    assert cluster.key == Path.home() / ".ssh" / "id_ed25519"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("a: [", "is no YAML"),
        ("name: mnist", "names no provider"),
        ("provider: {type: local, head_ip: 1.2.3.4}", "worker_ips"),
        ("provider: {type: local, head_ip: h, worker_ips: []}", "auth.ssh_user is missing"),
    ],
)
def test_what_is_no_cluster_file_is_said_to_be_none(tmp_path: Path, text: str | None, said: str):
    path = tmp_path / "cluster.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PreflightError, match=said):
        read(path)
