"""What the pages about clusters promise is what the files do."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPTS = ["docs/slurm.sbatch", *(f"docker/{p.name}" for p in (ROOT / "docker").glob("*.sh"))]
SCRIPTS.append("docker/stand-in/entrypoint.sh")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_shell_takes_every_script(script):
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_the_slurm_script_makes_a_token_before_ray_starts_and_removes_it():
    text = (ROOT / "docs/slurm.sbatch").read_text()
    assert "umask 077" in text
    assert text.index("RAY_AUTH_MODE=token") < text.index("start --head")
    assert text.index("trap 'rm -rf \"$secrets\"' EXIT") < text.index("start --head")


def test_the_policies_of_the_aws_page_are_json_and_name_the_roles_of_cluster_yaml():
    text = (ROOT / "docs/aws.md").read_text()
    bucket, machines = map(json.loads, re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    assert not any("*" in action for s in bucket["Statement"] for action in s["Action"])
    types = yaml.safe_load((ROOT / "cluster.yaml").read_text())["available_node_types"]
    roles = {kind["node_config"]["IamInstanceProfile"]["Name"] for kind in types.values()}
    assert roles == {"ghost-noise-head", "ghost-noise-worker"}
    assert all(role in text for role in roles)
    passed = next(s for s in machines["Statement"] if s["Action"] == "iam:PassRole")
    assert passed["Resource"].endswith("role/ghost-noise-worker")


def test_nothing_shipped_listens_on_every_address_but_behind_a_published_port():
    shipped = ["cluster.yaml", "docs/slurm.sbatch", "docker/mlflow.sh", "docker/Dockerfile"]
    for name in shipped:
        lines = (ROOT / name).read_text().splitlines()
        assert not [line for line in lines if "0.0.0.0" in line and not line.startswith("#")]
