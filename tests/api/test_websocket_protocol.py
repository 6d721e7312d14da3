"""The WebSocket protocol against clients that are broken, slow or hostile, over raw sockets."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from app.api import plain_frames
from app.api.websocket_protocol import FRAGMENTS_MAX, PIECE_BYTES, WebSocketProtocol
from tests.api.conftest import Live

TEXT, BINARY, CONT, CLOSE, PING = 1, 2, 0, 8, 9


@pytest.fixture
def live() -> Iterator[Live]:
    with Live(shutdown_timeout_s=30.0) as found:
        httpx.put(f"{found.url}/v1/topics/t").raise_for_status()
        yield found


def handshake(live: Live, *lines: str, body: bytes = b"") -> socket.socket:
    """A connection on which a handshake was sent, with these lines more."""
    sock = socket.create_connection(("127.0.0.1", live.port), timeout=10)
    key = base64.b64encode(os.urandom(16)).decode()
    head = [
        "GET /v1/session HTTP/1.1", f"Host: 127.0.0.1:{live.port}", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *lines,
    ]  # fmt: skip
    sock.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    return sock


UPGRADE = (
    b"GET /v1/session HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def opened(live: Live) -> socket.socket:
    """A session, its hello read."""
    return hello(handshake(live))


def hello(sock: socket.socket) -> socket.socket:
    """The session for which a handshake was sent, its hello read."""
    said = b""
    while b"frame_bytes_max" not in said:
        said += sock.recv(4096)
    assert said.startswith(b"HTTP/1.1 101")
    return sock


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    head = bytes([(0x80 if fin else 0) | opcode])
    length, bit = len(payload), 0x80 if mask else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", length)
    return head + (bytes(4) if mask else b"") + payload


def rest(sock: socket.socket, said: bytearray | None = None) -> bytes:
    """Everything until the end; `said` has it as it comes."""
    said = bytearray() if said is None else said
    try:
        while piece := sock.recv(1 << 16):
            said += piece
    except ConnectionResetError:
        pass
    return bytes(said)


def until(live: Live, name: str, value: float, seconds: float = 60) -> None:
    """Wait until a metric has this value."""
    deadline = time.monotonic() + seconds
    while True:
        lines = httpx.get(f"{live.url}/metrics").text.splitlines()
        if float(next(line for line in lines if line.startswith(f"{name} ")).split()[1]) == value:
            return
        assert time.monotonic() < deadline, f"{name} is never {value}"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Content-Length: 2"], b"hi"), (["Transfer-Encoding: chunked"], b"2\r\nhi\r\n0\r\n\r\n"),
        (["Cookie: " + "x" * 9000], b""),
    ],
)  # fmt: skip
def test_a_request_that_is_no_handshake_is_refused_at_once(live: Live, lines: list[str], body: bytes) -> None:
    with handshake(live, *lines, body=body) as sock:
        said = rest(sock)
    assert said.startswith(b"HTTP/1.1 400 ") and b"invalid_request" in said


def test_an_upgrade_waits_for_the_answer_before(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as sock:
        body = b'{"wait_s": 0.5}'
        path = "POST /v1/topics/t/messages:receive HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        sock.sendall(f"{path}Content-Length: {len(body)}\r\n\r\n".encode() + body + UPGRADE)
        said = rest(sock)
    assert b"101 Switching" not in said


def test_a_session_behind_a_request_outlives_the_time_for_the_next_one(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a review: the wait for a next request, which cannot come any more, went on, and would cut it off."""
    monkeypatch.setattr(live.server.config, "timeout_keep_alive", 0.2)
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as sock:
        sock.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        sock.sendall(UPGRADE)
        hello(sock).settimeout(0.6)
        with pytest.raises(TimeoutError):
            sock.recv(4096)


@pytest.mark.parametrize("last", [frame(CLOSE, b"\x03\xe8"), frame(TEXT, b"{}", mask=False), b""], ids=str)
def test_a_client_that_goes_with_much_unread_is_cut_off_and_gives_back(live: Live, last: bytes) -> None:
    httpx.post(
        f"{live.url}/v1/topics/t/messages", json={"messages": [{"body": "x" * 200_000} for _ in range(5)]}
    ).raise_for_status()
    for _ in range(3):
        httpx.post(f"{live.url}/v1/topics/t/messages", json={"body": "x" * 1_000_000}).raise_for_status()
    with opened(live) as sock:
        sock.sendall(frame(TEXT, b'{"op": "consume", "id": 1, "topic": "t", "credit": 100}'))
        while not counts(live)["leased"]:
            time.sleep(0.02)
        if last:
            sock.sendall(last)
        else:
            sock.shutdown(socket.SHUT_WR)
        until(live, "rmq_sessions", 0)
    assert (counts(live)["ready"], counts(live)["leased"]) == (8, 0)


