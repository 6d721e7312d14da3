"""Long polls: woken in turn, by what comes for them; gone without a trace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from app.api.calls import ClientGone
from app.api.polls import LongPolls
from app.broker import commands
from app.broker.commands import Ack, CreateSubscription, CreateTopic, NewMessage, Publish
from tests.api.fake_node import FakeNode
from tests.api.polling import Consumer, have_looked, hold_up, publish, settle

pytestmark = pytest.mark.anyio


async def test_a_message_that_is_there_is_taken_at_once(node: FakeNode, polls: LongPolls) -> None:
    publish(node, b"1")
    assert await Consumer(node, polls).bodies() == [b"1"]
    assert polls.waiting() == 0


async def test_a_message_wakes_the_first_in_line_alone(node: FakeNode, polls: LongPolls) -> None:
    consumers = [Consumer(node, polls) for _ in range(10)]
    await settle()
    assert [consumer.takes for consumer in consumers] == [1] + [0] * 9, "who is not alone may wait a moment"
    await have_looked(consumers)
    assert polls.waiting() == 10
    publish(node, b"1")
    assert await consumers[0].bodies() == [b"1"]
    await settle()
    assert [consumer.takes for consumer in consumers] == [2] + [1] * 9
    assert polls.waiting() == 9
    for consumer in consumers[1:]:
        consumer.hang_up()
        with pytest.raises(ClientGone):
            await consumer.task


async def test_many_messages_at_once_reach_as_many(node: FakeNode, polls: LongPolls) -> None:
    consumers = [Consumer(node, polls) for _ in range(8)]
    await settle()
    publish(node, *(b"%d" % n for n in range(8)))
    found = [await consumer.bodies() for consumer in consumers]
    assert sorted(found) == [[b"%d" % n] for n in range(8)]
    assert polls.waiting() == 0


async def test_a_turn_is_handed_on_by_who_hangs_up(node: FakeNode, polls: LongPolls) -> None:
    first, second = Consumer(node, polls), Consumer(node, polls)
    await settle()
    first.hang_up()
    publish(node, b"1")
    with pytest.raises(ClientGone):
        await first.task
    assert await second.bodies() == [b"1"]


async def test_a_turn_is_handed_on_by_who_fails(node: FakeNode, polls: LongPolls) -> None:
    first, second = Consumer(node, polls), Consumer(node, polls)
    await settle()
    attempts = []

    async def submit(command: bytes, **options: Any) -> bytes:
        attempts.append(command)
        if len(attempts) == 1:
            raise ZeroDivisionError
        return await FakeNode.submit(node, command, **options)

    node.submit = submit  # type: ignore[method-assign]
    publish(node, b"1")
    with pytest.raises(ZeroDivisionError):
        await first.task
    assert await second.bodies() == [b"1"]


async def test_a_message_between_looking_and_waiting_is_not_missed(node: FakeNode, polls: LongPolls) -> None:
    async def submit(command: bytes, **options: Any) -> bytes:
        found = await FakeNode.submit(node, command, **options)
        del node.submit  # type: ignore[misc]
        publish(node, b"1")
        return found

    node.submit = submit  # type: ignore[method-assign]
    assert await Consumer(node, polls).bodies() == [b"1"]


async def test_a_message_wakes_the_first_of_each_subscription(node: FakeNode, polls: LongPolls) -> None:
    for name in ("one", "two"):
        node.apply(commands.encode(CreateSubscription("t", name)))
    consumers = {name: [Consumer(node, polls, subscription=name) for _ in range(3)] for name in ("one", "two")}
    for waiting in consumers.values():
        await have_looked(waiting)
    publish(node, b"1")
    assert [await consumers[name][0].bodies() for name in ("one", "two")] == [[b"1"], [b"1"]]
    await settle()
    for waiting in consumers.values():
        assert [consumer.takes for consumer in waiting] == [2, 1, 1]
    node.stopping.set()
    await settle()


async def test_what_is_ready_for_others_wakes_nobody(node: FakeNode, polls: LongPolls) -> None:
    """A lease of another subscription ends."""
    node.apply(commands.encode(CreateSubscription("t", "other")))
    publish(node, b"1")
    leased = Consumer(node, polls, lease_ms=1000)
    assert await leased.bodies() == [b"1"]
    assert await Consumer(node, polls, subscription="other").bodies() == [b"1"]
    here, there = Consumer(node, polls), Consumer(node, polls, subscription="other", wait_s=0.2)
    await settle()
    node.pass_time(2)
    assert await here.bodies() == [b"1"]
    assert await there.bodies() == []
    assert there.takes == 1


async def test_a_lease_that_ends_wakes_who_waits(node: FakeNode, polls: LongPolls) -> None:
    publish(node, b"1")
    assert await Consumer(node, polls, lease_ms=1000).bodies() == [b"1"]
    waiting = Consumer(node, polls)
    await settle()
    assert waiting.takes == 1
    node.pass_time(2)
    assert await waiting.bodies() == [b"1"]


async def test_a_delayed_message_wakes_who_waits(node: FakeNode, polls: LongPolls) -> None:
    node.apply(commands.encode(Publish("t", [NewMessage(b"1", delay_ms=5000)])))
    waiting = Consumer(node, polls)
    await settle()
    assert waiting.takes == 1
    node.pass_time(6)
    assert await waiting.bodies() == [b"1"]


async def test_a_group_that_is_free_again_wakes_who_waits(node: FakeNode, polls: LongPolls) -> None:
    node.apply(commands.encode(Publish("t", [NewMessage(b"1", group="g"), NewMessage(b"2", group="g")])))
    (first,) = (await Consumer(node, polls, lease_ms=9000).task).messages
    waiting = Consumer(node, polls)
    await settle()
    assert waiting.takes == 1
    node.apply(commands.encode(Ack("t", [str(first.token)])))
    assert await waiting.bodies() == [b"2"]


async def test_that_there_is_more_to_clear_away_means_to_ask_again(node: FakeNode, polls: LongPolls) -> None:
    for _ in range(3):
        node.apply(commands.encode(Publish("t", [NewMessage(b"0", ttl_ms=1000)] * 1000)))
    publish(node, b"last")
    node.ahead_ms += 2000
    consumer = Consumer(node, polls, most=1000)
    assert await consumer.bodies() == [b"last"]
    assert consumer.takes > 1


async def test_who_has_hung_up_when_his_messages_come_gives_them_back(node: FakeNode, polls: LongPolls) -> None:
    done, release = hold_up(node)
    publish(node, b"1", b"2")
    consumer = Consumer(node, polls)
    await done.wait()
    consumer.hang_up()
    await settle()
    release.set()
    with pytest.raises(ClientGone):
        await consumer.task
    assert consumer.given_back == [b"1"]
    assert polls.waiting() == 0


async def test_time_ends_a_poll_with_nothing(node: FakeNode, polls: LongPolls) -> None:
    started = time.monotonic()
    assert await Consumer(node, polls, wait_s=0.2).bodies() == []
    assert 0.15 < time.monotonic() - started < 15
    assert polls.waiting() == 0


async def test_stopping_ends_all(node: FakeNode, polls: LongPolls) -> None:
    consumers = [Consumer(node, polls, wait_s=20) for _ in range(5)]
    await have_looked(consumers)
    node.hangs = True
    node.stopping.set()
    assert [await consumer.bodies() for consumer in consumers] == [[]] * 5, "who has looked is answered at once"
    assert [consumer.takes for consumer in consumers] == [1] * 5
    node.hangs = False
    assert await Consumer(node, polls, wait_s=20).bodies() == []


async def test_nothing_is_left_behind(node: FakeNode, polls: LongPolls) -> None:
    publish(node, b"1", b"2")
    consumers = [Consumer(node, polls, wait_s=0.05) for _ in range(4)]
    await asyncio.gather(*(consumer.task for consumer in consumers))
    consumer = Consumer(node, polls)
    await settle()
    consumer.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer.task
    assert polls.waiting() == 0
    assert not node.machine._watchers


async def test_a_thousand_polls_are_served_in_turn(node: FakeNode, polls: LongPolls) -> None:
    consumers = [Consumer(node, polls) for _ in range(1000)]
    await settle()
    for start in range(0, 1000, 100):
        publish(node, *(b"%d" % n for n in range(start, start + 100)))
    found = await asyncio.gather(*(consumer.bodies() for consumer in consumers))
    assert sorted(int(bodies[0]) for bodies in found) == list(range(1000))
    assert sum(consumer.takes for consumer in consumers) <= 2100


async def test_over_http(client: httpx.AsyncClient, node: FakeNode) -> None:
    node.apply(commands.encode(CreateTopic("t")))

    async def later(wait_s: float, function: Callable[[], Awaitable[Any]]) -> None:
        await asyncio.sleep(wait_s)
        await function()

    sending = asyncio.ensure_future(later(0.1, lambda: client.put("/message", json={"topic": "t", "message": "m"})))
    started = time.monotonic()
    answer = await client.post("/v1/topics/t/messages:receive", json={"auto_ack": True, "wait_s": 20})
    assert [message["body"] for message in answer.json()["messages"]] == ["m"]
    assert 0.05 < time.monotonic() - started < 15
    await sending
