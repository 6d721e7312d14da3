"""Frames are cut the same however the bytes arrive, and a stranger's greeting is refused with the reason."""

from __future__ import annotations

import time

import msgspec
import pytest

from app.transport.frames import (
    HEAD,
    MAGIC,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Frame,
    FrameError,
    FrameReader,
    Hello,
    check_hello,
)


def frame(kind: int, payload: bytes) -> bytes:
    return HEAD.pack(len(payload), kind) + payload


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 64, 10_000])
def test_frames_are_cut_the_same_however_the_bytes_arrive(piece: int) -> None:
    sent = [(Frame.RAFT, b""), (Frame.REQUEST, b"x"), (Frame.RAFT, bytes(300)), (Frame.RESPONSE, b"yz" * 50)]
    stream = b"".join(frame(kind, payload) for kind, payload in sent)
    received: list[tuple[int, bytes]] = []
    reader = FrameReader(lambda kind, payload: received.append((kind, payload)))
    for start in range(0, len(stream), piece):
        reader.feed(stream[start : start + piece])
    assert received == sent


def test_an_impossible_length_is_refused_before_anything_is_buffered() -> None:
    reader = FrameReader(lambda *_: pytest.fail("no frame is complete"))
    with pytest.raises(FrameError, match="largest"):
        reader.feed(HEAD.pack(MAX_FRAME_BYTES + 1, Frame.RAFT))


def hello(**changes: object) -> bytes:
    fields = {"magic": MAGIC, "version": PROTOCOL_VERSION, "cluster": 7, "sender": 1, "to": 0} | changes
    return msgspec.msgpack.encode(Hello(**fields))  # type: ignore[arg-type]


def test_a_peer_of_this_cluster_is_known() -> None:
    assert check_hello(hello(), cluster=7, node=0, peers=frozenset({1, 2})) == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (hello(cluster=8), "another cluster"),
        (hello(to=2), "looks for node 2"),
        (hello(sender=5), "node 5"),
        (hello(version=1), "version 1"),
        (hello(magic="HTTP"), "HTTP"),
        (b"GET / HTTP/1.1", "greeting"),
        (b"", "greeting"),
    ],
)
def test_a_stranger_is_refused_with_the_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        check_hello(payload, cluster=7, node=0, peers=frozenset({1, 2}))


def test_a_large_frame_in_small_pieces_takes_linear_time() -> None:
    frames: list[tuple[int, bytes]] = []
    reader = FrameReader(lambda kind, payload: frames.append((kind, payload)))
    payload = bytes(64 << 20)
    data = memoryview(HEAD.pack(len(payload), Frame.RAFT) + payload)
    started = time.monotonic()
    for start in range(0, len(data), 1 << 15):
        reader.feed(bytes(data[start : start + (1 << 15)]))
    assert frames == [(Frame.RAFT, payload)]
    assert time.monotonic() - started < 5, "copying all that is there for every piece takes a minute"
