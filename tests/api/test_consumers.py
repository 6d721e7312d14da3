"""Consumers over real connections: what a thousand idle ones hold, and what is left of those that vanish."""

from __future__ import annotations

import gc
import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import Live

POLLS = 1000
MEMORY_BYTES = 50 << 20
REQUEST = (
    b"POST /v1/topics/idle/messages:receive HTTP/1.1\r\nHost: localhost:8001\r\nAccept: */*\r\n"
    b"User-Agent: python-httpx/0.28.1\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
    b'{"wait_s": 20 }'
)
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Of this process, the server's connections and the clients' alike."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def waiting(live: Live) -> int:
    lines = httpx.get(f"{live.url}/metrics").text.splitlines()
    return int(float(next(line for line in lines if line.startswith("rmq_long_polls")).split()[1]))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_thousand_idle_polls_are_cheap_and_vanish_without_a_trace(live: Live) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    httpx.put(f"{live.url}/v1/topics/idle").raise_for_status()
    before_bytes, received = resident_bytes(), live.node.received
    clients = [socket.create_connection(("127.0.0.1", live.port)) for _ in range(POLLS)]
    try:
        for client in clients:
            client.sendall(REQUEST)
        until(lambda: waiting(live) == POLLS)
        assert resident_bytes() - before_bytes < MEMORY_BYTES
        until(lambda: live.node.received >= received + POLLS)
    finally:
        for client in clients:
            client.close()
    until(lambda: waiting(live) == 0)
    until(lambda: len(live.server.server_state.connections) < 10)
    assert live.node.received == received + POLLS, "each has looked once"
    assert "idle" not in live.node.machine._watchers


@pytest.mark.parametrize("wait_s", [0, 10])
def test_what_was_leased_for_a_client_that_hung_up_is_given_back(live: Live, wait_s: int) -> None:
    topic = f"vanish-{wait_s}"
    httpx.put(f"{live.url}/v1/topics/{topic}").raise_for_status()
    httpx.post(f"{live.url}/v1/topics/{topic}/messages", json={"body": 1}).raise_for_status()

    def standing() -> tuple[int, int]:
        info = live.node.machine.topic(topic)
        assert info is not None
        return info.subscriptions[0].ready, info.subscriptions[0].leased

    body = b'{"wait_s": %d}' % wait_s
    head = f"POST /v1/topics/{topic}/messages:receive HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    live.node.slow_s = 3.0
    try:
        with socket.create_connection(("127.0.0.1", live.port)) as client:
            client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            until(lambda: standing() == (0, 1))
        until(lambda: standing() == (1, 0))
    finally:
        live.node.slow_s = 0.0
