"""Heads that were read before: what is kept, what is found again, and that the connection does not notice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.api import heads
from app.api.heads import Head, Heads
from app.api.server_protocol import LimitedProtocol
from tests.api.conftest import Live
from tests.api.test_server import GET_STATUS, Wire, code, put, receive

PUBLISH = put("/message", b'{"topic": "t", "message": "m"}')
HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"


@pytest.fixture
def kept() -> Heads:
    return Heads()


def said(size: int = 3, headers: int = 2) -> Head:
    endpoint: Any = None
    return Head({"headers": [(b"name", b"value")] * headers}, endpoint, (), size)


# -- the memory -------------------------------------------------------------------------------------------------


def test_a_head_is_found_again_with_whatever_body_it_tells_of(kept: Heads) -> None:
    kept.keep(HEAD + b"one", said(), b"one")
    assert kept.find(HEAD + b"two") == (said(), b"two")
    assert kept.find(HEAD + b"\r\n\r") == (said(), b"\r\n\r")


@pytest.mark.parametrize(
    "data",
    [
        HEAD,
        HEAD + b"tw",
        HEAD + b"two+",
        HEAD + b"two" + HEAD + b"two",
        HEAD.replace(b"x", b"y") + b"two",
        HEAD.lower() + b"two",
        b"\r\n" + HEAD + b"two",
        HEAD[:-4],
        b"",
        b"\r\n\r\n",
    ],
)
def test_what_is_not_just_that_head_and_its_body_is_not_found(kept: Heads, data: bytes) -> None:
    kept.keep(HEAD + b"one", said(), b"one")
    assert kept.find(data) is None


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (HEAD + b"onetwo", b"one"),  # more than one request
        (HEAD.replace(b"Host: x\r\n", b"Host: x\n") + b"one", b"one"),
        (HEAD.replace(b"Host: x\r\n", b"Host: x\r\n y\r\n") + b"one", b"one"),  # folded
        (HEAD.replace(b"Host: x\r\n", b"Host: x\r\n\n") + b"one", b"one"),
        (HEAD.replace(b"\r\n\r\n", b"\n\n") + b"\r\n\r\n", b"\r\n\r\n"),
        (b"\r\n\r\n" + HEAD + b"one", b"one"),
        (HEAD.replace(b"x", b"x" * heads.BYTES) + b"one", b"one"),
    ],
)
def test_what_might_be_read_differently_is_not_kept(kept: Heads, data: bytes, body: bytes) -> None:
    kept.keep(data, said(), body)
    assert not kept._heads


def numbered(number: int) -> bytes:
    return HEAD.replace(b"/a", b"/%d" % number) + b"one"


def test_where_there_is_no_room_the_oldest_gives_way_to_few(kept: Heads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MOST", 8)
    for number in range(8 + heads.FEW):
        kept.keep(numbered(number), said(), b"one")
    there = [number for number in range(8 + heads.FEW) if kept.find(numbered(number))]
    assert there == [1, 2, 3, 4, 5, 6, 7, 7 + heads.FEW]


def test_of_more_in_turn_than_there_is_room_for_many_are_found(kept: Heads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MOST", 80)
    found = 0
    for _ in range(10):
        for number in range(100):
            found += kept.find(numbered(number)) is not None
            kept.keep(numbered(number), said(), b"one")
    assert found > 9 * 50


KEYED = HEAD.replace(b"Host: x", b"Host: x\r\nIdempotency-Key: one-1")


def keyed(*keys: bytes, name: bytes = b"idempotency-key") -> Head:
    headers = [(b"host", b"x"), *((name, key) for key in keys), (b"content-length", b"3")]
    return said()._replace(scope={"method": "POST", "headers": headers})


@pytest.mark.parametrize("name", [b"Idempotency-Key", b"idempotency-key", b"Traceparent", b"X-Request-ID"])
def test_what_is_another_each_time_is_cut_out_and_put_in_again(kept: Heads, name: bytes) -> None:
    sent, lower = KEYED.replace(b"Idempotency-Key", name), name.lower()
    kept.keep(sent + b"one", keyed(b"one-1", name=lower), b"one")
    assert kept.find(sent.replace(b"one-1", b"!~2") + b"two") == (keyed(b"!~2", name=lower), b"two")
    assert kept.find(sent + b"one") == (keyed(b"one-1", name=lower), b"one")


def test_several_of_them_keep_their_order(kept: Heads) -> None:
    def sent(key: bytes, parent: bytes) -> bytes:
        return KEYED.replace(b"one-1", key).replace(b"\r\n\r\n", b"\r\ntraceparent: %b\r\n\r\n" % parent)

    def head(key: bytes, parent: bytes) -> Head:
        return keyed(key)._replace(scope={"headers": [*keyed(key).scope["headers"], (b"traceparent", parent)]})

    kept.keep(sent(b"k1", b"p1") + b"one", head(b"k1", b"p1"), b"one")
    assert kept.find(sent(b"k2", b"p2") + b"two") == (head(b"k2", b"p2"), b"two")


@pytest.mark.parametrize(
    "value",
    [
        b"", b" ", b" one-2", b"one-2 ", b"one 2", b"one\t2", b"one\n2", b"one\r2", b"one\r\n 2", b"\x80", b"\xff\xff",
        b"\x00", b"\x7f", b"2\r\nIdempotency-Key: 3", b"2\r\nX: 3", b"2\r\n\r\n", b"x" * heads.BYTES,
    ],
)  # fmt: skip
def test_a_key_that_is_not_one_plain_word_is_for_the_parser(kept: Heads, value: bytes) -> None:
    kept.keep(KEYED + b"one", keyed(b"one-1"), b"one")
    assert kept.find(KEYED.replace(b"one-1", value) + b"two") is None


@pytest.mark.parametrize(
    "data",
    [
        HEAD,
        KEYED.replace(b"Idempotency-Key: ", b"Idempotency-Key:"),
        KEYED.replace(b"Idempotency-Key: ", b"Idempotency-Key : "),
        KEYED.replace(b"Idempotency-Key", b"idempotency-key"),
        KEYED.replace(b"Idempotency-Key", b"X-Request-Id"),
        KEYED.replace(b"Host: x", b"Host: y"),
        KEYED.replace(b"Host: x", b"Host: x\r\nX-Request-Id: 1"),
    ],
)
def test_but_for_the_key_the_head_is_the_same(kept: Heads, data: bytes) -> None:
    kept.keep(KEYED + b"one", keyed(b"one-1"), b"one")
    assert kept.find(data + b"two") is None


@pytest.mark.parametrize("keys", [(), (b"one",), (b"one-1", b"one-1"), (b"one-1 2",)])
def test_where_the_parser_saw_another_key_it_is_not_kept(kept: Heads, keys: tuple[bytes, ...]) -> None:
    kept.keep(KEYED.replace(b"x\r\n", b"x\r\n" + b"a: b\r\n" * (len(keys) - 1)) + b"one", keyed(*keys), b"one")
    assert not kept._heads


def test_what_has_many_headers_is_not_kept(kept: Heads) -> None:
    for count in (heads.HEADERS, heads.HEADERS + 1):
        data = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * count + b"\r\n"
        kept.keep(data, said(0, count), b"")
        assert (kept.find(data) is not None) == (count == heads.HEADERS)


# -- on a connection --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served() -> Iterator[Live]:
    with Live(request_timeout_s=0.4) as live:
        with Wire(live) as wire:
            for topic in (b"t", b"empty"):
                wire.send(put("/topic", b'{"topic": "%b"}' % topic))
                assert wire.answer()[0] == 200
        yield live


@pytest.fixture
def parsed(served: Live, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What went to the parser since the head of `PUBLISH` is known."""
    with Wire(served) as wire:
        wire.send(PUBLISH)
        assert wire.answer()[0] == 200
    seen: list[bytes] = []
    parse = LimitedProtocol.data_received

    def see(protocol: LimitedProtocol, data: bytes) -> None:
        seen.append(data)
        parse(protocol, data)

    monkeypatch.setattr(LimitedProtocol, "data_received", see)
    return seen


