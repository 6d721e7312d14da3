"""Sessions of both clients: publishes without waiting, messages under a credit, and what is lost with a connection."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, WebSocketException

import rmq
from bench.cluster import LocalCluster
from rmq import errors
from rmq.messages import Message, NewFields, NewMessage
from rmq.talk import FRAME_MESSAGES, Talk
from rmq.wire import CONNECTIONS, session_refused
from tests.api.conftest import Live
from tests.sdk.looking import HELLO, QUICK


class Both:
    """Plays the same session with both clients."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def publish(self, url: Any, topic: str, messages: list[Any], **fields: Any) -> list[Any]:
        """Places, or the errors in their stead."""
        if self.kind == "sync":
            with rmq.Client(url, retry=QUICK) as client:
                session = client.session()
                futures = [session.publish(topic, message, **fields) for message in messages]
                found = [future.exception() or future.result() for future in futures]
                session.close()
                return found
        return asyncio.run(self._publish(url, topic, messages, fields))

    async def _publish(self, url: Any, topic: str, messages: list[Any], fields: dict[str, Any]) -> list[Any]:
        async with rmq.AsyncClient(url, retry=QUICK) as client:
            session = await client.session().__aenter__()
            futures = [await session.publish(topic, message, **fields) for message in messages]
            found = await asyncio.gather(*futures, return_exceptions=True)
            await session.close()
            return found

    def consume(self, url: Any, topic: str, handle: Callable[[Message], str], **options: Any) -> list[Message]:
        """Every message that comes; `handle` says what becomes of each: ack, nack, keep, or stop."""
        if self.kind == "sync":
            found = []
            with rmq.Client(url, retry=QUICK) as client, client.session() as session:
                for message in session.consume(topic, **options):
                    found.append(message)
                    what = handle(message)
                    if what in ("ack", "nack"):
                        getattr(session, what)(message)
                    if what == "stop":
                        break
            return found
        return asyncio.run(self._consume(url, topic, handle, options))

    async def _consume(
        self, url: Any, topic: str, handle: Callable[[Message], str], options: dict[str, Any]
    ) -> list[Message]:
        found = []
        async with rmq.AsyncClient(url, retry=QUICK) as client, client.session() as session:
            async for message in session.consume(topic, **options):
                found.append(message)
                what = handle(message)
                if what in ("ack", "nack"):
                    await getattr(session, what)(message)
                if what == "stop":
                    break
        return found


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


def test_publishes_are_stored_in_order_and_in_few_commands(queue: rmq.Client, both: Both, live: Live) -> None:
    before = live.node.submitted
    places = both.publish(live.url, "t", list(range(3000)))
    assert [place.sequence for place in places] == list(range(1, 3001))
    assert live.node.submitted - before < 600
    assert [each.body for each in queue.peek("t")] == list(range(3000))


def test_what_is_published_is_as_it_was_said(queue: rmq.Client, both: Both, live: Live) -> None:
    [place] = both.publish(live.url, "t", [b"\0\1"], headers={"a": "b"}, group="g")
    [again] = both.publish(live.url, "t", [NewMessage(body=1, dedup_id="x")])
    [duplicate] = both.publish(live.url, "t", [NewMessage(body=1, dedup_id="x")])
    assert (duplicate.id, duplicate.duplicate, again.duplicate) == (again.id, True, False)
    [first] = [each for each in queue.receive("t", max=2) if each.group]
    assert (first.body, first.headers, first.group, first.id) == (b"\0\1", {"a": "b"}, "g", place.id)


def test_a_session_publishes_whatever_a_message_can_say() -> None:
    assert {"body", *NewFields.__annotations__} == {field.name for field in dataclasses.fields(NewMessage)}


def test_one_that_is_refused_is_told_to_who_said_it(queue: rmq.Client, both: Both, live: Live) -> None:
    bad = NewMessage(body=2, group="g", priority=1)
    one, two, three = both.publish(live.url, "t", [1, bad, 3])
    assert (one.sequence, three.sequence) == (1, 2)
    assert isinstance(two, errors.InvalidRequest) and two.code == "invalid_message"
    [lost] = both.publish(live.url, "none", [1])
    assert isinstance(lost, errors.TopicNotFound)


def test_messages_come_under_the_credit_and_acks_make_room(queue: rmq.Client, both: Both, live: Live) -> None:
    queue.publish_many("t", range(50))
    leased = []

    def handle(message: Message) -> str:
        leased.append(queue.topic("t").subscriptions[0].leased)
        return "ack"

    found = both.consume(live.url, "t", handle, credit=5, idle_s=5)
    assert [message.body for message in found] == list(range(50))
    assert max(leased) <= 5
    assert queue.topic("t").messages == 0


