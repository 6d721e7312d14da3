"""The command line of the chaos harness, as tests call it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from chaos.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]


def chaos(*arguments: str) -> list[str]:
    """Its command."""
    return [sys.executable, "-m", "chaos", *arguments]


def run(*arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(chaos(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)


def topics(cluster: Cluster) -> list[str]:
    """The names of a cluster's topics."""
    deadline = time.monotonic() + 60
    while (found := cluster.get(cluster.leader(), "/v1/topics", 6.0)) is None:
        assert time.monotonic() < deadline, "nobody lists the topics"
    return [each["name"] for each in found["items"]]
