"""The three nodes as seen from outside, containers or processes alike: their ports, readiness, who leads.

Rules of this file: nodes are asked over HTTP on loopback and by nothing else; an answer that does not come or
makes no sense is "not ready", never an error. Every wait is bounded and moves a progress line.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from scripts.console import Failure, Progress, say

READY_TIMEOUT_S = 60.0
POLL_S = 0.1


def client_ports() -> list[int]:
    """Ports of the three nodes; NODE1_PORT to NODE3_PORT move them, for Compose as well."""
    return [int(os.environ.get(f"NODE{number}_PORT") or 8000 + number) for number in (1, 2, 3)]


def get(port: int, path: str, timeout_s: float = 1.0) -> tuple[int, Any]:
    """Status and decoded JSON (or None) of a GET; status 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read()
        status = response.status
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
    try:
        return status, json.loads(body)
    except ValueError:
        return status, None


def is_ready(port: int) -> bool:
    return get(port, "/readyz")[0] == 200


def wait_until_ready(ports: Sequence[int], dead: Callable[[], str], timeout_s: float = READY_TIMEOUT_S) -> None:
    """Return when every port answers /readyz with 200. Failure with `dead()` when that says that one gave up."""
    deadline = time.monotonic() + timeout_s
    if all(is_ready(port) for port in ports):
        return
    with Progress(f"waiting for {len(ports)} nodes") as line:
        while True:
            waiting = [port for port in ports if not is_ready(port)]
            if not waiting:
                return
            reason = dead()
            if reason:
                raise Failure(reason)
            if time.monotonic() > deadline:
                named = ", ".join(map(str, waiting))
                raise Failure(f"Not ready within {timeout_s:.0f} s: the nodes on port {named}.")
            line.show(f"({len(ports) - len(waiting)} ready)")
            time.sleep(POLL_S)


def is_port_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def refuse_taken(ports: Sequence[int]) -> None:
    """Failure that names the ports which something else holds."""
    taken = [str(port) for port in ports if is_port_taken(port)]
    if taken:
        verb = "is" if len(taken) == 1 else "are"
        raise Failure(
            f"Port {', '.join(taken)} of this machine {verb} taken by another program: stop that one, "
            "or `make stop` if it is an RMQ started from another folder, and try again."
        )


def print_summary(ports: Sequence[int], kind: str, kill: Callable[[int], str]) -> None:
    """Where each node is, who leads, and commands to paste next; `kill` gives the one that kills a node."""
    status = {port: get(port, "/status")[1] for port in ports}
    say(f"\nRMQ runs: {len(ports)} nodes as {kind}.")
    for node, port in enumerate(ports):
        role = status[port].get("role", "?") if isinstance(status[port], dict) else "no answer"
        say(f"  node {node}  http://localhost:{port}  {role:<9}  docs: http://localhost:{port}/docs")
    leader = next((s["leader"] for s in status.values() if isinstance(s, dict) and s.get("leader") is not None), None)
    known = leader if isinstance(leader, int) and 0 <= leader < len(ports) else None
    if known is None:
        say("No leader is known yet.")
    else:
        say(f"The leader is node {known} (http://localhost:{ports[known]}).")
    say("\nPaste next (any node takes it):")
    say(f"  curl -X PUT localhost:{ports[0]}/topic -H 'content-type: application/json' -d '{{\"topic\": \"hello\"}}'")
    if known is not None:
        say("Kill the leader, and see another node lead:")
        say(f"  {kill(known)}")
    say("`make stop` ends it and keeps the data, `make clean` forgets the data.")
