"""Hot requests on their short way: answered like on the general one, whatever else comes on the connection."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import time
import weakref
from collections.abc import Iterator

import pytest

from app.api.endpoint import HotPaths
from app.api.short_way import BODY_BYTES, ShortCycle, ShortWayProtocol
from app.api.stepper import Stepper
from tests.api.conftest import Live
from tests.api.test_server import GET_STATUS, Wire, put, receive, until_asked

STAMPS = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]+Z")
MESSAGES = "/v1/topics/t/messages"


def post(path: str, body: bytes, *headers: str) -> bytes:
    return put(path, body, "Content-Type: application/json", *headers).replace(b"PUT", b"POST", 1)


TAKE = b"GET /message/t HTTP/1.1\r\nHost: x\r\n\r\n"
REQUESTS = [
    post(MESSAGES, b'{"body": 1, "headers": {"a": "b"}}'),
    post(MESSAGES, b'{"messages": [{"body": "2"}, {"body": null}]}', "Idempotency-Key: k"),
    post(MESSAGES, b'{"messages": [{"body": "2"}, {"body": null}]}', "Idempotency-Key: k"),
    post(MESSAGES, b'{"body": 3}', "Idempotency-Key: k"),
    post(MESSAGES + "?delay_s=0", b'{"body": 4}'),
    post(MESSAGES, b'{"body": 4'),
    post(MESSAGES, b'{"body": 4, "body": 5}'),
    post(MESSAGES, b""),
    post("/v1/topics/none/messages", b'{"body": 4}'),
    post("/v1/topics/%74/messages", b'{"body": 6}'),
    post("/v1/topics/a b/messages", b'{"body": 6}'),
    put(MESSAGES, b'{"body": 4}'),
    post(MESSAGES, b"\0\1", "Content-Type: application/octet-stream"),
    post(MESSAGES, b'{"body": "%b"}' % (b"x" * BODY_BYTES)),
    post(f"{MESSAGES}:receive", b'{"max": 2}'),
    post(f"{MESSAGES}:receive", b'{"ack": ["b-1-0-7-1"]}'),
    post(f"{MESSAGES}:ack", b'{"tokens": ["a"]}'),
    post(f"{MESSAGES}:nack", b"[]"),
    put("/message", b'{"topic": "t", "message": "\xc3\xa9"}'),
    put("/message", b'{"topic": "none", "message": ""}'),
    TAKE,
    TAKE.replace(b"Host", b"X-Request-Id: r\r\nHost"),
    TAKE.replace(b"/t", b"/none"),
    TAKE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    TAKE.replace(b"Host: x", b"Connection: close"),
    b"GET /message/t HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]


@pytest.fixture(scope="module")
def short() -> Iterator[Live]:
    with Live() as served:
        yield served


@pytest.fixture(scope="module")
def general() -> Iterator[Live]:
    """The same without short ways."""
    with Live() as served:
        protocol = served.server.config.http_protocol_class
        assert issubclass(protocol, ShortWayProtocol)
        protocol.hot_paths = HotPaths()
        yield served


@pytest.fixture(scope="module", autouse=True)
def topics(short: Live, general: Live) -> None:
    for served in (short, general):
        with Wire(served) as wire:
            wire.send(put("/topic", b'{"topic": "t"}'))
            assert wire.answer()[0] == 200


def ways(served: Live) -> set[type]:
    """The kinds of what the connections work on, or have worked on last."""
    return {type(getattr(each, "cycle", None)) for each in list(served.server.server_state.connections)}


@pytest.mark.parametrize("pieces", [1, 1, 2, 7])
def test_both_ways_answer_alike(short: Live, general: Live, pieces: int) -> None:
    """The second time each head was read before."""
    for request in REQUESTS:
        said = []
        for served in (short, general):
            with Wire(served) as wire:
                size = -(-len(request) // pieces)
                for start in range(0, len(request), size):
                    wire.send(request[start : start + size])
                    time.sleep(0.002 if pieces > 1 else 0)
                status, headers, body = wire.answer()
                headers.pop("date")
                said.append((status, headers, STAMPS.sub(b"", body), wire.closes(0.05)))
        assert said[0] == said[1], request


def test_the_way_is_short_where_nothing_is_peculiar(short: Live, general: Live) -> None:
    for served, cycle in ((short, True), (general, False)):
        with Wire(served) as wire:
            for request in (TAKE, post(MESSAGES, b'{"body": 1}'), GET_STATUS):
                wire.send(request)
                wire.answer()
                assert (ShortCycle in ways(served)) == (cycle and request != GET_STATUS)


def test_answers_come_in_order_whatever_way_each_takes(short: Live) -> None:
    publish = put("/message", b'{"topic": "t", "message": "m"}')
    with Wire(short) as wire:
        for sent in (publish + GET_STATUS + TAKE, GET_STATUS + TAKE + publish, receive(0.3) + publish + GET_STATUS):
            wire.send(sent)
            statuses = [wire.answer()[0] for _ in range(3)]
            assert statuses == [200, 200, 200]


def test_what_comes_behind_a_hot_request_does_not_cost_it_its_answer(short: Live) -> None:
    with Wire(short) as wire:
        wire.send(TAKE + b"\0\1nonsense\r\n\r\n")
        assert wire.answer()[0] == 200
        assert wire.closes(3)


def test_a_body_that_breaks_off_reaches_no_handler(short: Live) -> None:
    submitted = short.node.submitted
    with Wire(short) as wire:
        wire.send(put("/message", b'{"topic": "t", "message": "m"}')[:-5])
        deadline = time.monotonic() + 30
        while ShortCycle not in ways(short):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    while ShortCycle in ways(short):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert short.node.submitted == submitted


def test_who_hangs_up_before_the_answer_costs_nobody_else_theirs(short: Live) -> None:
    short.node.slow_s = 0.2
    try:
        with Wire(short) as wire:
            wire.send(put("/message", b'{"topic": "t", "message": "m"}'))
            until_asked(short)
    finally:
        short.node.slow_s = 0.0
    with Wire(short) as wire:
        wire.send(TAKE)
        assert wire.answer()[0] == 200


def test_a_defect_is_said_to_be_one(short: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(short.node, "apply", break_down)
    with Wire(short) as wire:
        wire.send(post(MESSAGES, b'{"body": 1}'))
        status, _, body = wire.answer()
        assert (status, json.loads(body)["code"], json.loads(body)["outcome"]) == (500, "internal", "unknown")


def test_a_defect_behind_the_handler_leaves_nobody_waiting(short: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ShortCycle, "_respond", break_down)
    with Wire(short) as wire:
        wire.send(TAKE)
        assert wire.closes(30)


def test_a_connection_that_is_over_is_gone_without_the_collector(short: Live) -> None:
    def protocols() -> list[weakref.ref[object]]:
        return [weakref.ref(each) for each in list(short.server.server_state.connections)]

    gc.collect()
    gc.disable()
    try:
        with Wire(short) as wire:
            wire.send(TAKE)
            assert wire.answer()[0] == 200
            found = protocols()
            assert found
        deadline = time.monotonic() + 30
        while any(each() is not None for each in found):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        gc.enable()


def test_a_stepped_coroutine_waits_sleeps_and_ends() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[object] = []
        future = loop.create_future()

        async def work() -> None:
            seen.append(await future)
            await asyncio.sleep(0)
            seen.append(await asyncio.ensure_future(asyncio.sleep(0.001, "slept")))
            with_task = asyncio.current_task()
            seen.append(with_task)

        stepper = Stepper(work(), seen.append)
        stepper.step()
        assert seen == []
        future.set_result("there")
        while stepper not in seen:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert seen == ["there", "slept", None, stepper]

    asyncio.run(main())


def test_a_stepped_coroutine_that_is_cancelled_may_still_say_something() -> None:
    async def main() -> None:
        seen: list[object] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                seen.append("cancelled")

        stepper = Stepper(work(), seen.append)
        stepper.step()
        assert stepper.cancel()
        while stepper not in seen:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert seen == ["cancelled", stepper]

    asyncio.run(main())


@pytest.mark.parametrize("waits", [True, False])
def test_a_cancel_that_comes_too_late_for_what_is_waited_for_counts_at_the_next_step(waits: bool) -> None:
    async def main() -> None:
        seen: list[object] = []
        future = asyncio.get_running_loop().create_future()

        async def work() -> None:
            try:
                await (future if waits else asyncio.sleep(0))
                seen.append("went on")
            except asyncio.CancelledError:
                seen.append("cancelled")

        stepper = Stepper(work(), seen.append)
        stepper.step()
        future.set_result(None)
        assert stepper.cancel()
        while stepper not in seen:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert seen == ["cancelled", stepper]

    asyncio.run(main())


def test_what_a_stepped_coroutine_raises_ends_it_and_is_not_hidden() -> None:
    async def main() -> None:
        ended: list[Stepper] = []

        async def work() -> None:
            raise ZeroDivisionError

        stepper = Stepper(work(), ended.append)
        with pytest.raises(ZeroDivisionError):
            stepper.step()
        assert ended == [stepper]

    asyncio.run(main())
