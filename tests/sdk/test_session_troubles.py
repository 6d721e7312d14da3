"""Sessions of both clients where something is wrong: with what is said, with the node, or with the way to it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import websockets.sync.server
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection
from websockets.typing import Subprotocol

import rmq
from bench.cluster import LocalCluster
from rmq import errors
from rmq.messages import NewMessage
from rmq.policy import Nodes, Search
from rmq.talk import SUBPROTOCOL, Talk
from tests.api.conftest import Live
from tests.sdk.looking import HELLO

DELIVERY = {
    "id": "7", "sequence": 7, "body": "a", "headers": {}, "group": None, "priority": 0, "deliveries": 1,
    "published_at": "2026-01-31T12:00:00.000Z", "token": "b-1-0-7-1", "lease_expires_at": "2026-01-31T12:00:30.000Z",
}  # fmt: skip


BAD = [
    ({"priority": 99}, "`$.priority`"), ({"priority": True}, "`$.priority`"), ({"delay_s": -1}, "`$.delay_s`"),
    ({"ttl_s": "x"}, "`$.ttl_s`"), ({"headers": {"a": 1}}, "`$.headers[...]`"), ({"headers": {"": "a"}}, "`$.headers`"),
    ({"headers": ["a"]}, "`$.headers`"), ({"group": ""}, "`$.group`"), ({"group": 5}, "`$.group`"),
    ({"dedup_id": ""}, "`$.dedup_id`"), ({"body": 10**400}, "out of range"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "place"), BAD)
def test_one_that_is_malformed_takes_no_neighbours_along(
    queue: rmq.Client, fields: dict[str, Any], place: str
) -> None:
    bodies = [NewMessage(body=number) for number in (1, 2, 3)]
    with queue.session() as session:
        futures = [session.publish("t", each) for each in (*bodies, NewMessage(**{"body": 0, **fields}), *bodies)]
        found = [future.exception(20) or future.result().sequence for future in futures]
        with pytest.raises(errors.InvalidRequest):
            session.flush()
    bad = found.pop(3)
    assert isinstance(bad, errors.InvalidRequest) and place in bad.detail
    assert found == [1, 2, 3, 4, 5, 6]


def test_what_has_everything_at_its_limit_goes_with_the_others() -> None:
    talk = Talk()
    talk.hear(json.dumps(HELLO))
    for number in range(3):
        talk.publish(
            "t",
            NewMessage(
                body=number, headers={"a.b-c_" + "d" * 58: "x" * 1024}, group="~" * 128, dedup_id="!" * 128,
                delay_s=31_622_400, ttl_s=0.001, priority=9,
            ),
            print,
        )  # fmt: skip
    assert talk.next_frame().count(b'"body"') == 3


SPANS: list[Any] = ["5", float("nan"), float("inf"), Decimal(1), True, None, timedelta(seconds=5)]


@pytest.mark.parametrize("span", SPANS, ids=str)
def test_what_is_no_number_of_seconds_is_refused_at_the_call(queue: rmq.Client, live: Live, span: Any) -> None:
    queue.publish("t", 1)
    with queue.session() as session:
        [message] = itertools.islice(session.consume("t"), 1)
        for settle in (lambda: session.nack(message, delay_s=span), lambda: session.extend(message, lease_s=span)):
            with pytest.raises((TypeError, ValueError)):
                settle()
        session.ack(message)
        session.flush(20)
    assert queue.topic("t").messages == 0

    async def again() -> None:
        async with rmq.AsyncClient(live.url) as client, client.session() as session:
            for settle in (session.nack(message, delay_s=span), session.extend(message, lease_s=span)):
                with pytest.raises((TypeError, ValueError)):
                    await settle
            async with asyncio.timeout(20):
                await session.flush()

    asyncio.run(again())


@pytest.mark.parametrize("topic", [b"t", "\ud800", "", None, "a/b"])
def test_a_topic_that_is_no_name_is_refused_at_the_call(queue: rmq.Client, live: Live, topic: Any) -> None:
    with queue.session() as session:
        with pytest.raises(ValueError, match="`topic` is"):
            session.publish(topic, 1)
        with pytest.raises(ValueError, match="`topic` is"):
            next(iter(session.consume(topic)))
        assert session.publish("t", 1).result(20).sequence == 1


def test_a_body_that_no_node_can_read_is_refused_at_the_call(
    queue: rmq.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a frame the node did not even find the id: the session ended."""
    # Python itself says so before, where as many calls are open as in a test.
    monkeypatch.setattr("rmq.talk.DEPTH_MAX", 500)

    def nested(levels: int) -> list[Any]:
        found: list[Any] = []
        for _ in range(levels - 1):
            found = [found]
        return found

    with queue.session() as session:
        with pytest.raises(ValueError, match="nested deeper"):
            session.publish("t", nested(510))
        for body in (nested(490), [[]] * 2000, '"[{\\' * 1000):
            session.publish("t", body)
    assert queue.topic("t").messages == 3