def counts(live: Live) -> dict[str, int]:
    """What the topic holds."""
    found: dict[str, int] = httpx.get(f"{live.url}/v1/topics/t").json()["subscriptions"][0]
    return found


def test_what_was_read_is_carried_out_though_the_end_was_bad(live: Live) -> None:
    publishes = b"".join(
        frame(TEXT, b'{"op": "publish", "id": %d, "topic": "t", "body": %d}' % (n, n)) for n in range(2000)
    )
    with opened(live) as sock:
        live.node.slow_s = 0.02
        sock.sendall(publishes + frame(TEXT, b"{}", mask=False))
        until(live, "rmq_sessions", 0)
    assert httpx.get(f"{live.url}/v1/topics/t").json()["messages"] == 2000


def test_fragments_have_a_number_that_is_enough(live: Live) -> None:
    with opened(live) as sock:
        text = b'{"op": "cancel", "id": 5}'
        sock.sendall(frame(TEXT, text[:5], fin=False) + frame(CONT, text[5:9], fin=False) + frame(CONT, text[9:]))
        assert b"consumer_not_found" in sock.recv(4096)
        try:
            sock.sendall(frame(TEXT, b"{", fin=False) + frame(CONT, b"", fin=False) * (FRAGMENTS_MAX + 1))
            said = rest(sock)
        except (ConnectionResetError, BrokenPipeError):
            said = b""
    assert b"too many fragments" in said or not said
    until(live, "rmq_sessions", 0)


@pytest.mark.parametrize("seed", range(8))
def test_frames_may_come_in_any_pieces(live: Live, seed: int) -> None:
    """Plain ones, long ones, fragments and pings between them: each is answered, in order."""
    rng = random.Random(seed)
    sent = b""
    for number in range(60):
        body = rng.choice((b"1", b'"%b"' % (b"x" * 200), b'"%b"' % (b"x" * 70_000)))
        text = b'{"op": "publish", "id": %d, "topic": "t", "body": %b}' % (number, body)
        cut = rng.randint(1, len(text) - 1)
        kinds = (
            frame(TEXT, text), frame(BINARY, text), frame(PING, b"?") + frame(TEXT, text),
            frame(TEXT, text[:cut], fin=False) + frame(PING, b"!") + frame(CONT, text[cut:]),
        )  # fmt: skip
        sent += rng.choice(kinds)
    at, sock = 0, opened(live)
    heard = bytearray()
    answers = threading.Thread(target=rest, args=(sock, heard))
    answers.start()
    while at < len(sent):
        step = rng.choice((1, 2, 3, 7, 1000, 20_000, 100_000))
        sock.sendall(sent[at : at + step])
        at += step
        if rng.random() < 0.2:
            time.sleep(0.002)
    deadline = time.monotonic() + 20
    while heard.count(b'"op":"published"') < 60 and time.monotonic() < deadline:
        time.sleep(0.01)
    sock.sendall(frame(CLOSE, b"\x03\xe8"))
    answers.join(20)
    sock.close()
    assert [int(number) for number in re.findall(rb'"id":(\d+)}', heard)] == list(range(60))
    assert httpx.get(f"{live.url}/v1/topics/t").json()["messages"] == 60


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_frame_may_begin_at_the_end_of_a_piece(live: Live, cut: int) -> None:
    """Found by a review: its first bytes were put behind those that followed."""
    text = b'{"op": "publish", "id": %d, "topic": "t", "body": "%b"}'
    first = b"x" * (PIECE_BYTES - cut - len(frame(TEXT, text % (1, b"y" * 200))) + 200)
    whole = [frame(TEXT, text % (1, first)), *(frame(TEXT, text % (number, b"y" * 200)) for number in (2, 3))]
    assert len(whole[0]) == PIECE_BYTES - cut
    with opened(live) as sock:
        sock.sendall(b"".join(whole))
        said = b""
        while said.count(b'"op":"published"') < 3:
            piece = sock.recv(1 << 16)
            assert piece, said
            said += piece


