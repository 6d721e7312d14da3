"""Whose turn it is at a long poll, and that nobody is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.api.calls import ClientGone
from app.api.metrics import Meters
from app.api.polls import LongPolls
from app.api.queue import Queue
from app.api.session.consuming import BUSY_MAX, Consumers
from app.api.session.frames import Consume
from app.api.session.wire import Wire
from app.broker import commands
from app.broker.commands import Ack, NewMessage, Publish
from app.broker.errors import StateFull
from tests.api.fake_node import FakeNode
from tests.api.polling import Consumer, have_looked, hold_up, publish, settle

pytestmark = pytest.mark.anyio


async def test_who_has_been_served_stands_behind_those_who_wait(node: FakeNode, polls: LongPolls) -> None:
    first, second = Consumer(node, polls, most=1000), Consumer(node, polls, most=1000)
    await have_looked((first, second))
    publish(node, b"1")
    assert await first.bodies() == [b"1"]
    served = Consumer(node, polls, most=1000, again=True)
    await settle()
    publish(node, b"2")
    assert await second.bodies() == [b"2"]
    assert served.takes == 0, "it waits for those before it, and does not look meanwhile"
    publish(node, b"3")
    assert await served.bodies() == [b"3"]
    assert served.takes == 1


async def test_who_takes_all_there_is_leaves_no_turn_to_others(node: FakeNode, polls: LongPolls) -> None:
    first, second = Consumer(node, polls, most=1000), Consumer(node, polls, most=1000)
    await have_looked((first, second))
    done, release = hold_up(node)
    publish(node, b"1")
    await done.wait()
    publish(node, b"2")
    await settle()
    assert second.takes == 1, "the first may have got that, too"
    release.set()
    assert await first.bodies() == [b"1"]
    assert await second.bodies() == [b"2"]


async def one_asks_in_vain(node: FakeNode, polls: LongPolls) -> asyncio.Event:
    """The first in line asks for "1", for which somebody else was faster, and is not answered yet when "2" comes. ->
    what has him answered."""
    faster = commands.encode(commands.Receive("t", "default", 10, True))
    done, release = hold_up(node, before=lambda: node.apply(faster))
    publish(node, b"1")
    await done.wait()
    polls._lines["t", "default"].is_timed = True  # Nobody looks at it again for want of anything else.
    publish(node, b"2")
    await settle()
    return release


async def test_what_came_while_somebody_asked_in_vain_is_not_missed(node: FakeNode, polls: LongPolls) -> None:
    first, second = Consumer(node, polls, most=1000, wait_s=2), Consumer(node, polls, most=1000, wait_s=2)
    await have_looked((first, second))
    (await one_asks_in_vain(node, polls)).set()
    assert await second.bodies() == [b"2"]
    assert await first.bodies() == []


async def test_nor_is_it_when_his_time_is_over(node: FakeNode, polls: LongPolls) -> None:
    first, second = Consumer(node, polls, most=1000, wait_s=0.4), Consumer(node, polls, most=1000, wait_s=5)
    await have_looked((first, second))
    release = await one_asks_in_vain(node, polls)
    await asyncio.sleep(0.4)
    release.set()
    assert await first.bodies() == []
    assert await second.bodies() == [b"2"]


async def test_many_messages_at_once_reach_as_many_within_a_few_rounds(node: FakeNode, polls: LongPolls) -> None:
    consumers = [Consumer(node, polls) for _ in range(64)]
    await have_looked(consumers)
    rounds, waiting = 0, list[asyncio.Future[None]]()

    async def submit(command: bytes, **options: Any) -> bytes:
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        await turn
        return await FakeNode.submit(node, command, **options)

    node.submit = submit  # type: ignore[method-assign]
    publish(node, *(b"%d" % n for n in range(64)))
    await settle()
    while waiting:
        rounds += 1
        asked, waiting = waiting, []
        for turn in asked:
            turn.set_result(None)
        await settle()
    assert sorted([int(body) for consumer in consumers for body in await consumer.bodies()]) == list(range(64))
    assert rounds <= 8


async def test_who_has_asked_before_looks_at_the_end_where_his_node_shows_nothing(
    node: FakeNode, polls: LongPolls
) -> None:
    """This node's own state may be an old one."""
    publish(node, b"1")
    node.machine.ready = lambda topic, subscription: 0  # type: ignore[method-assign]
    consumer = Consumer(node, polls, wait_s=0.3, again=True)
    await asyncio.sleep(0.2)
    assert consumer.takes == 0
    assert await consumer.bodies() == [b"1"]


