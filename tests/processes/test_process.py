"""How one process ends: at a defect in its core, and on SIGTERM however slow its disk is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(150)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Alone:
    """One node by itself, with `spoilt` run in the process before its main function; the same one again in the same
    directory."""

    def __init__(self, directory: Path, spoilt: str):
        config = directory / "cluster.json"
        if not config.exists():
            address = {"ip": "127.0.0.1", "port": free_port(), "internal_port": free_port()}
            config.write_text(json.dumps({"addresses": [address]}))
        self.port = json.loads(config.read_text())["addresses"][0]["port"]
        self._log = directory / "log"
        arguments = ["node", "--config", str(config), "--node", "0", "--data-dir", str(directory)]
        code = f"import sys; sys.argv = {arguments!r}\nfrom app import main\n{spoilt}\nmain.main()"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen([sys.executable, "-c", code], stdout=output, stderr=output)

    def wait_until_it_leads(self) -> None:
        deadline = time.monotonic() + 50
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.02)
        raise TimeoutError(self.said())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        return self._log.read_text()


def test_a_defect_in_the_core_ends_the_process(tmp_path: Path) -> None:
    spoilt = """
from app.raft import RaftCore
def broken(self):
    raise AssertionError("an invariant is broken")
RaftCore.ready = broken
"""
    node = Alone(tmp_path, spoilt)
    try:
        assert node.process.wait(50) == 1
    finally:
        node.end()
    assert "ending this process: AssertionError: an invariant is broken" in node.said()


@pytest.mark.parametrize(
    "spoilt",
    [
        "from app.broker.machine import Machine\nimport time\nMachine.checkpoint = lambda *_: time.sleep(60)",
        "from app.storage import SegmentedLog\nimport time\nSegmentedLog.prepare = lambda *_, **__: time.sleep(60)",
    ],
    ids=["checkpoint", "next segment"],
)
def test_a_stuck_disk_does_not_hold_up_the_end(tmp_path: Path, spoilt: str) -> None:
    node = Alone(tmp_path, spoilt)
    try:
        node.wait_until_it_leads()
        started = time.monotonic()
        os.kill(node.process.pid, signal.SIGTERM)
        assert node.process.wait(50) == 0, node.said()
        assert time.monotonic() - started < 5
    finally:
        node.end()


def test_a_node_whose_log_is_gone_refuses_each_time(tmp_path: Path) -> None:
    """Found by a trial: the first start made a new log, beside which the second one found the state in order."""
    node = Alone(tmp_path, "")
    try:
        node.wait_until_it_leads()
        os.kill(node.process.pid, signal.SIGTERM)
        assert node.process.wait(50) == 0, node.said()
    finally:
        node.end()
    (log,) = tmp_path.glob("**/group-0/log")
    shutil.rmtree(log)
    for _ in range(2):
        node = Alone(tmp_path, "")
        try:
            assert node.process.wait(50) == 1
        finally:
            node.end()
        assert "is gone, and with it this node's votes" in node.said()
        assert not list(log.glob("*.log"))


def test_a_node_that_is_told_to_stop_while_it_starts_ends_well(tmp_path: Path) -> None:
    """As a container's first process it would not even end: the kernel keeps unhandled signals from such a one."""
    node = Alone(tmp_path, "import time\nmain.Process.open = lambda self: time.sleep(60)")
    try:
        deadline = time.monotonic() + 50
        while "clients" not in node.said() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(node.process.pid, signal.SIGTERM)
        assert node.process.wait(50) == 0, node.said()
    finally:
        node.end()
