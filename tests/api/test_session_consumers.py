"""The session: messages come under a credit, and what is not settled comes back."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import httpx
import pytest

from app.api.session.consuming import FRAME_BYTES, PAUSE_S
from app.broker.commands import Ack, Extend, NewMessage, Publish, encode
from app.node.errors import NoQuorum
from tests.api.conftest import Live
from tests.api.talking import Talk, bodies, session, talk, topic

pytestmark = pytest.mark.anyio
__all__ = ["session", "topic"]


def told(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["body"] for message in messages]


def tokens(messages: list[dict[str, Any]]) -> list[str]:
    return [message["token"] for message in messages]


async def received(live: Live, topic: str, **asked: Any) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=live.url) as client:
        answer = await client.post(f"/v1/topics/{topic}/messages:receive", json={"max": 100, **asked})
    return list(answer.json()["messages"])


async def test_no_more_come_than_there_is_credit_for(session: Talk, topic: str) -> None:
    await session.publish(topic, *range(5))
    await session.consume(topic, 2)
    first = await session.delivered(2)
    assert told(first) == [0, 1] and await session.is_quiet()
    assert (first[0]["deliveries"], first[0]["sequence"]) == (1, 1)
    settled = await session.ask("ack", 7, topic=topic, tokens=tokens(first[:1]))
    assert settled == {
        "op": "settled", "id": 7, "results": [{"token": first[0]["token"], "ok": True, "code": None}],
    }  # fmt: skip
    second = await session.delivered(1)
    assert told(second) == [2] and await session.is_quiet()
    await session.ask("ack", 8, topic=topic, tokens=tokens(first[1:] + second))
    assert told(await session.delivered(2)) == [3, 4]


async def test_the_next_one_comes_while_an_ack_is_on_its_way(
    session: Talk, topic: str, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    await session.publish(topic, "a", "b", "c")
    await session.consume(topic, 1)
    first = await session.delivered(1)
    monkeypatch.setattr(live.node, "holds", Ack)
    await session.say("ack", 7, topic=topic, tokens=tokens(first))
    assert told(await session.delivered(1)) == ["b"] and await session.is_quiet()
    live.node.holds = None
    settled = await session.hear()
    assert (settled["id"], settled["results"][0]["ok"]) == (7, True)
    assert await session.is_quiet(), "the credit was given back once"


async def test_what_an_ack_could_not_settle_counts_again(session: Talk, topic: str, live: Live) -> None:
    await session.publish(topic, "a", "b")
    await session.consume(topic, 1)
    first = await session.delivered(1)
    with live.node.failing(NoQuorum("no majority")):
        assert (await session.ask("ack", 7, topic=topic, tokens=tokens(first)))["op"] == "error"
    assert await session.is_quiet(2 * PAUSE_S)
    assert (await session.ask("ack", 8, topic=topic, tokens=tokens(first)))["results"][0]["ok"]
    assert told(await session.delivered(1)) == ["b"]


async def test_an_extend_on_its_way_when_the_ack_comes_counts_once(session: Talk, topic: str, live: Live) -> None:
    """It arrived in between, and made the message one that the client still had."""
    await session.publish(topic, "a", "b", "c")
    await session.consume(topic, 1)
    first = await session.delivered(1)
    live.node.holds = Extend
    await session.say("extend", 6, topic=topic, tokens=tokens(first), lease_s=60)
    await session.say("ack", 7, topic=topic, tokens=tokens(first))
    second = await session.delivered(1)
    live.node.holds = None
    assert [(await session.hear())["id"] for _ in range(2)] == [6, 7]
    assert await session.is_quiet()
    await session.ask("ack", 8, topic=topic, tokens=tokens(second))
    assert told(await session.delivered(1)) == ["c"]


async def test_what_comes_later_is_delivered_at_once(session: Talk, topic: str, live: Live) -> None:
    await session.consume(topic, 10)
    assert await session.is_quiet()
    async with httpx.AsyncClient(base_url=live.url) as client:
        await client.post(f"/v1/topics/{topic}/messages", json={"body": "news"})
    assert told(await session.delivered(1)) == ["news"]


async def test_nack_brings_it_again_and_extend_keeps_it(session: Talk, topic: str, live: Live) -> None:
    await session.publish(topic, "a", "b")
    await session.consume(topic, 2)
    first = await session.delivered(2)
    await session.ask("extend", 1, topic=topic, tokens=tokens(first[1:]), lease_s=60)
    await session.ask("nack", 2, topic=topic, tokens=tokens(first[:1]))
    again = await session.delivered(1)
    assert (told(again), again[0]["deliveries"]) == (["a"], 2)
    lost = await session.ask("ack", 3, topic=topic, tokens=tokens(first[:1]))
    assert lost["results"][0]["code"] == "lease_lost"
    await session.ask("ack", 4, topic=topic, tokens=tokens(again + first[1:]))
    assert await bodies(live, topic) == []


async def test_neighbours_that_settle_alike_share_a_command(session: Talk, topic: str, live: Live) -> None:
    await session.publish(topic, *range(50))
    await session.consume(topic, 50)
    messages = await session.delivered(50)
    before = live.node.submitted
    live.node.slow_s = 0.05
    try:
        for n, token in enumerate(tokens(messages)):
            await session.say("ack" if n < 40 else "nack", n, topic=topic, tokens=[token])
        settled = [await session.hear() for _ in range(40)]
        assert [frame["id"] for frame in settled] == list(range(40))
        assert all(frame["results"][0]["ok"] for frame in settled)
    finally:
        live.node.slow_s = 0
    assert live.node.submitted - before < 10
    await session.say("cancel", 100)


async def test_a_lease_that_has_run_out_gives_the_credit_back(session: Talk, topic: str, live: Live) -> None:
    await session.publish(topic, "a", "b")
    await session.consume(topic, 1, lease_s=0.2)
    assert told(await session.delivered(1)) == ["a"]
    await asyncio.sleep(0.1)
    live.run(_later(live, 0.15))
    again = await session.delivered(1)
    assert (told(again), again[0]["deliveries"]) == (["a"], 2)


def _later(live: Live, seconds: float) -> Any:
    async def pass_time() -> None:
        live.node.pass_time(seconds)

    return pass_time


async def test_credit_holds_and_goes_on(session: Talk, topic: str) -> None:
    await session.publish(topic, *range(4))
    await session.consume(topic, 0)
    assert await session.is_quiet()
    assert (await session.ask("credit", 100, credit=2)) == {"op": "consuming", "id": 100, "credit": 2}
    messages = await session.delivered(2)
    await session.ask("credit", 100, credit=1)
    await session.ask("ack", 1, topic=topic, tokens=tokens(messages[:1]))
    assert await session.is_quiet()
    await session.ask("ack", 2, topic=topic, tokens=tokens(messages[1:]))
    assert told(await session.delivered(1)) == [2]


async def test_a_credit_taken_back_while_it_waits_holds(session: Talk, topic: str, live: Live) -> None:
    await session.consume(topic, 5)
    assert await session.is_quiet(0.05)
    await session.ask("credit", 100, credit=0)
    await session.publish(topic, "a")
    assert await session.is_quiet()
    assert told(await received(live, topic)) == ["a"]


async def test_a_cancelled_consumer_gets_nothing_and_may_settle_what_it_has(
    session: Talk, topic: str, live: Live
) -> None:
    await session.publish(topic, "a")
    await session.consume(topic, 5)
    messages = await session.delivered(1)
    assert await session.ask("cancel", 100) == {"op": "cancelled", "id": 100}
    await session.publish(topic, "b")
    assert await session.is_quiet()
    await session.ask("ack", 1, topic=topic, tokens=tokens(messages))
    assert await bodies(live, topic) == ["b"]
    await session.consume(topic, 5)
    assert told(await session.delivered(1)) == ["b"]


async def test_who_goes_gives_back_what_was_not_settled(live: Live, topic: str) -> None:
    async with talk(live.url) as session:
        await session.publish(topic, *range(4))
        await session.consume(topic, 3)
        messages = await session.delivered(3)
        await session.ask("ack", 1, topic=topic, tokens=tokens(messages[1:2]))
        await session.delivered(1)
    again: list[dict[str, Any]] = []
    while len(again) < 3:
        again += await received(live, topic, wait_s=5)
    assert sorted((m["body"], m["deliveries"]) for m in again) == [(0, 2), (2, 2), (3, 2)]


async def test_who_vanishes_while_it_waits_takes_nothing_along(live: Live, topic: str) -> None:
    async with talk(live.url) as session:
        await session.consume(topic, 3)
        session.socket.transport.abort()
    await asyncio.sleep(0.1)
    async with talk(live.url) as other:
        await other.publish(topic, "a")
    messages = await received(live, topic, wait_s=2)
    assert [(m["body"], m["deliveries"]) for m in messages] == [("a", 1)]


async def test_consumers_share_a_topic_and_a_subscription_has_it_all(session: Talk, topic: str, live: Live) -> None:
    async with httpx.AsyncClient(base_url=live.url) as client:
        answer = await client.put(f"/v1/topics/{topic}/subscriptions/mails", json={})
        assert answer.status_code == 201
    for id in (1, 2):
        await session.consume(topic, 5, id=id)
    await session.consume(topic, 20, id=3, subscription="mails")
    await session.publish_only(topic, *range(10))
    seen: dict[int, list[Any]] = {1: [], 2: [], 3: []}
    while sum(map(len, seen.values())) < 20:
        frame = await session.hear()
        if frame["op"] == "deliver":
            seen[frame["id"]] += told(frame["messages"])
    assert sorted(seen[1] + seen[2]) == list(range(10))
    assert len(seen[1]) == len(seen[2]) == 5
    assert seen[3] == list(range(10))


async def test_a_topic_that_goes_ends_the_consumer(session: Talk, topic: str, live: Live) -> None:
    await session.consume(topic, 5)
    async with httpx.AsyncClient(base_url=live.url) as client:
        await client.delete(f"/v1/topics/{topic}")
        frame = await session.hear()
        assert (frame["op"], frame["id"], frame["code"]) == ("error", 100, "topic_not_found")
        await client.put(f"/v1/topics/{topic}", json={})
    await session.consume(topic, 5)


async def test_a_consumer_sits_out_the_time_without_a_leader(session: Talk, topic: str, live: Live) -> None:
    await session.consume(topic, 1)
    await session.publish(topic, "a", "b")
    messages = await session.delivered(1)
    settled = await session.ask("ack", 1, topic=topic, tokens=tokens(messages))
    assert settled["op"] == "settled"
    second = await session.delivered(1)
    live.node.fail = NoQuorum("no leader")
    try:
        frame = await session.ask("ack", 2, topic=topic, tokens=tokens(second))
        assert frame["code"] == "no_quorum"
    finally:
        live.node.fail = None
    await session.ask("ack", 3, topic=topic, tokens=tokens(second))
    live.node.fail = NoQuorum("no leader")
    await asyncio.sleep(0.1)
    live.node.fail = None
    await session.publish_only(topic, "c")
    frames = [await session.hear(), await session.hear()]
    assert {frame["op"] for frame in frames} == {"published", "deliver"}


async def test_large_messages_come_in_frames_that_libraries_take(session: Talk, topic: str) -> None:
    await session.publish(topic, *["x" * 300_000 for _ in range(4)])
    await session.consume(topic, 10)
    frames = [await session.hear() for _ in range(4)]
    assert [len(frame["messages"]) for frame in frames] == [1, 1, 1, 1]
    assert 2 * 300_000 > FRAME_BYTES > 300_000


async def test_a_hundred_publishers_and_consumers_at_once_lose_nothing(live: Live, topic: str) -> None:
    seen: list[Any] = []

    async def work(name: int) -> None:
        async with talk(live.url) as session:
            await session.consume(topic, 7, id=1)
            confirmed = 0
            for n in range(20):
                await session.say("publish", 1000 + n, topic=topic, body=[name, n])
            while confirmed < 20 or len(seen) < 400:
                try:
                    frame = await session.hear(0.3)
                except TimeoutError:
                    continue
                confirmed += frame["op"] == "published"
                if frame["op"] == "deliver":
                    seen.extend(told(frame["messages"]))
                    await session.say("ack", 2, topic=topic, tokens=tokens(frame["messages"]))
                assert frame["op"] != "error", frame

    async with asyncio.timeout(120):
        await asyncio.gather(*(work(name) for name in range(20)))
    assert sorted(seen) == [[name, n] for name in range(20) for n in range(20)]


async def test_an_id_may_be_used_again_after_cancel(live: Live, topic: str) -> None:
    async with talk(live.url) as session:
        await session.consume(topic, 5, id=2)
        await session.say("cancel", 2)
        await session.say("consume", 2, topic=topic, credit=5)
        assert [(await session.hear())["op"] for _ in range(2)] == ["cancelled", "consuming"]
        assert (await session.ask("credit", 2, credit=7))["op"] == "consuming"
        await session.publish_only(topic, "a")
        assert {(await session.hear())["op"] for _ in range(2)} == {"published", "deliver"}
        assert (await session.ask("cancel", 2))["op"] == "cancelled"
    async with talk(live.url) as other:
        await other.publish(topic, "b")
    messages: list[dict[str, Any]] = []
    while len(messages) < 2:
        messages += await received(live, topic, wait_s=5)
    assert sorted((m["body"], m["deliveries"]) for m in messages) == [("a", 2), ("b", 1)]


async def test_an_ack_under_another_topics_name_gives_no_credit(session: Talk, topic: str, live: Live) -> None:
    async with httpx.AsyncClient(base_url=live.url) as client:
        await client.put("/v1/topics/other", json={})
    await session.publish(topic, 1, 2)
    await session.consume(topic, 1)
    first = await session.delivered(1)
    settled = await session.ask("ack", 1, topic="other", tokens=tokens(first))
    assert settled["results"][0]["code"] == "lease_lost" and await session.is_quiet()
    await session.ask("ack", 2, topic=topic, tokens=tokens(first))
    assert told(await session.delivered(1)) == [2]


async def test_a_lease_that_was_shortened_gives_the_credit_back_sooner(session: Talk, topic: str, live: Live) -> None:
    await session.publish(topic, 1, 2)
    await session.consume(topic, 1, lease_s=60)
    first = await session.delivered(1)
    await session.ask("extend", 1, topic=topic, tokens=tokens(first), lease_s=0.2)
    again = await session.delivered(1)
    assert (told(again), again[0]["deliveries"]) == ([1], 2)


async def test_after_cancelled_nothing_is_delivered(session: Talk, topic: str, live: Live) -> None:
    await session.publish(topic, *["x" * 300_000 for _ in range(8)])
    await session.say("consume", 100, topic=topic, credit=100)
    await session.say("cancel", 100)
    ops: list[str] = []
    while "cancelled" not in ops:
        ops.append((await session.hear())["op"])
    assert await session.is_quiet(0.3)


async def test_headers_count_in_a_frame(session: Talk, topic: str) -> None:
    headers = {f"h{n}": "é" * 1024 for n in range(32)}
    await session.publish(topic, *range(40), headers=headers)
    await session.consume(topic, 100)
    seen = 0
    while seen < 40:
        async with asyncio.timeout(30):
            text = await session.socket.recv()
        assert len(text.encode() if isinstance(text, str) else text) < 1 << 20
        seen += str(text).count('"token"')


async def test_a_subscription_that_goes_ends_its_consumer(session: Talk, topic: str, live: Live) -> None:
    async with httpx.AsyncClient(base_url=live.url) as client:
        await client.put(f"/v1/topics/{topic}/subscriptions/mails", json={})
        await session.consume(topic, 5, subscription="mails")
        await client.delete(f"/v1/topics/{topic}/subscriptions/mails")
    frame = await session.hear()
    assert (frame["op"], frame["code"]) == ("error", "subscription_not_found")


async def test_a_lost_answer_leases_to_nobody(session: Talk, topic: str, live: Live) -> None:
    await session.consume(topic, 5)
    assert await session.is_quiet(0.05)
    live.node.lost = 1
    live.run(_publish_beside(live, topic))
    [message] = await session.delivered(1)
    assert message["deliveries"] == 1


def _publish_beside(live: Live, topic: str) -> Any:
    async def publish() -> None:
        live.node.apply(encode(Publish(topic, [NewMessage(b'"a"')])))

    return publish


async def test_a_consumer_of_a_node_that_stops_does_not_ask_again_and_again() -> None:
    """It may have its turn before its session has noticed; it kept that turn for ever."""
    live = Live()
    live.start()
    try:
        async with httpx.AsyncClient(base_url=live.url) as client:
            await client.put("/v1/topics/t", json={})
        live.run(partial(_stop_polls_alone, live))
        async with talk(live.url) as session:
            await session.consume("t", 10)
            await session.publish("t", "somebody else has a turn")
            assert await session.is_quiet()
    finally:
        live.stop()


async def _stop_polls_alone(live: Live) -> None:
    live.node.stopping.set()
    live.node.stopping = asyncio.Event()