def test_who_sends_it_again_needs_no_parser(served: Live, parsed: list[bytes]) -> None:
    with Wire(served) as wire:
        for message in (b'"a"', b'"b"', b"nul"):
            wire.send(PUBLISH.replace(b'"m"', message))
            assert wire.answer()[0] == (400 if message == b"nul" else 200)
    assert parsed == []
    with Wire(served) as wire:
        wire.send(PUBLISH.replace(b"Host", b"Other"))
        assert wire.answer()[0] == 200
    assert len(parsed) == 1


def test_keys_reach_the_queue_without_the_parser(served: Live, parsed: list[bytes]) -> None:
    def publish(key: bytes, message: bytes) -> bytes:
        body = b'{"body": "%b"}' % message
        head = b"POST /v1/topics/t/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        return head + b"Idempotency-Key: %b\r\nContent-Length: %d\r\n\r\n" % (key, len(body)) + body

    with Wire(served) as wire:
        answers = []
        for request in (publish(b"k1", b"a"), publish(b"k2", b"b"), publish(b"k2", b"b"), publish(b"k1", b"b")):
            wire.send(request)
            answers.append(wire.answer())
        assert [status for status, _, _ in answers] == [201, 201, 201, 422]
        first, second, again = (json.loads(body)["messages"][0] for _, _, body in answers[:3])
        assert (second["sequence"], second["duplicate"]) == (first["sequence"] + 1, False)
        assert (again["sequence"], again["duplicate"]) == (second["sequence"], True)
        assert code(answers[3][2]) == "key_reused"
        assert len(parsed) == 1
        wire.send(publish(b"k 3", b"a"))
        assert code(wire.answer()[2]) == "invalid_header"
        assert len(parsed) == 2