def test_what_was_not_settled_goes_back_when_the_session_ends(queue: rmq.Client, both: Both, live: Live) -> None:
    queue.publish_many("t", range(10))
    found = both.consume(live.url, "t", lambda message: "ack" if message.body < 3 else "stop", credit=5)
    assert [message.body for message in found] == [0, 1, 2, 3]
    left: list[int] = []
    while len(left) < 7:
        # The node gives back when it has seen that the session is over, which is soon, but not yet.
        received = queue.receive("t", max=10, wait_s=5)
        assert received, "the leases are 30 s long: nothing comes back by itself"
        left += [message.body for message in received]
    assert sorted(left) == [3, 4, 5, 6, 7, 8, 9]


def test_nack_brings_it_again(queue: rmq.Client, both: Both, live: Live) -> None:
    queue.publish("t", "a")
    found = both.consume(live.url, "t", lambda message: "nack" if message.deliveries < 3 else "ack", idle_s=5)
    assert [message.deliveries for message in found] == [1, 2, 3]


def test_a_consumer_of_what_is_not_there_is_told(queue: rmq.Client, both: Both, live: Live) -> None:
    with pytest.raises(errors.TopicNotFound):
        both.consume(live.url, "none", lambda _: "ack")


def test_a_late_ack_is_told_by_the_flush(queue: rmq.Client, live: Live) -> None:
    queue.publish("t", "a")
    with pytest.raises(errors.LeaseLost), queue.session() as session:
        for message in session.consume("t", idle_s=5):
            queue.purge("t")
            session.ack(message)


def test_a_node_that_ends_in_the_middle_of_the_handshake_is_left_for_another_one(
    queue: rmq.Client, both: Both, live: Live
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        [place] = both.publish([f"http://127.0.0.1:{server.getsockname()[1]}", live.url], "t", [1])
        thread.join()
    assert place.sequence == 1


def test_nobody_there_takes_no_session() -> None:
    with rmq.Client("http://127.0.0.1:1", retry=rmq.Retry(total_s=0.1)) as client, pytest.raises(errors.CannotConnect):
        client.session()


@pytest.mark.timeout(240)
def test_a_node_that_is_killed_takes_nothing_along(both: Both) -> None:
    with LocalCluster(3) as cluster:
        leader = cluster.wait_for_leader()
        urls = [f"http://127.0.0.1:{port}" for port in (cluster.ports[leader], *cluster.ports)]
        with rmq.Client(urls) as client:
            client.create_topic("t")
        killed = []

        def numbers() -> Iterator[int]:
            for number in range(4000):
                if number == 2000:
                    cluster.kill(leader)
                    killed.append(leader)
                yield number

        places = both.publish(urls, "t", numbers())  # type: ignore[arg-type]
        assert [place.sequence for place in places] == list(range(1, 4001)) and killed == [leader]
        cluster.start(leader)
        first = cluster.wait_for_leader()
        urls = [f"http://127.0.0.1:{port}" for port in (cluster.ports[first], *cluster.ports)]

        def handle(message: Message) -> str:
            if message.body == 2000 and len(killed) == 1:
                cluster.kill(first)
                killed.append(first)
            return "ack"

        found = both.consume(urls, "t", handle, credit=200, lease_s=6, idle_s=10)
        assert len(killed) == 2
        assert sorted({message.body for message in found}) == list(range(4000))
        with rmq.Client(urls) as client:
            assert client.topic("t").messages == 0


def test_a_message_that_is_too_large_is_refused_and_the_session_goes_on(
    queue: rmq.Client, both: Both, live: Live
) -> None:
    one, large, two = both.publish(live.url, "t", [1, "x" * (3 << 20), 2])
    assert (one.sequence, two.sequence) == (1, 2)
    assert isinstance(large, errors.PayloadTooLarge) and large.outcome == "not_committed"


def test_what_cannot_be_settled_is_refused_at_once(queue: rmq.Client, live: Live) -> None:
    queue.publish("t", 1)
    done = queue.receive("t", auto_ack=True)
    with queue.session() as session:
        with pytest.raises(TypeError, match=r"ack\(\*messages\)"):
            session.ack(done)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="done already"):
            session.ack(*done)


def test_more_than_a_frame_may_have_is_settled_at_once(queue: rmq.Client, live: Live) -> None:
    queue.publish_many("t", range(1500))
    with queue.session() as session:
        came = session.consume("t", credit=1500, idle_s=30)
        session.ack(*(next(came) for _ in range(1500)))
    assert queue.topic("t").messages == 0