@pytest.mark.parametrize("wrong", [{"lease_s": float("nan")}, {"credit": Decimal(1)}, {"subscription": "\ud800"}])
def test_a_consumer_that_cannot_be_said_does_not_stand(wrong: dict[str, Any]) -> None:
    talk = Talk()
    talk.hear(json.dumps(HELLO))
    with pytest.raises((TypeError, ValueError)):
        fields = {"credit": 1, "subscription": "s", "lease_s": 1, **wrong}
        talk.consume("t", **fields, deliver=print, drop=print, failed=print)
    assert not talk.has_frame
    talk.begin_again()
    talk.hear(json.dumps(HELLO))
    assert not talk.has_frame


UNREADABLE = {
    "op": "error", "id": None, "code": "malformed_json", "detail": "The JSON is nested too deeply.",
    "outcome": "not_committed", "retryable": False,
}  # fmt: skip


@pytest.mark.parametrize("answer", [json.dumps(UNREADABLE), '{"op": "published", "id": 1}', "no JSON", "[]"])
def test_what_cannot_be_understood_ends_the_session_with_the_reason(answer: str) -> None:
    """Of a frame that the node could not read nobody knows which one it was: its sender waited for ever."""

    def serve(connection: ServerConnection) -> None:
        connection.send(json.dumps(HELLO))
        connection.recv()
        connection.send(answer)
        for _ in connection:
            pass

    with serving(serve) as url:
        with rmq.Client(url) as client:
            session = client.session()
            lost = session.publish("t", 1).exception(20)
            with pytest.raises(errors.OutcomeUnknown):
                session.flush(20)
            with pytest.raises(errors.CannotConnect):
                session.publish("t", 1)
            session.close()
        found = asyncio.run(publish(url, 1))
    for each in (lost, found):
        assert isinstance(each, errors.OutcomeUnknown) and "node" in each.detail
        assert ("nested too deeply" in each.detail) == ("nested" in answer)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_a_node_took_back_is_not_handed_out_from_before(kind: str) -> None:
    """Else a clean restart of a node had up to the whole credit done twice."""
    connections, again = list[ServerConnection](), threading.Event()

    def serve(connection: ServerConnection) -> None:
        connections.append(connection)
        connection.send(json.dumps(HELLO))
        for text in connection:
            said = json.loads(text)
            if said["op"] == "consume":
                left = range(1 if len(connections) == 1 else 2, 6)
                deliveries = [{**DELIVERY, "sequence": n, "token": f"{len(connections)}-{n}"} for n in left]
                connection.send(json.dumps({"op": "deliver", "id": said["id"], "messages": deliveries}))
                if len(connections) == 2:
                    again.set()
            else:
                results = [{"token": token, "ok": True, "code": None} for token in said["tokens"]]
                connection.send(json.dumps({"op": "settled", "id": said["id"], "results": results}))
                if len(connections) == 1:
                    connection.close(1012)

    async def consume(url: str) -> None:
        async with rmq.AsyncClient(url) as client, client.session() as session:
            async for message in session.consume("t", idle_s=1):
                tokens.append(message.token)
                await session.ack(message)
                await asyncio.to_thread(again.wait, 20)

    tokens = list[str | None]()
    with serving(serve) as url:
        if kind == "async":
            asyncio.run(consume(url))
        else:
            with rmq.Client(url) as client, client.session() as session:
                for message in session.consume("t", idle_s=1):
                    tokens.append(message.token)
                    session.ack(message)
                    again.wait(20)
    assert tokens == ["1-1", "2-2", "2-3", "2-4", "2-5"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_node_that_hangs_is_left_for_another_one(queue: rmq.Client, live: Live, kind: str) -> None:
    with LocalCluster(1) as cluster:
        cluster.create_topic("t")
        process = cluster.processes[0]
        assert process is not None
        urls = [f"http://127.0.0.1:{cluster.ports[0]}", live.url]

        async def publish() -> None:
            async with rmq.AsyncClient(urls) as client, client.session() as session:
                await (await session.publish("t", 1))
                process.send_signal(signal.SIGSTOP)
                async with asyncio.timeout(15):
                    await (await session.publish("t", 2))

        try:
            if kind == "async":
                asyncio.run(publish())
            else:
                with rmq.Client(urls) as client, client.session() as session:
                    session.publish("t", 1).result(15)
                    process.send_signal(signal.SIGSTOP)
                    session.publish("t", 2).result(15)
        finally:
            process.send_signal(signal.SIGCONT)
    assert [each.body for each in queue.peek("t")] == [2]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_connections_that_end_at_once_end_the_session_when_its_time_is_over(kind: str) -> None:
    """Each was a new beginning: there were hundreds in a second, and no end."""
    times: list[float] = []

    def serve(connection: ServerConnection) -> None:
        times.append(time.monotonic())
        connection.send(json.dumps(HELLO))
        connection.close(1012)

    retry = rmq.Retry(total_s=2, longest_s=0.5)
    with serving(serve) as url:
        if kind == "async":
            found = asyncio.run(publish(url, 1, retry=retry))
        else:
            with rmq.Client(url, retry=retry) as client:
                session = client.session()
                found = session.publish("t", 1).exception(20)
                session.close()
    assert isinstance(found, errors.OutcomeUnknown) and "ended the connection at once" in found.detail
    assert 1 < times[-1] - times[0] < 3 and len(times) < 20


def test_a_search_begins_anew_only_after_a_connection_that_was_of_use() -> None:
    now = 0.0
    search = Search(Nodes("http://a,http://b"), rmq.Retry(total_s=10, first_s=1, longest_s=8), lambda: now)
    search.found()
    now = 5.0
    assert 0.5 <= search.lost("http://a", was_of_use=False) <= 1, "the 5 s in which it stood do not count"
    now = 14.5
    with pytest.raises(errors.CannotConnect):
        search.failed("http://b", errors.CannotConnect("x", code="x"))
    search.found()
    assert search.lost("http://b", was_of_use=True) == 0
    now = 23.0
    assert 0.5 <= search.failed("http://a", errors.CannotConnect("x", code="x")) <= 1
    search.found()
    now = 30.0
    assert search.lost("http://a", was_of_use=False) == 0, "it stood for long, and there was nothing to do"
    with pytest.raises(errors.NotRMQ):
        search.failed("http://b", errors.NotRMQ("x", code="x"))


async def publish(url: str, body: Any, **options: Any) -> Any:
    """The place, or the error in its stead."""
    async with rmq.AsyncClient(url, **options) as client:
        session = await client.session().__aenter__()
        async with asyncio.timeout(20):
            [found] = await asyncio.gather(await session.publish("t", body), return_exceptions=True)
        await session.close()
        return found


@contextlib.contextmanager
def serving(serve: Callable[[ServerConnection], None], **options: Any) -> Iterator[str]:
    """The URL of something that takes sessions, and does this with each."""
    options["subprotocols"] = [Subprotocol(SUBPROTOCOL)]
    with websockets.sync.server.serve(serve, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def wait_until(is_so: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_future_that_was_cancelled_is_nobodys_trouble(queue: rmq.Client, live: Live) -> None:
    with queue.session() as session:
        futures = [session.publish("t", number) for number in range(3)]
        futures[0].cancel()
        assert futures[2].result(20).sequence == session.publish("t", 3).result(20).sequence - 1

    async def again() -> None:
        async with rmq.AsyncClient(live.url) as client, client.session() as session, asyncio.timeout(20):
            (await session.publish("t", 4)).cancel()
            assert (await (await session.publish("t", 5))).sequence == 6

    asyncio.run(again())


def test_a_callback_may_publish_but_not_wait(queue: rmq.Client) -> None:
    """It runs on the thread that makes the room for which it waited."""
    refused = list[str]()
    with queue.session() as session:

        def publish_two(_: object) -> None:
            for number in range(2):
                session.publish("t", number)

        def wait(_: object) -> None:
            for waiting in (session.flush, session.close, lambda: next(iter(session.consume("t")))):
                with pytest.raises(RuntimeError) as found:
                    waiting()
                refused.append(str(found.value))

        for number in range(1900):
            session.publish("t", number).add_done_callback(publish_two)
        session.flush(40)
        session.publish("t", 0).add_done_callback(wait)
        session.flush(40)
    assert queue.topic("t").messages == 3 * 1900 + 1
    assert len(refused) == 3 and all("callback" in text for text in refused)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("comes_back", [True, False])
def test_a_session_that_looks_for_a_node_can_be_closed(kind: str, comes_back: bool) -> None:
    """It went on looking until its time was over, and read for ever where it had found one."""
    tries, closing = list[float](), threading.Event()

    def serve(connection: ServerConnection) -> None:
        connection.send(json.dumps(HELLO))
        if len(tries) > 1:
            connection.recv()

    def refuse(connection: ServerConnection, _: Request) -> Response | None:
        tries.append(time.monotonic())
        if len(tries) == 1:
            return None
        closing.wait(10)
        if not comes_back:
            connection.socket.shutdown(socket.SHUT_RDWR)
        return None

    def close(session: rmq.Session) -> None:
        wait_until(lambda: len(tries) > 1)
        threading.Timer(0.2, closing.set).start()
        session.close()

    async def close_async(url: str) -> None:
        async with rmq.AsyncClient(url) as client:
            session = await client.session().__aenter__()
            await asyncio.to_thread(wait_until, lambda: len(tries) > 1)
            threading.Timer(0.2, closing.set).start()
            async with asyncio.timeout(20):
                await session.close()

    with serving(serve, process_request=refuse) as url:
        if kind == "sync":
            with rmq.Client(url) as client:
                session = client.session()
                closer = threading.Thread(target=close, args=[session], daemon=True)
                closer.start()
                closer.join(20)
                assert not closer.is_alive()
        else:
            asyncio.run(close_async(url))
        assert time.monotonic() - tries[1] < 3
