"""Frames that need no parser: the library's own parser is asked what it makes of the same bytes."""

from __future__ import annotations

import random

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from app.api import plain_frames

MOST = 70_000


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=mask)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 1000, 65_535])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_short_messages_are_read(size: int, opcode: Opcode) -> None:
    payload = random.Random(size).randbytes(size)
    data = frame(opcode, payload)
    assert plain_frames.read(data * 3, MOST) == ([payload] * 3, 3 * len(data))
    assert plain_frames.size(data) == len(data)


@pytest.mark.parametrize(
    "other",
    [
        frame(Opcode.PING, b"x"), frame(Opcode.CONT, b"x"),
        frame(Opcode.TEXT, b"x", fin=False), frame(Opcode.TEXT, b"x", mask=False),
        frame(Opcode.TEXT, bytes(65_536)), frame(Opcode.TEXT, b"too long" * 20), b"\xc1" + frame(Opcode.TEXT, b"x")[1:],
        b"\x83" + frame(Opcode.TEXT, b"x")[1:],
    ],
    ids=["ping", "rest", "fragment", "unmasked", "long", "too long", "extension", "unknown"],
)  # fmt: skip
def test_what_is_not_plain_is_left_where_it_begins(other: bytes) -> None:
    first = frame(Opcode.TEXT, b"first")
    assert plain_frames.read(first + other + first, 100) == ([b"first"], len(first))
    assert plain_frames.size(other) == len(other)


@pytest.mark.parametrize("payload", [b"", b"abc", bytes(200), bytes(70_000)])
def test_what_is_not_whole_is_left_and_its_size_is_known_from_its_head(payload: bytes) -> None:
    data = frame(Opcode.TEXT, payload)
    head = len(data) - len(payload) - 4
    for end in {*range(head + 5), len(data) - 1} - {len(data)}:
        assert plain_frames.read(data[:end], MOST) == ([], 0)
        assert plain_frames.size(data[:end]) == (len(data) if end >= head else None)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 100_000])
def test_what_is_written_is_what_the_library_reads(size: int) -> None:
    client = ClientProtocol(parse_uri("ws://x/"), state=State.OPEN)
    payload = b"x" * size
    client.receive_data(plain_frames.text(payload))
    assert client.events_received() == [Frame(Opcode.TEXT, payload)]


@pytest.mark.parametrize("seed", range(200))
def test_it_reads_what_the_library_would(seed: int) -> None:
    """Frames of all kinds, cut off anywhere: what was read, and what the library makes of the rest, are all there."""
    rng = random.Random(seed)
    kinds = (Opcode.TEXT, Opcode.BINARY, Opcode.PING)
    data = b"".join(frame(rng.choice(kinds), rng.randbytes(rng.choice((0, 5, 100)))) for _ in range(rng.randint(1, 20)))
    data = data[: rng.randint(0, len(data))]
    whole, rest = (ServerProtocol(state=State.OPEN) for _ in range(2))
    payloads, end = plain_frames.read(data, MOST)
    rest.receive_data(data[end:])
    whole.receive_data(data)
    expected = [event.data for event in whole.events_received() if isinstance(event, Frame)]
    left = [event.data for event in rest.events_received() if isinstance(event, Frame)]
    assert [*payloads, *left] == expected