def test_the_parser_reads_on_where_it_was(served: Live, parsed: list[bytes]) -> None:
    pieces = PUBLISH[:30], PUBLISH[30:], PUBLISH, PUBLISH + GET_STATUS, PUBLISH, GET_STATUS, PUBLISH, PUBLISH[:-3]
    with Wire(served) as wire:
        for piece in pieces:
            wire.send(piece)
            time.sleep(0.01)
        statuses = [wire.answer()[0] for _ in range(7)]
        assert statuses == [200] * 7
        wire.send(PUBLISH[-3:] + b"nonsense\r\n\r\n")
        assert wire.answer()[0] == 200
        assert wire.closes(3)
    assert PUBLISH[:30] in parsed and PUBLISH[:-3] in parsed


def test_what_looks_like_it_in_the_midst_of_another_head_belongs_to_that(served: Live, parsed: list[bytes]) -> None:
    with Wire(served) as wire:
        wire.send(b"GET /status HTTP/1.1\r\nX: ")
        time.sleep(0.05)
        wire.send(PUBLISH)
        assert "term" in json.loads(wire.answer()[2])
        assert not wire.closes(0.6)
    assert PUBLISH in parsed


def test_it_waits_for_the_answer_before(served: Live, parsed: list[bytes]) -> None:
    with Wire(served) as wire:
        wire.send(receive(0.2).replace(b"/t/", b"/empty/"))
        time.sleep(0.05)
        wire.send(PUBLISH)
        assert json.loads(wire.answer()[2]) == {"messages": []}
        assert wire.answer()[0] == 200
    assert PUBLISH in parsed


def test_time_counts_from_the_last_request_on(served: Live, parsed: list[bytes]) -> None:
    with Wire(served) as wire:
        wire.send(PUBLISH)
        assert wire.answer()[0] == 200
        assert not wire.closes(0.6), "the time for a first request is over, which has come"
    with Wire(served) as wire:
        wire.send(PUBLISH)
        assert wire.answer()[0] == 200
        wire.send(PUBLISH[:-1])
        status, _, body = wire.answer()
        assert (status, code(body)) == (408, "request_timeout")
        assert wire.closes(3)


def test_a_wish_to_close_is_read_each_time(served: Live, parsed: list[bytes]) -> None:
    """Found by a review: the parser has to know that nothing more comes. Else what came nevertheless while the answer
    was awaited was refused, in the place of that answer."""
    closing = receive(0.2).replace(b"/t/", b"/empty/").replace(b"Host: x", b"Connection: close")
    for _ in range(2):
        with Wire(served) as wire:
            wire.send(closing)
            time.sleep(0.05)
            wire.send(b"PUT /message HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
            status, headers, _ = wire.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert wire.closes(3)
    assert parsed.count(closing) == 2


def test_a_connection_at_rest_holds_no_body(served: Live, parsed: list[bytes]) -> None:
    """Found by a review: 60 KB for each of up to 4,096 clients, until their next request."""
    with Wire(served) as wire:
        wire.send(PUBLISH)
        assert wire.answer()[0] == 200
        cycles = [each.cycle for each in list(served.server.server_state.connections)]
        assert cycles and not any(cycle.body for cycle in cycles)