async def test_what_a_group_holds_makes_nobody_ask_again(node: FakeNode, polls: LongPolls) -> None:
    """It counts as ready, and cannot be handed out."""
    node.apply(commands.encode(Publish("t", [NewMessage(b"%d" % n, group="g") for n in range(65)])))
    (first,) = (await Consumer(node, polls, lease_ms=60_000).task).messages
    waiting = [Consumer(node, polls, lease_ms=60_000) for _ in range(20)]
    await have_looked(waiting)
    for _ in range(10):
        assert await Consumer(node, polls, wait_s=0.01).bodies() == []
    assert sum(consumer.takes for consumer in waiting) <= 20 + 2
    node.apply(commands.encode(Ack("t", [str(first.token)])))
    done, _ = await asyncio.wait([consumer.task for consumer in waiting], return_when=asyncio.FIRST_COMPLETED)
    assert [message.body for message in done.pop().result().messages] == [b"1"]
    node.stopping.set()
    await settle()


async def test_an_unused_turn_is_the_next_ones(node: FakeNode, polls: LongPolls) -> None:
    """Of a group's messages one at a time can be had, so a turn too many would be one in vain."""
    node.apply(commands.encode(Publish("t", [NewMessage(b"%d" % n, group="g") for n in range(9)])))
    (first,) = (await Consumer(node, polls, lease_ms=60_000).task).messages
    waiting = [Consumer(node, polls, lease_ms=60_000) for _ in range(10)]
    await have_looked(waiting)

    async def submit(command: bytes, **options: Any) -> bytes:
        del node.submit  # type: ignore[misc]
        raise ZeroDivisionError

    node.submit = submit  # type: ignore[method-assign]
    node.apply(commands.encode(Ack("t", [str(first.token)])))
    await settle()
    done = [consumer for consumer in waiting if consumer.task.done()]
    assert len(done) == 2 and any(consumer.task.exception() for consumer in done)
    assert sum(consumer.takes for consumer in waiting) <= 10 + 2 + 2, "one failed, one got it, and has woken two"
    node.stopping.set()
    await settle()


async def test_one_that_hangs_holds_up_nobody_for_long(node: FakeNode, polls: LongPolls) -> None:
    first = Consumer(node, polls, most=1000)
    others = [Consumer(node, polls) for _ in range(3)]
    await have_looked((first, *others))
    done, release = hold_up(node)
    publish(node, b"1")
    await done.wait()
    publish(node, b"2", b"3", b"4")
    async with asyncio.timeout(15):
        assert sorted([body for consumer in others for body in await consumer.bodies()]) == [b"2", b"3", b"4"]
    release.set()
    assert await first.bodies() == [b"1"]


async def test_turns_that_are_over_take_no_memory(node: FakeNode, polls: LongPolls) -> None:
    """A topic to which nobody publishes, and consumers that come again and again."""
    waiting = Consumer(node, polls)
    await settle()
    for _ in range(10):
        others = [Consumer(node, polls, wait_s=0.01) for _ in range(5)]
        assert [await other.bodies() for other in others] == [[]] * 5
    assert len(polls._lines["t", "default"]._given) <= 5
    waiting.hang_up()
    with pytest.raises(ClientGone):
        await waiting.task


async def test_where_the_state_has_no_room_the_log_is_asked(node: FakeNode, polls: LongPolls) -> None:
    real = node.machine.ready

    def ready(topic: str, subscription: str) -> int | None:
        node.machine.ready = real  # type: ignore[method-assign]
        raise StateFull

    first = Consumer(node, polls)
    await settle()
    node.machine.ready = ready  # type: ignore[method-assign]
    publish(node, b"1")
    assert await first.bodies() == [b"1"]
    assert polls.waiting() == 0


async def test_consumers_of_a_session_do_not_ask_for_what_a_group_holds(
    node: FakeNode, polls: LongPolls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than a session lets ask at once, each once refused stood in line again, and woke another."""
    node.apply(commands.encode(Publish("t", [NewMessage(b"1", group="g")] * 65)))
    node.apply(commands.encode(commands.Receive("t", auto_ack=False)))

    async def send(event: object) -> None:
        return None

    async def submit(command: bytes, **options: Any) -> bytes:
        await asyncio.sleep(0.003)
        return await FakeNode.submit(node, command, **options)

    monkeypatch.setattr(node, "submit", submit)
    consumers = Consumers(node, Queue(node), polls, Meters(), Wire(None, send))  # type: ignore[arg-type]
    for id in range(3 * BUSY_MAX):
        consumers.consume(Consume(id=id, topic="t", credit=1))
    await asyncio.sleep(1)
    before = node.received
    assert before >= 3 * BUSY_MAX, "each has looked"
    await asyncio.sleep(0.5)
    assert node.received - before <= 3
    consumers.end()
    await consumers.give_back()