def test_text_that_is_none_is_answered(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    with opened(live) as sock:
        sock.sendall(frame(TEXT, b'{"op": "\xff"}'))
        assert b"malformed_json" in sock.recv(4096)
    assert not caplog.records


def test_many_tiny_frames_are_parsed_a_piece_at_a_time(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    read = plain_frames.read

    def see(data: bytes, most_bytes: int) -> tuple[list[bytes], int]:
        sizes.append(len(data))
        return read(data, most_bytes)

    with opened(live) as sock:
        monkeypatch.setattr(plain_frames, "read", see)
        tiny, asked = frame(TEXT, b"{}"), frame(TEXT, b'{"op": "cancel", "id": 5}')
        reading = threading.Thread(target=rest, args=(sock,))
        reading.start()
        sock.sendall(tiny * 20_000 + asked + frame(CLOSE, b"\x03\xe8"))
        reading.join(20)
        assert not reading.is_alive()
    assert max(sizes) <= PIECE_BYTES and sum(sizes) >= len(tiny) * 20_000


def test_pings_that_nobody_reads_the_answers_of_fill_no_memory(live: Live) -> None:
    with opened(live) as sock:
        sock.settimeout(0.5)
        pings = frame(PING, b"x" * 100) * 1000
        end = time.monotonic() + 1
        try:
            while time.monotonic() < end:
                sock.sendall(pings)
        except TimeoutError:
            pass
        connection = live.run(lambda: _buffered(live))
    assert connection < 1 << 20


async def _buffered(live: Live) -> int:
    found = await _only(live)
    return found.transport.get_write_buffer_size() + len(found._rest)


@pytest.mark.parametrize("chatty", [True, False])
def test_who_is_heard_is_alive_though_its_pong_is_late(live: Live, chatty: bool) -> None:
    with opened(live) as sock:
        protocol = live.run(lambda: _only(live))
        live.run(lambda: _soon(protocol, 0.4, 4.0 if chatty else 0.4))
        end, is_cut = time.monotonic() + (6 if chatty else 60), False
        while time.monotonic() < end and not is_cut:
            if chatty:
                sock.sendall(frame(TEXT, b'{"op": "cancel", "id": 1}'))
            time.sleep(0.02)
            is_cut = protocol.transport.is_closing()
        assert is_cut is not chatty


async def _only(live: Live) -> WebSocketProtocol:
    [found] = [each for each in live.server.server_state.connections if isinstance(each, WebSocketProtocol)]
    return found


async def _soon(protocol: WebSocketProtocol, interval_s: float, timeout_s: float) -> None:
    protocol.stop_keepalive()
    protocol.ping_interval, protocol.ping_timeout = interval_s, timeout_s
    protocol.schedule_ping()


def test_a_stop_is_not_held_up_by_anybody(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    httpx.post(f"{live.url}/v1/topics/t/messages", json={"body": "x" * 1_000_000}).raise_for_status()
    caplog.set_level(logging.ERROR)
    deaf, closing = opened(live), opened(live)
    for sock in (deaf, closing):
        sock.sendall(frame(TEXT, b'{"op": "consume", "id": 1, "topic": "t", "credit": 100}'))
    closing.sendall(frame(CLOSE, b"\x03\xe8"))
    half = handshake(live, "Content-Length: 3")
    begun = time.monotonic()
    live.stop()
    assert time.monotonic() - begun < 4
    for sock in (deaf, closing, half):
        sock.close()
    assert not caplog.records
    live.stop = lambda: None  # type: ignore[method-assign]


class Full(asyncio.Transport):
    """A transport that holds 64 KiB until somebody says that the client has read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.held = 0
        self.protocol: WebSocketProtocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.held += len(data)
        if self.held > 1 << 16:
            self.protocol.pause_writing()

    def read_by_client(self) -> bytes:
        """All that was written, and room for more."""
        found, self.written, self.held = bytes(self.written), bytearray(), 0
        self.protocol.resume_writing()
        return found

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@pytest.mark.anyio
async def test_a_ping_takes_no_frame_along_that_was_said_while_the_transport_filled_again() -> None:
    said: list[Callable[[object], Awaitable[None]]] = []

    async def application(scope: object, receive: Callable[[], Awaitable[dict[str, str]]], send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": None})
        said.append(send)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def say(text: str) -> None:
        await said[0]({"type": "websocket.send", "frames": [text.encode()]})

    config = uvicorn.Config(application, ws_per_message_deflate=False, lifespan="off", log_config=None)
    config.load()
    transport = Full()
    protocol = transport.protocol = WebSocketProtocol(config, ServerState(), {})
    protocol.connection_made(transport)
    client = ClientProtocol(parse_uri("ws://x/"))
    client.send_request(client.connect())
    protocol.data_received(b"".join(client.data_to_send()))
    while not said:  # noqa: ASYNC110
        await asyncio.sleep(0)
    client.receive_data(transport.read_by_client())
    protocol.pause_writing()
    saying = [asyncio.ensure_future(say("A" * 70_000)), asyncio.ensure_future(say("B"))]
    await asyncio.sleep(0.01)
    transport.read_by_client()
    await asyncio.sleep(0)
    client.send_ping(b"?")
    protocol.data_received(b"".join(client.data_to_send()))
    while not all(each.done() for each in saying):
        client.receive_data(transport.read_by_client())
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    client.receive_data(transport.read_by_client())
    frames = [event for event in client.events_received() if isinstance(event, Frame) and event.opcode == TEXT]
    assert [bytes(frame.data[:1]) for frame in frames] == [b"A", b"B"]
    protocol.connection_lost(None)
