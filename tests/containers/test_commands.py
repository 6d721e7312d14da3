"""`make run`, `make local`, `make stop`, `make clean` in a copy of the repository whose path has a space.

The copy has ports of its own, so that a running cluster is not disturbed; the image is the one just built.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.containers.stack import REPOSITORY, free_ports

FOLDERS = ("app", "chaos", "config", "rmq", "scripts")
FILES = (
    "Makefile", "Dockerfile", ".dockerignore", "docker-compose.yml", "LICENSE", "README.md", "pyproject.toml",
    "requirements.txt", "requirements-dev.txt", "setup.py",
)  # fmt: skip


class Copy:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.ports = free_ports(3)
        peers = free_ports(3)
        for name in FOLDERS:
            shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "report"))
        for name in FILES:
            shutil.copy(REPOSITORY / name, root / name)
        addresses = [
            {"ip": "127.0.0.1", "port": port, "internal_port": peer}
            for port, peer in zip(self.ports, peers, strict=True)
        ]
        (root / "config/local.three.json").write_text(json.dumps({"addresses": addresses}))
        if (REPOSITORY / ".venv/installed").exists():
            (root / ".venv").symlink_to(REPOSITORY / ".venv")

    def make(self, *goals: str) -> subprocess.CompletedProcess[str]:
        moved = {f"NODE{node + 1}_PORT": str(port) for node, port in enumerate(self.ports)}
        env = {**os.environ, **moved}
        return subprocess.run(
            ["make", *goals], cwd=self.root, env=env, capture_output=True, text=True, timeout=280, check=False
        )

    def succeed(self, *goals: str) -> str:
        done = self.make(*goals)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def answers(self) -> list[bool]:
        return [is_open(port) for port in self.ports]


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    root = tmp_path / "a clone"
    root.mkdir()
    made = Copy(root)
    yield made
    made.succeed("clean")
    assert not (root / ".rmq").exists() and made.answers() == [False] * 3


def round_trip(ports: list[int], topic: str) -> None:
    with httpx.Client(timeout=5) as http:
        assert http.put(f"http://localhost:{ports[0]}/topic", json={"topic": topic}).json() == {"success": True}
        body = {"topic": topic, "message": "m"}
        assert http.put(f"http://localhost:{ports[1]}/message", json=body).json() == {"success": True}
        taken = http.get(f"http://localhost:{ports[2]}/message/{topic}")
        assert taken.json() == {"success": True, "message": "m"}


def assert_summary(printed: str, ports: list[int]) -> None:
    assert all(f"http://localhost:{port}/docs" in printed for port in ports)
    assert "The leader is node" in printed and "curl -X PUT localhost" in printed
    assert printed.count("  docker kill ") + printed.count("  kill -9 ") == 1


def test_run_repeats_completes_and_stops(copy: Copy, image: str) -> None:
    assert_summary(copy.succeed("run"), copy.ports)
    round_trip(copy.ports, "t")
    again = copy.succeed("run")
    assert "runs already" in again
    assert_summary(again, copy.ports)
    refused = copy.make("local")
    assert refused.returncode != 0 and "`make stop` first" in refused.stderr
    assert "data is kept" in copy.succeed("stop")
    assert copy.answers() == [False] * 3
    assert "was not running" in copy.succeed("stop")


def test_local_repeats_completes_keeps_its_data_and_stops(copy: Copy) -> None:
    assert_summary(copy.succeed("local"), copy.ports)
    round_trip(copy.ports, "t")
    pids = [int((copy.root / f".rmq/local/node-{node}.pid").read_text()) for node in range(3)]
    os.kill(pids[1], signal.SIGKILL)
    assert_summary(copy.succeed("local"), copy.ports)
    assert "runs already" in copy.succeed("local")
    assert "as local processes" in copy.succeed("run")
    copy.succeed("stop")
    assert copy.answers() == [False] * 3
    copy.succeed("local")
    topics = httpx.get(f"http://localhost:{copy.ports[2]}/topic").json()
    assert topics == {"success": True, "topics": ["t"]}


def test_a_port_that_something_else_holds_is_named(copy: Copy) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", copy.ports[1]))
        holder.listen()
        for goal in ("run", "local"):
            done = copy.make(goal)
            assert done.returncode != 0 and "Traceback" not in done.stderr
            assert f"Port {copy.ports[1]} of this machine is taken by another program" in done.stderr


def test_a_node_that_cannot_start_is_shown_with_its_last_words(copy: Copy) -> None:
    (copy.root / "config/local.three.json").write_text(
        json.dumps({"settings": {"tick_ms": 0}, **json.loads((copy.root / "config/local.three.json").read_text())})
    )
    done = copy.make("local")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "tick_ms must be between 1 and 1000 ms" in done.stderr and "ended; its log is" in done.stderr
