"""What Compose is given on top of the repository's own files, so that a second cluster can stand beside a first.

    override.json         image, environment, sizes of disks, and where the next file is mounted
    cluster.<size>.json   the cluster file, with the client addresses that the other ports have made untrue

Rules of this file: ports, advertised addresses and what the caller asks for are changed, and nothing else, so that
what is broken is what is shipped. Files are written and nothing is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
FILES = {3: ("docker-compose.yml",), 5: ("docker-compose.yml", "config/compose.five.yml")}
CONFIGS = {3: "cluster.three.json", 5: "cluster.five.json"}
NAME = "override.json"
NODE_USER = 10001
"""User and group of a node's process in the image."""


def write(
    directory: Path, ports: Sequence[int], image: str, environment: Mapping[str, str], data_mib: int | None
) -> Path:
    """Write both files for `len(ports)` nodes into `directory`; the path of the override.

    `environment`: variables for every node. `data_mib`: each node's disk is a file system in memory of this size.
    """
    size = len(ports)
    config = json.loads((REPOSITORY / "config" / CONFIGS[size]).read_text())
    for node, port in enumerate(ports):
        config["nodes"][node]["client"]["advertise"] = f"http://localhost:{port}"
    cluster_file = directory / CONFIGS[size]
    cluster_file.write_text(json.dumps(config))
    cluster_file.chmod(0o644)
    service = {
        "image": image, "environment": dict(environment),
        "volumes": [f"{cluster_file}:/opt/rmq/config/{CONFIGS[size]}:ro"],
    }  # fmt: skip
    content: dict[str, Any] = {"services": {f"node{node + 1}": service for node in range(size)}}
    if data_mib is not None:
        content["volumes"] = {f"node{node + 1}-data": _in_memory(data_mib) for node in range(size)}
    override = directory / NAME
    override.write_text(json.dumps(content))
    return override


def arguments(size: int, override: Path) -> list[str]:
    """Compose's `-f` options for a cluster of this size."""
    return [part for name in (*FILES[size], str(override)) for part in ("-f", name)]


def _in_memory(data_mib: int) -> dict[str, Any]:
    options = f"size={data_mib}m,uid={NODE_USER},gid={NODE_USER},mode=0755"
    return {"driver": "local", "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": options}}
