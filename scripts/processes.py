"""The cluster as three detached processes of this machine: `make local`, and `make run` without an engine.

Rules of this file: a pid in `.rmq/local/node-N.pid` counts only while that process really is this node, because
pids are used again; starting starts what does not run; stopping is SIGTERM, and SIGKILL after the grace.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from scripts import cluster, virtualenv
from scripts.console import LOGS, ROOT, STATE, Failure, Progress, quiet, say, tail

CONFIG = "config/local.three.json"
PIDS = STATE / "local"
ADDRESSES = json.loads((ROOT / CONFIG).read_text())["addresses"]
CLIENT_PORTS = [address["port"] for address in ADDRESSES]
PEER_PORTS = [address["internal_port"] for address in ADDRESSES]
NODES = range(len(ADDRESSES))
STOP_S = 10.0


def running() -> dict[int, int]:
    """Node -> pid of the local processes that run."""
    found = {}
    for node in NODES:
        try:
            pid = int(_pid_file(node).read_text())
        except (OSError, ValueError):
            continue
        if _is_node(pid, node):
            found[node] = pid
    return found


def start() -> None:
    """Start the nodes that do not run, wait until all are ready, print the summary."""
    before = running()
    launched: dict[int, subprocess.Popen[bytes]] = {}
    if len(before) == len(NODES):
        say("RMQ runs already, as local processes.")
    else:
        missing = [node for node in NODES if node not in before]
        cluster.refuse_taken([ports[node] for ports in (CLIENT_PORTS, PEER_PORTS) for node in missing])
        python = virtualenv.ensure("requirements.txt")
        launched = {node: _launch(python, node) for node in missing}
    cluster.wait_until_ready(CLIENT_PORTS, lambda: _first_dead(launched))
    pids = running()
    cluster.print_summary(
        CLIENT_PORTS,
        "local processes (logs in .rmq/logs)",
        lambda node: f"kill -9 {pids.get(node, 'PID')}    # `make local` starts it again",
    )


def stop() -> bool:
    """End the local processes; whether there were any."""
    pids = running()
    for pid in pids.values():
        _signal(pid, signal.SIGTERM)
        _signal(pid, signal.SIGCONT)
    deadline = time.monotonic() + STOP_S
    if pids:
        with Progress("stopping local processes") as line:
            while running() and time.monotonic() < deadline:
                line.show()
                time.sleep(0.05)
    for node, pid in running().items():
        say(f"Node {node} did not stop within {STOP_S:.0f} s and is killed.")
        _signal(pid, signal.SIGKILL)
    for node in NODES:
        _pid_file(node).unlink(missing_ok=True)
    return bool(pids)


def _launch(python: Path, node: int) -> subprocess.Popen[bytes]:
    PIDS.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "app", "--config", CONFIG, "--node", str(node), "--data-dir", ".rmq/data"]
    with open(_log(node), "ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    _pid_file(node).write_text(f"{process.pid}\n")
    return process


def _first_dead(launched: Mapping[int, subprocess.Popen[bytes]]) -> str:
    """A child is asked itself: for a moment after its start the system does not know its command line yet."""
    alive = running()
    for node in NODES:
        if launched[node].poll() is not None if node in launched else node not in alive:
            return f"{tail(_log(node))}\nNode {node} ended; its log is {_log(node).relative_to(ROOT)}."
    return ""


def _is_node(pid: int, node: int) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ")
    except OSError:
        arguments = quiet(["ps", "-o", "args=", "-p", str(pid)]) or "" if not os.path.isdir("/proc/1") else ""
    return f"-m app --config {CONFIG} --node {node} " in arguments + " "


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise Failure(f"Process {pid} belongs to another user: run this as the user who started it.") from None


def _pid_file(node: int) -> Path:
    return PIDS / f"node-{node}.pid"


def _log(node: int) -> Path:
    return LOGS / f"node-{node}.log"
