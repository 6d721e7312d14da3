"""The session: publishes and their confirms, frames that cannot be taken, and how it ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
import websockets

from app.api.metrics import Meters
from app.api.queue import Queue
from app.api.session.consuming import CONSUMERS_MAX
from app.api.session.frames import read_plain
from app.api.session.publishing import Publishing
from app.api.session.window import FRAMES, Window
from app.api.session.wire import Wire
from app.api.websocket_protocol import WebSocketProtocol
from app.node.errors import DiskFull, NoQuorum
from app.version import VERSION
from tests.api.conftest import Live
from tests.api.talking import Talk, bodies, session, talk, topic

pytestmark = pytest.mark.anyio
__all__ = ["session", "topic"]


def slow(live: Live, seconds: float) -> None:
    """Commands of the node take so long from now on."""
    live.node.slow_s = seconds


async def test_it_opens_with_who_answers(live: Live) -> None:
    async with talk(live.url, subprotocols=["rmq.v1"]) as session:
        assert session.hello == {"op": "hello", "node": 0, "version": VERSION, "frame_bytes_max": 1 << 20}
        assert session.socket.subprotocol == "rmq.v1"
    async with talk(live.url) as session:
        assert session.socket.subprotocol is None


async def test_publishes_are_confirmed_in_order_and_share_commands_and_writes(
    live: Live, session: Talk, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[WebSocketProtocol] = []
    send_now = WebSocketProtocol._send_now
    monkeypatch.setattr(WebSocketProtocol, "_send_now", lambda each: (writes.append(each), send_now(each)))
    slow(live, 0.05)
    before = live.node.submitted
    try:
        for n in range(300):
            await session.say("publish", n, topic=topic, body={"n": n})
        frames = [await session.hear() for _ in range(300)]
    finally:
        slow(live, 0)
    assert [frame["id"] for frame in frames] == list(range(300))
    places = [frame["messages"][0] for frame in frames]
    assert [place["sequence"] for place in places] == list(range(1, 301))
    assert await bodies(live, topic) == [{"n": n} for n in range(300)]
    assert 1 <= len(writes) <= live.node.submitted - before < 20


async def test_a_frame_may_be_binary_and_carry_all_that_a_message_has(live: Live, session: Talk, topic: str) -> None:
    message = {"op": "publish", "id": 7, "topic": topic, "body_base64": "AAE=", "headers": {"a": "b"}, "group": "g"}
    await session.socket.send(json.dumps(message).encode())
    assert (await session.hear())["op"] == "published"
    async with httpx.AsyncClient(base_url=live.url) as client:
        received = (await client.post(f"/v1/topics/{topic}/messages:receive", json={})).json()["messages"][0]
    assert (received["body_base64"], received["headers"], received["group"]) == ("AAE=", {"a": "b"}, "g")


async def test_one_that_is_refused_does_not_spoil_its_neighbours(live: Live, session: Talk, topic: str) -> None:
    slow(live, 0.05)
    try:
        await session.say("publish", 0, topic=topic, body="first")
        await session.say("publish", 1, topic=topic, body="good")
        await session.say("publish", 2, topic=topic, body="bad", group="g", priority=1)
        await session.say("publish", 3, topic=topic, body="good too")
        frames = [await session.hear() for _ in range(4)]
    finally:
        slow(live, 0)
    assert [frame["op"] for frame in frames] == ["published", "published", "error", "published"]
    assert frames[2]["code"] == "invalid_message"
    assert await bodies(live, topic) == ["first", "good", "good too"]


async def test_several_in_a_frame_are_stored_all_or_none_unless_it_says_otherwise(
    live: Live, session: Talk, topic: str
) -> None:
    messages = [{"body": 1}, {"body": 2, "group": "g", "priority": 1}, {"body": 3}]
    frame = await session.ask("publish", 1, topic=topic, messages=messages)
    assert (frame["op"], frame["code"], frame["outcome"]) == ("error", "invalid_message", "not_committed")
    assert await bodies(live, topic) == []
    frame = await session.ask("publish", 2, topic=topic, messages=messages, atomic=False)
    assert [place.get("code") for place in frame["messages"]] == [None, "invalid_message", None]
    assert await bodies(live, topic) == [1, 3]


async def test_with_a_dedup_id_a_lost_answer_is_asked_for_again(live: Live, session: Talk, topic: str) -> None:
    live.node.lost = 1
    frame = await session.ask("publish", 1, topic=topic, body="a", dedup_id="x")
    assert frame["op"] == "published"
    again = await session.ask("publish", 2, topic=topic, body="a", dedup_id="x")
    assert again["messages"] == [{**frame["messages"][0], "duplicate": True}]
    live.node.lost = 1
    frame = await session.ask("publish", 3, topic=topic, body="b")
    assert (frame["code"], frame["outcome"], frame["retryable"]) == ("outcome_unknown", "unknown", True)
    assert await bodies(live, topic) == ["a", "b"]


async def test_who_may_be_tried_again_is_not_mixed_with_who_may_not(live: Live, session: Talk, topic: str) -> None:
    slow(live, 0.05)
    try:
        await session.say("publish", 0, topic=topic, body=0)
        await asyncio.sleep(0.02)
        live.node.lost = 2
        for n in range(1, 5):
            await session.say("publish", n, topic=topic, body=n, **({"dedup_id": str(n)} if n > 2 else {}))
        frames = [await session.hear() for _ in range(5)]
    finally:
        slow(live, 0)
        live.node.lost = 0
    assert [frame["op"] for frame in frames][3:] == ["published", "published"]
    assert await bodies(live, topic) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("failure", "code", "outcome"),
    [(NoQuorum("no leader"), "no_quorum", "not_committed"), (DiskFull("no room"), "disk_full", "not_committed")],
)
async def test_what_the_cluster_refuses_is_told(
    live: Live, session: Talk, topic: str, failure: Any, code: str, outcome: str
) -> None:
    live.node.fail = failure
    try:
        frame = await session.ask("publish", 1, topic=topic, body="a")
        assert (frame["op"], frame["code"], frame["outcome"], frame["retryable"]) == ("error", code, outcome, True)
        frame = await session.ask("ack", 2, topic=topic, tokens=["b-1-0-1-1"])
        assert frame["code"] == code
    finally:
        live.node.fail = None
    await session.publish(topic, "it goes on")


@pytest.mark.parametrize(
    ("frame", "id", "code", "words"),
    [
        ("{", None, "malformed_json", ""),
        ("", None, "malformed_json", "empty"),
        ("[]", None, "invalid_body", "object"),
        (b'{"op": "\xff"}', None, "malformed_json", "UTF-8"),
        ('{"op": "sing", "id": 3}', 3, "invalid_body", "publish, ack, nack, extend, consume, credit, cancel"),
        ('{"id": 3}', 3, "invalid_body", "publish, ack, nack, extend, consume, credit, cancel"),
        ('{"id": 3, "topic": "none", "body": 1}', 3, "invalid_body", "publish, ack, nack, extend, consume"),
        ('{"id": 3, "topic": "none", "body": 1, "body": 2}', 3, "invalid_body", "publish, ack, nack, extend, consume"),
        ('{"op": "cancel"}', None, "invalid_body", "`id`"),
        ('{"op": "cancel", "id": -1}', None, "invalid_body", ">= 0"),
        ('{"op": "cancel", "id": 9007199254740992}', None, "invalid_body", "9007199254740991"),
        ('{"op": "cancel", "id": 3, "id": 4}', 4, "invalid_body", "`id` twice"),
        ('{"op": "cancel", "id": 9007199254740991}', 9007199254740991, "consumer_not_found", "no consumer"),
        ('{"op": "credit", "id": 3, "credit": 1}', 3, "consumer_not_found", "no consumer"),
        ('{"op": "credit", "id": 3, "credit": 10001}', 3, "invalid_body", "10000"),
        ('{"op": "consume", "id": 3, "topic": "none", "credit": 1}', 3, "topic_not_found", "none"),
        ('{"op": "consume", "id": 3, "topic": "a b", "credit": 1}', 3, "invalid_body", "$.topic"),
        ('{"op": "consume", "id": 3, "topic": "none", "credit": -1}', 3, "invalid_body", "$.credit"),
        ('{"op": "consume", "id": 3, "topic": "none", "credit": 1, "colour": 1}', 3, "invalid_body", "`colour`"),
        ('{"op": "consume", "id": 3, "topic": "none", "credit": 1, "lease_s": 43201}', 3, "invalid_body", "$.lease_s"),
        ('{"op": "publish", "id": 3, "topic": "none", "body": 1}', 3, "topic_not_found", "none"),
        ('{"op": "publish", "id": 3, "topic": "none"}', 3, "invalid_body", "`body`"),
        ('{"op": "publish", "id": 3, "topic": "none", "body": 1, "body": 2}', 3, "invalid_body", "`body` twice"),
        ('{"op": "publish", "id": 3, "topic": "none", "body": 1, "id": 4}', 4, "invalid_body", "`id` twice"),
        ('{"op": "publish", "id": 3, "topic": "t", "topic": "none", "body": 1}', 3, "invalid_body", "`topic` twice"),
        ('{"op": "publish", "id": 3, "topic": "none", "body": "\\ud800"}', None, "malformed_json", "surrogate"),
        ('{"op": "publish", "id": 3, "topic": "none", "messages": []}', 3, "invalid_body", "$.messages"),
        ('{"op": "publish", "id": 3, "topic": "none", "body": 1, "key": "k"}', 3, "invalid_body", "`key`"),
        ('{"op": "ack", "id": 3, "topic": "none", "tokens": ["b-1-0-1-1"]}', 3, "topic_not_found", "none"),
        ('{"op": "ack", "id": 3, "topic": "none", "tokens": []}', 3, "invalid_body", "$.tokens"),
        ('{"op": "extend", "id": 3, "topic": "none", "tokens": ["x"]}', 3, "invalid_body", "`lease_s`"),
    ],
)
async def test_a_frame_that_cannot_be_taken_is_refused_and_the_session_goes_on(
    session: Talk, frame: str | bytes, id: int | None, code: str, words: str
) -> None:
    await session.socket.send(frame)
    answer = await session.hear()
    assert (answer["op"], answer["id"], answer["code"]) == ("error", id, code), answer
    assert words in answer["detail"]
    assert (await session.ask("cancel", 5))["code"] == "consumer_not_found"


async def test_as_many_messages_as_a_publish_may_have_and_one_more(live: Live, session: Talk, topic: str) -> None:
    frame = await session.ask("publish", 1, topic=topic, messages=[{"body": n} for n in range(1000)])
    assert len(frame["messages"]) == 1000
    frame = await session.ask("publish", 2, topic=topic, messages=[{"body": n} for n in range(1001)])
    assert frame["code"] == "invalid_body"


async def test_a_frame_of_the_largest_size_is_taken_and_one_more_byte_ends_the_session(live: Live, topic: str) -> None:
    async with talk(live.url) as session:
        empty = len(json.dumps({"op": "publish", "id": 1, "topic": topic, "body": ""}))
        assert (await session.ask("publish", 1, topic=topic, body="x" * ((1 << 20) - empty)))["op"] == "published"
        await session.say("publish", 1, topic=topic, body="x" * ((1 << 20) - empty + 1))
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await session.hear()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


async def test_who_reads_no_answers_is_held_up_whatever_the_topics() -> None:
    """Found by a review: frames counted as answered before their answers had left, each in a line of its own."""

    class Refusing:
        async def submit(self, command: bytes, **_: Any) -> bytes:
            raise NoQuorum()

    async def never(_: Any) -> None:
        await asyncio.Event().wait()

    others = asyncio.all_tasks()
    window = Window()
    wire = Wire(never, never)  # type: ignore[arg-type]
    publishing = Publishing(Queue(Refusing()), Meters(), wire, window)
    taken = 0
    while not window.is_full and taken < 2 * FRAMES:
        frame = b'{"op": "publish", "id": 1, "topic": "t%d", "body": 1}' % taken
        plain = read_plain(frame)
        assert plain is not None
        publishing.take_plain(plain, frame)
        taken += 1
        await asyncio.sleep(0)
    assert taken == FRAMES
    for task in asyncio.all_tasks() - others:
        task.cancel()


async def test_who_sends_more_than_may_be_unanswered_waits_and_loses_nothing(
    live: Live, session: Talk, topic: str
) -> None:
    async def send() -> None:
        for n in range(3 * FRAMES):
            await session.say("publish", n, topic=topic, body=n)

    sending = asyncio.ensure_future(send())
    ids = [(await session.hear(20))["id"] for _ in range(3 * FRAMES)]
    await sending
    assert ids == list(range(3 * FRAMES))


async def test_a_session_has_so_many_consumers_and_no_two_of_one_id(live: Live, session: Talk, topic: str) -> None:
    for n in range(CONSUMERS_MAX):
        await session.consume(topic, 1, id=n)
    assert (await session.ask("consume", CONSUMERS_MAX, topic=topic, credit=1))["code"] == "too_many"
    assert (await session.ask("cancel", 3))["op"] == "cancelled"
    await session.consume(topic, 1, id=CONSUMERS_MAX)
    assert (await session.ask("cancel", 4))["op"] == "cancelled"
    frame = await session.ask("consume", 5, topic=topic, credit=1)
    assert "already" in frame["detail"]


async def test_the_handshake_is_refused_as_a_route_refuses(live: Live) -> None:
    address = live.url.replace("http", "ws", 1)
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(address + "/v1/sessions")
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["code"] == "route_not_found"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(address + "/v1/session", origin="http://elsewhere.example")
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["code"] == "foreign_origin"
    async with talk(live.url, origin=live.url):
        pass


async def test_a_browser_that_opens_the_path_is_told_what_it_is(live: Live) -> None:
    async with httpx.AsyncClient(base_url=live.url) as client:
        answer = await client.get("/v1/session")
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert answer.json()["code"] == "upgrade_required"


async def test_sessions_are_counted(live: Live, session: Talk, topic: str) -> None:
    await session.publish(topic, 1)
    async with httpx.AsyncClient(base_url=live.url) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    assert float(next(line for line in lines if line.startswith("rmq_sessions ")).split()[1]) >= 1


async def test_a_node_that_stops_answers_what_it_was_asked_and_says_goodbye() -> None:
    live = Live()
    live.start()
    try:
        async with httpx.AsyncClient(base_url=live.url) as client:
            await client.put("/v1/topics/t", json={})
        async with talk(live.url) as session:
            await session.publish("t", "a")
            await session.consume("t", 10)
            await session.delivered(1)
            slow(live, 0.05)
            before = live.node.submitted
            await session.say("publish", 1, topic="t", body="b")
            while live.node.submitted == before:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            stopping = asyncio.get_running_loop().run_in_executor(None, live.stop)
            ops: list[str] = []
            with pytest.raises(websockets.ConnectionClosed) as closed:
                while True:
                    ops.append((await session.hear())["op"])
            assert "published" in ops and "error" not in ops
            assert closed.value.rcvd is not None and closed.value.rcvd.code in (1001, 1012)
            await stopping
    finally:
        if not live.server.should_exit:
            live.stop()
