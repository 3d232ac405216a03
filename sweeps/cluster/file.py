"""A cluster as Ray's launcher file describes it: which machines, and how to reach them by ssh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweeps.errors import PreflightError


@dataclass(frozen=True)
class ClusterFile:
    """What we need of a file that `ray up` takes."""

    path: Path
    user: str
    key: Path | None
    """Private key; None: whatever ssh itself would use."""
    head: str
    workers: tuple[str, ...] = ()
    """Those that the file names; a cloud's are known to the head alone."""
    container: str = ""
    """Docker container in which Ray runs on each machine, if any."""

    @property
    def machines(self) -> tuple[str, ...]:
        """The head, then the workers that the file names."""
        return (self.head, *self.workers)


def read(path: str | Path) -> ClusterFile:
    """The cluster of the file at `path`; for one in a cloud the provider is asked for its head.

    Raises:
        PreflightError: there is no such file, it is none of Ray's, or the cloud knows no head.
    """
    path = Path(path)
    tree = tree_of(path)
    provider, auth = tree["provider"], tree.get("auth") or {}
    local = provider.get("type") == "local"
    if local and not ("head_ip" in provider and isinstance(provider.get("worker_ips"), list)):
        raise PreflightError(f"{path}: provider local needs head_ip and a list of worker_ips")
    if "ssh_user" not in auth:
        raise PreflightError(f"{path}: auth.ssh_user is missing. Name who logs in by ssh")
    key = auth.get("ssh_private_key")
    head = provider.get("external_head_ip") or provider.get("head_ip") if local else _head_of(path)
    return ClusterFile(
        path=path,
        user=str(auth["ssh_user"]),
        key=Path(key).expanduser() if key else None,
        head=str(head),
        workers=tuple(map(str, provider["worker_ips"])) if local else (),
        container=str((tree.get("docker") or {}).get("container_name", "")),
    )


def tree_of(path: Path) -> dict[str, Any]:
    """The file's content, a mapping with a `provider`.

    Raises:
        PreflightError: it is not that.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        remedy = "cluster-onprem.yaml is one to start from"
        raise PreflightError(
            f"the cluster file {path} cannot be read: {error.strerror}; {remedy}"
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise PreflightError(f"the cluster file {path} is no YAML: {reason}") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("provider"), dict):
        raise PreflightError(f"{path} is no cluster file: it names no provider")
    return tree


def _head_of(path: Path) -> str:
    """The address of a cloud's head, through Ray's own launcher."""
    from ray.autoscaler.sdk import get_head_node_ip

    try:
        return get_head_node_ip(str(path))
    except Exception as error:  # whatever the cloud's own library raises
        reason = " ".join(str(error).split())[:200]
        raise PreflightError(
            f"{path}: no head found ({reason}). Start the cluster: ray up {path}"
        ) from None
