"""The server's limits over raw sockets: time to send, sizes, stray bytes, an end that comes.

These hold our protocol to the installed uvicorn: an upgrade that changes what it leans on fails here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from app.api import server_protocol
from app.api.server import listen
from app.api.server_protocol import HEADERS_BYTES, HEADERS_COUNT, TARGET_BYTES
from tests.api.conftest import Live

TIMEOUT_S = 0.6
LIMIT = 10_000


@pytest.fixture(scope="module")
def quick() -> Iterator[Live]:
    """A server with little patience."""
    yield from serving(Live(request_timeout_s=TIMEOUT_S, body_limit_bytes=LIMIT))


@pytest.fixture(scope="module")
def patient() -> Iterator[Live]:
    """One that gives the usual time."""
    yield from serving(Live(body_limit_bytes=LIMIT))


def serving(served: Live) -> Iterator[Live]:
    with served:
        with Wire(served) as wire:
            wire.send(put("/topic", b'{"topic":"t"}'))
            assert wire.answer()[0] == 200
        yield served


class Wire:
    """One connection."""

    def __init__(self, served: Live) -> None:
        self.socket = socket.create_connection(("127.0.0.1", served.port), timeout=30)
        self._rest = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, to_head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body of the next answer."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = 0 if to_head else int(headers.get("content-length", 0))
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(lines[0].split()[1]), headers, body

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"closed after {self._rest!r}"
        self._rest += data

    def closes(self, within_s: float) -> bool:
        """Whether the server closes the connection without a further byte."""
        assert not self._rest
        self.socket.settimeout(within_s)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def put(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"PUT {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def receive(wait_s: float) -> bytes:
    body = b'{"auto_ack": true, "wait_s": %g}' % wait_s
    head = "POST /v1/topics/t/messages:receive HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def until_asked(served: Live) -> None:
    """Until the server works on a request."""
    cycles = lambda: [getattr(each, "cycle", None) for each in list(served.server.server_state.connections)]  # noqa: E731
    while not any(cycle is not None and not cycle.response_complete for cycle in cycles()):
        time.sleep(0.01)


def code(body: bytes) -> str:
    return str(json.loads(body)["code"])


GET_STATUS = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_head_that_does_not_arrive_in_time_is_408(quick: Live) -> None:
    with Wire(quick) as wire:
        started = time.monotonic()
        wire.send(b"GET /status HTTP/1.1\r\nHost:")
        for _ in range(3):  # Trickling must not extend the time.
            time.sleep(TIMEOUT_S / 5)
            wire.send(b" ")
        status, headers, body = wire.answer()
        assert (status, code(body), headers["connection"]) == (408, "request_timeout", "close")
        assert TIMEOUT_S * 0.9 < time.monotonic() - started < 30
        assert headers["content-type"] == "application/problem+json"
        assert wire.closes(3)


@pytest.mark.parametrize("start", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
def test_a_body_that_does_not_arrive_in_time_is_408(quick: Live, start: bytes) -> None:
    submitted = quick.node.submitted
    with Wire(quick) as wire:
        wire.send(b"PUT /message HTTP/1.1\r\nHost: x\r\n" + start)
        status, _, body = wire.answer()
        assert (status, code(body)) == (408, "request_timeout")
        assert wire.closes(3)
    assert quick.node.submitted == submitted


def test_the_second_request_of_a_connection_has_its_own_time(quick: Live) -> None:
    with Wire(quick) as wire:
        for _ in range(2):
            wire.send(GET_STATUS)
            assert wire.answer()[0] == 200
            time.sleep(TIMEOUT_S * 1.5)  # Idle, which is no crime.
        wire.send(b"GET /sta")
        assert wire.answer()[0] == 408


def test_a_connection_that_sends_nothing_is_closed_in_silence(quick: Live) -> None:
    with Wire(quick) as wire:
        assert wire.closes(30)


def test_an_empty_line_is_no_request_and_gains_no_time(quick: Live) -> None:
    """Found by a review: it ended all that was waiting for the request which it is not."""
    with Wire(quick) as wire:
        wire.send(b"\r\n")
        assert wire.closes(5 * TIMEOUT_S)


def test_an_empty_line_behind_a_request_does_not_keep_the_connection_for_ever(
    quick: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick.server.config, "timeout_keep_alive", 0.2)
    with Wire(quick) as wire:
        wire.send(GET_STATUS)
        assert wire.answer()[0] == 200
        wire.send(b"\r\n")
        assert wire.closes(5 * TIMEOUT_S)


def test_time_to_answer_is_not_time_to_send(quick: Live) -> None:
    with Wire(quick) as wire:
        wire.send(receive(TIMEOUT_S * 2))
        status, _, body = wire.answer()
        assert (status, json.loads(body)) == (200, {"messages": []})


def test_half_a_request_behind_a_long_poll_waits_for_its_answer(quick: Live) -> None:
    with Wire(quick) as wire:
        wire.send(receive(TIMEOUT_S * 2.5) + b"GET /status HT")
        assert wire.answer()[0] == 200
        assert wire.answer()[0] == 408


def test_pipelined_requests_are_answered_in_order(quick: Live) -> None:
    with Wire(quick) as wire:
        wire.send(receive(TIMEOUT_S) + GET_STATUS + put("/message", b'{"topic":"nope","message":""}'))
        assert [wire.answer()[0] for _ in range(3)] == [200, 200, 404]


@pytest.mark.parametrize("before", [b"", GET_STATUS])
def test_what_is_no_request_behind_one_that_is_pending_does_not_overtake_its_answer(
    patient: Live, before: bytes
) -> None:
    """Found by a review: it did, where only its body could not be read."""
    with Wire(patient) as wire:
        wire.send(receive(0.3) + before + b"PUT /message HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
        assert json.loads(wire.answer()[2]) == {"messages": []}
        if before:
            assert "term" in json.loads(wire.answer()[2])
        assert wire.closes(3)


def test_a_body_that_says_it_is_too_large_is_refused_unread(patient: Live) -> None:
    with Wire(patient) as wire:
        wire.send(b"PUT /message HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1))
        status, headers, body = wire.answer()
        assert (status, body, headers["rmq-code"]) == (413, b'{"success": false}', "body_too_large")
        wire.send(b"x" * (LIMIT + 1) + GET_STATUS)  # What was sent anyway is skipped, and the connection lives.
        assert wire.answer()[0] == 200


def test_a_client_that_asks_before_it_sends_is_told_at_once(patient: Live) -> None:
    with Wire(patient) as wire:
        head = b"PUT /message HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        wire.send(head % (LIMIT + 1))
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert wire.closes(3)
    with Wire(patient) as wire:
        body = b'{"topic":"nope","message":""}'
        wire.send(head % len(body))
        assert wire.answer()[0] == 100
        wire.send(body)
        assert wire.answer()[0] == 404


@pytest.mark.parametrize("chunk", [100, 7000])
def test_a_chunked_body_is_counted_while_it_streams(patient: Live, chunk: int) -> None:
    with Wire(patient) as wire:
        wire.send(b"PUT /message HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(LIMIT // chunk + 1):
            wire.send(b"%x\r\n" % chunk + b"x" * chunk + b"\r\n")
        assert wire.answer()[0] == 413
        wire.send(b"0\r\n\r\n" + GET_STATUS)
        assert wire.answer()[0] == 200


def test_an_endless_body_is_cut_off(quick: Live) -> None:
    with Wire(quick) as wire:
        wire.send(b"PUT /message HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        started = time.monotonic()
        with pytest.raises((ConnectionError, TimeoutError)):
            while time.monotonic() - started < 60:
                wire.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
                time.sleep(0.001)
        assert time.monotonic() - started < 30


def test_a_body_at_the_limit_passes(patient: Live) -> None:
    with Wire(patient) as wire:
        rest = LIMIT - len(b'{"topic":"t","message":""}')
        wire.send(put("/message", b'{"topic":"t","message":"%s"}' % (b"x" * rest)))
        assert wire.answer()[0] == 200
        wire.send(b"GET /message/t HTTP/1.1\r\nHost: x\r\n\r\n")
        assert len(json.loads(wire.answer()[2])["message"]) == rest


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"GET /" + b"a" * TARGET_BYTES + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * HEADERS_BYTES + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (HEADERS_COUNT + 1) + b"\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 5 * HEADERS_BYTES, 431, "headers_too_large"),
        (b"nonsense\r\n\r\n", 400, "invalid_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid_request"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400, "invalid_request"),
        (b"GET http:// HTTP/1.1\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "invalid_request"),
        (b"PUT /message HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "invalid_request"),
    ],
)
def test_what_is_no_request_is_refused_and_closed(patient: Live, data: bytes, status: int, reason: str) -> None:
    with Wire(patient) as wire:
        for start in range(0, len(data), 16384):
            wire.send(data[start : start + 16384])
            time.sleep(0.01)
        found, headers, body = wire.answer()
        assert (found, code(body), headers["connection"]) == (status, reason, "close")
        assert json.loads(body)["outcome"] == "not_committed"
        assert wire.closes(3)


def test_stray_bytes_behind_a_request_do_not_cost_it_its_answer(patient: Live) -> None:
    with Wire(patient) as wire:
        wire.send(receive(0.1) + b"\x00\x01stray")
        assert wire.answer()[0] == 200
        assert wire.closes(3)


@pytest.mark.parametrize(
    "data",
    [
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //status HTTP/1.1\r\n\r\n",
        b"GET /message/%ff%00%2f HTTP/1.1\r\n\r\n",
        b"HEAD /status HTTP/1.1\r\n\r\n",
        b"GET /status HTTP/1.0\r\n\r\n",
        b"GET /status HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /status HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"BREW /status HTTP/1.1\r\n\r\n",
        b"PUT /message HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_odd_requests_get_an_answer_below_500(patient: Live, data: bytes) -> None:
    with Wire(patient) as wire:
        wire.send(data)
        assert wire.answer(to_head=data.startswith(b"HEAD"))[0] < 500


def test_answers_do_not_name_the_server_software(patient: Live) -> None:
    with Wire(patient) as wire:
        wire.send(GET_STATUS)
        _, headers, _ = wire.answer()
        assert "server" not in headers
        assert headers["x-content-type-options"] == "nosniff"


def test_too_many_connections_are_told_so(patient: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    with Wire(patient) as first:
        first.send(GET_STATUS)
        assert first.answer()[0] == 200
        monkeypatch.setattr(server_protocol, "CONNECTIONS", len(patient.server.server_state.connections))
        with Wire(patient) as second:
            status, headers, body = second.answer()
            assert (status, code(body), headers["connection"]) == (503, "too_many_connections", "close")
        first.send(GET_STATUS)
        assert first.answer()[0] == 200


def test_clients_leave_half_of_the_file_descriptors_to_the_log(patient: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    with Wire(patient) as first:
        first.send(GET_STATUS)
        assert first.answer()[0] == 200
        files = 2 * len(patient.server.server_state.connections)
        monkeypatch.setattr(server_protocol.resource, "getrlimit", lambda _: (files, files))
        with Wire(patient) as second:
            assert second.answer()[0] == 503
            monkeypatch.setattr(server_protocol, "REFUSALS", 0)
            with Wire(patient) as third, contextlib.suppress(ConnectionError):
                assert third.socket.recv(1) == b""
        first.send(GET_STATUS)
        assert first.answer()[0] == 200


def test_a_client_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_protocol, "WRITE_STALL_S", 0.2)
    served = Live()
    served.start()
    try:
        with Wire(served) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            asset = b"GET /docs-assets/swagger-ui-bundle.js HTTP/1.1\r\n\r\n"
            wire.send(asset * 8)
            deadline = time.monotonic() + 8
            while served.server.server_state.connections and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not served.server.server_state.connections
    finally:
        served.stop()


def test_stopping_ends_long_polls_with_an_answer() -> None:
    served = Live()
    served.start()
    with Wire(served) as wire, Wire(served) as idle:
        wire.send(put("/topic", b'{"topic":"t"}'))
        assert wire.answer()[0] == 200
        wire.send(receive(20))
        until_asked(served)
        started = time.monotonic()
        served.stop()
        assert time.monotonic() - started < 2.5
        status, _, body = wire.answer()
        assert (status, json.loads(body)) == (200, {"messages": []})
        assert idle.closes(3)


def test_a_port_in_use_is_an_error_to_whoever_started_the_server(patient: Live) -> None:
    with pytest.raises(OSError, match="in use"):
        asyncio.run(listen("127.0.0.1", patient.port, 1))


@pytest.mark.parametrize(
    "request_",
    [b"DELETE /v1/topics/t HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /message/t HTTP/1.1\r\nHost: x\r\n\r\n"],
    ids=["general way", "short way"],
)
def test_what_hangs_when_time_is_over_is_told_that_the_outcome_is_unknown(request_: bytes) -> None:
    served = Live(shutdown_timeout_s=1.0)
    served.start()

    with Wire(served) as wire:
        served.node.hangs = True
        wire.send(request_)
        until_asked(served)
        served.stop()
        status, headers, body = wire.answer()
        if request_.startswith(b"GET /message"):
            assert (headers["rmq-code"], headers["rmq-outcome"]) == ("shutting_down", "unknown")
        else:
            assert (code(body), json.loads(body)["outcome"]) == ("shutting_down", "unknown")
        assert status == 503