def test_a_connection_that_breaks_says_nothing_to_the_users_log(
    queue: rmq.Client, live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    with queue.session() as session:
        with contextlib.suppress(WebSocketException):
            session._connection.send("x" * (3 << 20))
        session.publish("t", 1).result(20)
    assert not [record for record in caplog.records if record.name != "rmq.consumer"]


def test_what_websockets_says_is_heard_by_who_asks_for_it(caplog: pytest.LogCaptureFixture) -> None:
    CONNECTIONS.error("a traceback")
    assert not caplog.records
    with caplog.at_level(logging.DEBUG, CONNECTIONS.name):
        CONNECTIONS.error("a traceback")
    assert [record.message for record in caplog.records] == ["a traceback"]


# -- without a socket -----------------------------------------------------------------------------------------


def test_neighbours_that_want_the_same_go_in_one_frame() -> None:
    talk = Talk()
    for number in range(FRAME_MESSAGES + 1):
        talk.publish("t", NewMessage(body=number), print)
    assert not talk.has_frame, "nothing is said before the node's hello"
    talk.hear(json.dumps(HELLO))
    talk.publish("u", NewMessage(body=0), print)
    counts = []
    while talk.has_frame:
        counts.append(talk.next_frame().count(b'"body"'))
    assert counts == [FRAME_MESSAGES, 1, 1]


def test_no_frame_is_larger_than_the_node_takes() -> None:
    talk, found = Talk(), list[object]()
    talk.publish("t", NewMessage(body="x" * 4000), found.append)
    talk.hear(json.dumps({**HELLO, "frame_bytes_max": 4096}))
    for _ in range(100):
        talk.publish("t", NewMessage(body="x" * 100), found.append)
    assert talk.unanswered == 100
    [refused] = found
    assert isinstance(refused, errors.PayloadTooLarge) and talk.take_failure() is refused
    assert 2000 < len(talk.next_frame()) <= 4096


def test_what_was_not_answered_is_said_again_first_things_first() -> None:
    talk, places = Talk(), []
    for number in range(3):
        talk.publish("t" if number < 2 else "u", NewMessage(body=number, dedup_id=str(number)), places.append)
    talk.hear(json.dumps(HELLO))
    first, second = talk.next_frame(), talk.next_frame()
    assert not talk.has_frame and talk.unanswered == 3
    talk.begin_again()
    talk.publish("u", NewMessage(body=3, dedup_id="3"), places.append)
    again, both = talk.next_frame(), talk.next_frame()
    assert again.partition(b'"messages"')[2] == first.partition(b'"messages"')[2]
    assert both.startswith(second[:15]) and both.count(b'"body"') == 2
    talk.hear(json.dumps({"op": "published", "id": 3, "messages": [{"id": "1", "sequence": 1, "duplicate": True}] * 2}))
    assert [place.duplicate for place in places] == [True, True] and talk.unanswered == 2
    talk.give_up(errors.OutcomeUnknown("over", code="x"))
    assert isinstance(places[-1], errors.OutcomeUnknown) and talk.unanswered == 0


def test_what_was_acked_in_vain_is_acked_when_it_comes_again() -> None:
    talk, came = Talk(), []
    talk.consume("t", credit=1, subscription="default", lease_s=None, deliver=came.append, drop=print, failed=print)
    assert b'"consume"' in talk.next_frame()
    delivery = {
        "id": "7", "sequence": 7, "body": "a", "headers": {}, "group": None, "priority": 0, "deliveries": 1,
        "published_at": "2026-01-31T12:00:00.000Z", "token": "b-1-0-7-1",
        "lease_expires_at": "2026-01-31T12:00:30.000Z",
    }  # fmt: skip
    talk.hear(json.dumps({"op": "deliver", "id": 1, "messages": [delivery]}))
    talk.settle("ack", came)
    assert b"b-1-0-7-1" in talk.next_frame()
    talk.begin_again()
    assert b'"consume"' in talk.next_frame()
    assert b"b-1-0-7-1" in talk.next_frame()
    late = {"token": "b-1-0-7-1", "ok": False, "code": "lease_lost"}
    talk.hear(json.dumps({"op": "settled", "id": 3, "results": [late]}))
    talk.hear(json.dumps({"op": "deliver", "id": 1, "messages": [{**delivery, "token": "b-2-0-7-2", "deliveries": 2}]}))
    assert len(came) == 1 and b"b-2-0-7-2" in talk.next_frame()
    with pytest.raises(errors.NotRMQ):
        talk.hear(json.dumps({"op": "sing"}))


def test_a_node_that_is_killed_while_it_says_hello_is_not_taken_for_something_else() -> None:
    """Else a session ended there, in place of trying the next node."""
    for failure in (ConnectionClosedError(None, None), ConnectionRefusedError(111, "Connection refused")):
        refusal = session_refused("http://n:1", failure)
        assert isinstance(refusal, errors.CannotConnect) and "http://n:1" in str(refusal)
