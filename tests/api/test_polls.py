"""Long polls: woken in turn, by what comes for them; gone without a trace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx
import pytest

from app.api.calls import Call, ClientGone
from app.api.polls import LongPolls
from app.broker import commands, results
from app.broker.commands import Ack, CreateSubscription, CreateTopic, NewMessage, Publish
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio


class Consumer:
    """One poller on a topic; `hang_up` is the client's."""

    def __init__(
        self, node: FakeNode, polls: LongPolls, wait_s: float = 60, most: int = 1, subscription: str = "default",
        lease_ms: int | None = None, again: bool = False,
    ) -> None:  # fmt: skip
        self._node = node
        self._asked = commands.Receive("t", subscription, most, lease_ms is None, lease_ms)
        self._gone = asyncio.Event()
        self.takes = 0
        self.looked = asyncio.Event()
        self.given_back: list[bytes] = []
        call = Call({"headers": []}, self._receive, ())
        place = ("t", subscription)
        self.task = asyncio.ensure_future(
            polls.receive(call, place, wait_s, self._take, self._give_back, wanted=most, again=again)
        )

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _take(self) -> results.Received:
        self.takes += 1
        found = results.decode(await self._node.submit(commands.encode(self._asked), timeout_s=1))
        assert isinstance(found, results.Received)
        self.looked.set()
        return found

    async def _give_back(self, received: results.Received) -> None:
        self.given_back = [message.body for message in received.messages]

    def hang_up(self) -> None:
        self._gone.set()

    async def bodies(self) -> list[bytes]:
        return [message.body for message in (await self.task).messages]


@pytest.fixture
async def node(node: FakeNode) -> FakeNode:
    node.apply(commands.encode(CreateTopic("t")))
    return node


@pytest.fixture
async def polls(node: FakeNode) -> LongPolls:
    return LongPolls(node.machine, node.stopping)


def publish(node: FakeNode, *bodies: bytes) -> None:
    node.apply(commands.encode(Publish("t", [NewMessage(body) for body in bodies])))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def have_looked(consumers: Iterable[Consumer]) -> None:
    """Those that were not alone when they came look after a while."""
    async with asyncio.timeout(15):
        for consumer in consumers:
            await consumer.looked.wait()
    await settle()


def hold_up(node: FakeNode, before: Callable[[], object] = lambda: None) -> tuple[asyncio.Event, asyncio.Event]:
    """The next take is done at once, after `before`, and answered later. -> set when it is done, and to be set."""
    done, release = asyncio.Event(), asyncio.Event()

    async def submit(command: bytes, **options: Any) -> bytes:
        del node.submit  # type: ignore[misc]
        before()
        found = await FakeNode.submit(node, command, **options)
        done.set()
        await release.wait()
        return found

    node.submit = submit  # type: ignore[method-assign]
    return done, release


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
    await settle()
    node.stopping.set()
    assert [await consumer.bodies() for consumer in consumers] == [[]] * 5
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


async def test_what_came_while_somebody_asked_in_vain_is_not_missed(node: FakeNode, polls: LongPolls) -> None:
    first, second = Consumer(node, polls, most=1000, wait_s=2), Consumer(node, polls, most=1000, wait_s=2)
    await have_looked((first, second))
    faster = commands.encode(commands.Receive("t", "default", 10, True))
    done, release = hold_up(node, before=lambda: node.apply(faster))
    publish(node, b"1")
    await done.wait()
    publish(node, b"2")
    await settle()
    release.set()
    assert await second.bodies() == [b"2"]
    assert await first.bodies() == []


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


async def test_who_was_here_a_moment_ago_still_looks_where_his_node_shows_nothing(
    node: FakeNode, polls: LongPolls
) -> None:
    """This node's own state may be an old one."""
    publish(node, b"1")
    node.machine.ready = lambda topic, subscription: 0  # type: ignore[method-assign]
    consumer = Consumer(node, polls, again=True)
    await settle()
    assert consumer.takes == 0
    assert await consumer.bodies() == [b"1"]


async def test_over_http(client: httpx.AsyncClient, node: FakeNode) -> None:
    async def later(wait_s: float, function: Callable[[], Awaitable[Any]]) -> None:
        await asyncio.sleep(wait_s)
        await function()

    sending = asyncio.ensure_future(later(0.1, lambda: client.put("/message", json={"topic": "t", "message": "m"})))
    started = time.monotonic()
    answer = await client.post("/v1/topics/t/messages:receive", json={"auto_ack": True, "wait_s": 20})
    assert [message["body"] for message in answer.json()["messages"]] == ["m"]
    assert 0.05 < time.monotonic() - started < 15
    await sending
