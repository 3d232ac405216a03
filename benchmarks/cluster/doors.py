"""What a stranger on the network finds at a port: run on a machine beside the cluster's.

    python benchmarks/cluster/doors.py HOST:PORT ...

Prints, for each, `HOST:PORT VERDICT`: refused; key (asks for the token or an ssh key, and gets on
neither without one nor with a wrong one); OPEN; or unknown, which nobody should be content with.
With TOKEN in the environment that one is tried instead, and OPEN is what its owner expects.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys

import grpc

WAIT_S = 5
METHODS = (
    "NodeInfoGcsService/GetAllNodeInfo",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Pull",
    "CoreWorkerService/GetCoreWorkerStats",
    "ReporterService/GetTraceback",
    "RayletDriver/ClusterInfo",
)
PAGES = (("GET", "/"), ("GET", "/api/version"), ("POST", "/get_runtime_envs_info"))


def judge(host: str, port: int) -> str:
    """The verdict on one port."""
    try:
        with socket.create_connection((host, port), timeout=WAIT_S) as door:
            door.settimeout(1)
            try:
                greeting = door.recv(4)
            except TimeoutError:
                greeting = b""
    except OSError:
        return "refused"
    if greeting == b"SSH-":
        return _ssh(host, port)
    tokens = [os.environ["TOKEN"]] if os.environ.get("TOKEN") else ["", "0" * 64]
    found = {
        answer
        for token in tokens
        for answer in (_http(host, port, token) or _grpc(host, port, token))
    }
    return "OPEN" if "OPEN" in found else "key" if "key" in found else "unknown"


def _ssh(host: str, port: int) -> str:
    login = ["ssh", "-p", str(port), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]
    none = ["-o", "IdentityFile=/dev/null", "-o", "IdentitiesOnly=yes", f"lab@{host}", "true"]
    done = subprocess.run([*login, *none], capture_output=True, text=True, check=False)
    return "key" if "Permission denied" in done.stderr else "OPEN"


def _http(host: str, port: int, token: str) -> set[str]:
    """Of what speaks HTTP; nothing for what does not."""
    found = set()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for method, page in PAGES:
        line = http.client.HTTPConnection(host, port, timeout=WAIT_S)
        try:
            line.request(method, page, headers=headers)
            status = line.getresponse().status
        except (OSError, http.client.HTTPException):
            return set()
        finally:
            line.close()
        found.add("key" if status in (401, 403) else "OPEN")
    return found


def _grpc(host: str, port: int, token: str) -> set[str]:
    found = set()
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        for name in METHODS:
            call = channel.unary_unary(f"/ray.rpc.{name}")
            try:
                call(b"", timeout=WAIT_S, metadata=metadata)
            except grpc.RpcError as error:
                match error.code():  # type: ignore[attr-defined]
                    case grpc.StatusCode.UNAUTHENTICATED:
                        found.add("key")
                    case grpc.StatusCode.UNIMPLEMENTED | grpc.StatusCode.DEADLINE_EXCEEDED:
                        continue
                    case grpc.StatusCode.UNAVAILABLE:
                        break
                    case _:
                        found.add("OPEN")
            else:
                found.add("OPEN")
    return found


if __name__ == "__main__":
    for place in sys.argv[1:]:
        name, _, number = place.rpartition(":")
        print(place, judge(name, int(number)), flush=True)
