"""Consumers of a session: messages come by themselves, and never more are with the client than its credit.

Theory: a consumer is a long poll that asks again when it is answered. A message counts against the credit until the
client settles it, or until its lease must have run out by this node's own clock, because then another may have it. It
is asked for the next ones while that is on its way, so that they share a round of the log; should it fail, the message
counts again. What the client has when it goes is given back at once, and waits for no lease.

Rules of this file: a consumer ends for good when its topic or its subscription is gone; whatever passes, such as the
time without a leader, it sits out.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from app.api.calls import ClientGone
from app.api.kinds import MESSAGES_MAX, WAIT_MAX_S, to_ms
from app.api.metrics import Meters
from app.api.polls import LongPolls
from app.api.problems import Problem
from app.api.queue import Queue, tokens_of
from app.api.receive import received_message
from app.api.routes import OPERATION_TIMEOUT_S, place_of
from app.api.session.frames import Cancelled, Consume, Consuming, Deliver, error
from app.api.session.wire import Wire
from app.broker import results
from app.broker.commands import Receive
from app.node.errors import NodeError

if TYPE_CHECKING:
    from app.node.service import Node

CONSUMERS_MAX = 100
FRAME_BYTES = 512 << 10
"""Of messages in one frame: libraries refuse frames of more than 1 MiB unless they are told otherwise."""
BUSY_MAX = 4
"""Consumers of one session for which messages are taken, or on their way, at once: each may have 4 MiB in memory while
the client does not read."""
PAUSE_S = 0.5
"""Before a consumer asks again that was refused for a while."""


class _Later(Exception):
    """Enough is on its way to this client: somebody else's turn."""


class Consumer:
    """One consumer. Its long poll takes it for the client (`polls.Caller`)."""

    def __init__(self, frame: Consume) -> None:
        self.id, self.topic, self.subscription = frame.id, frame.topic, frame.subscription
        self.lease_ms = None if frame.lease_s is None else to_ms(frame.lease_s)
        self.credit = int(frame.credit)
        self.unsettled: dict[str, float] = {}
        """By token: when its lease is over, on the loop's clock."""
        self.settling: dict[str, float] = {}
        """The same of those that the client has settled, as long as it is not known what came of it."""
        self.first_over_at = math.inf
        """None of them is over before."""
        self.is_over = self.is_taking = False
        self.has_asked = False
        """Whether the log was ever asked for it."""
        self._news = asyncio.Event()
        self._interrupted = asyncio.Event()

    @property
    def room(self) -> int:
        """How many messages more it may have now; below 1 for none."""
        return min(self.credit - len(self.unsettled), MESSAGES_MAX)

    def hold(self, token: str, over_at: float) -> None:
        """The client has it until then, unless it is settled before."""
        self.unsettled[token] = over_at
        self.first_over_at = min(self.first_over_at, over_at)

    def news(self) -> None:
        """Something has changed."""
        self._news.set()

    def interrupt(self) -> None:
        """Something has changed of which its long poll knows nothing. What that has taken already is still welcome."""
        self._news.set()
        if not self.is_taking:
            self._interrupted.set()

    def end(self) -> None:
        """Nothing more for this one."""
        self.is_over = True
        self._news.set()
        self._interrupted.set()

    async def wait(self, timeout_s: float | None) -> None:
        """Return at the next news, or when the time is over."""
        self._news.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def disconnected(self) -> None:
        """Return when the long poll is of no use any more."""
        await self._interrupted.wait()

    def begin_poll(self) -> None:
        """What interrupted the last one is known."""
        if not self.is_over:
            self._interrupted.clear()


class Consumers:
    """The consumers of one session."""

    def __init__(self, node: Node, queue: Queue, polls: LongPolls, meters: Meters, wire: Wire) -> None:
        self._node, self._queue, self._polls, self._meters, self._wire = node, queue, polls, meters, wire
        self._consumers: dict[int, Consumer] = {}
        self._holders: dict[str, Consumer] = {}
        """Who has a token."""
        self._tasks: dict[asyncio.Task[None], Consumer] = {}
        self._busy: set[Consumer] = set()
        """Those for which messages are being taken, or are on their way to the client."""
        self._calm = asyncio.Event()
        self._calm.set()

    # What the client says

    def consume(self, frame: Consume) -> None:
        """A new consumer. Raises Problem."""
        if frame.id in self._consumers:
            raise Problem("invalid_body", f"There is a consumer {frame.id} already: take another `id`.")
        if len(self._consumers) >= CONSUMERS_MAX or len(self._tasks) >= 2 * CONSUMERS_MAX:
            raise Problem("too_many", f"A session has at most {CONSUMERS_MAX} consumers: open another one.")
        consumer = self._consumers[frame.id] = Consumer(frame)
        task = asyncio.get_running_loop().create_task(self._run(consumer))
        self._tasks[task] = consumer
        task.add_done_callback(self._tasks.pop)

    def set_credit(self, id: int, credit: int) -> Consuming:
        """Another credit. Raises Problem."""
        consumer = self._found(id)
        lower, consumer.credit = credit < consumer.credit, credit
        consumer.interrupt() if lower else consumer.news()
        return Consuming(id=id, credit=credit)

    def cancel(self, id: int) -> Cancelled:
        """Nothing more for this consumer. Raises Problem."""
        self._end(self._found(id))
        return Cancelled(id=id)

    def settles(self, topic: str, tokens: Iterable[str]) -> None:
        """The client has settled these: others may come in their place."""
        for token in tokens:
            holder = self._holders.get(token)
            if holder is not None and holder.topic == topic and token in holder.unsettled:
                holder.settling[token] = holder.unsettled.pop(token)
                holder.news()

    def told(self, topic: str, token: str, lease_ms: int | None) -> None:
        """The token's message stays with the client for so long; None: it does not."""
        holder = self._holders.get(token)
        if holder is None or holder.topic != topic:
            return
        if lease_ms is None:
            del self._holders[token]
            holder.unsettled.pop(token, None)
            holder.settling.pop(token, None)
        elif token in holder.settling:
            holder.settling[token] = _now() + lease_ms / 1000
        else:
            holder.hold(token, _now() + lease_ms / 1000)
        holder.news()

    def keeps(self, topic: str, tokens: Iterable[str]) -> None:
        """Nobody knows what came of settling these: as far as this session goes, the client has them still."""
        for token in tokens:
            holder = self._holders.get(token)
            if holder is not None and holder.topic == topic and token in holder.settling:
                holder.hold(token, holder.settling.pop(token))

    def end(self) -> None:
        """Nothing more for any."""
        for consumer in self._tasks.values():
            self._end(consumer)

    async def give_back(self) -> None:
        """After `end`: what the client has had and not settled is for others, now."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        by_topic: dict[str, list[str]] = {}
        for token, holder in self._holders.items():
            by_topic.setdefault(holder.topic, []).append(token)
        for topic, tokens in by_topic.items():
            await self._queue.give_back(topic, tokens, OPERATION_TIMEOUT_S)

    def _found(self, id: int) -> Consumer:
        if id not in self._consumers:
            raise Problem("consumer_not_found", f"The session has no consumer {id}.")
        return self._consumers[id]

    def _end(self, consumer: Consumer) -> None:
        if self._consumers.get(consumer.id) is consumer:
            del self._consumers[consumer.id]
        consumer.end()

    # What the consumer does

    async def _run(self, consumer: Consumer) -> None:
        try:
            await self._node.read_barrier(timeout_s=OPERATION_TIMEOUT_S)
            place_of(self._node, consumer.topic, consumer.subscription)
            if not consumer.is_over:
                await self._wire.say(Consuming(id=consumer.id, credit=consumer.credit))
            while await self._has_room(consumer):
                try:
                    await self._deliver(consumer, await self._next(consumer))
                finally:
                    self._set_busy(consumer, False)
        except (Problem, NodeError) as refused:
            if not consumer.is_over:
                await self._wire.say(error(consumer.id, refused))
        finally:
            self._end(consumer)

    async def _has_room(self, consumer: Consumer) -> bool:
        """Wait for room, and until what others get is on its way; False when the consumer is over, or polls do not
        wait any more: it would ask again and again, and let nobody else have a turn."""
        while not (consumer.is_over or self._polls.are_over or self._wire.gone.is_set()):
            now = _now()
            if consumer.room < 1 and consumer.first_over_at <= now:
                for token in [token for token, over_at in consumer.unsettled.items() if over_at <= now]:
                    self.told(consumer.topic, token, None)
                consumer.first_over_at = min(consumer.unsettled.values(), default=math.inf)
            if consumer.room < 1:
                left_s = consumer.first_over_at - now
                await consumer.wait(None if left_s == math.inf else left_s)
            elif self._calm.is_set():
                return True
            else:
                await self._calm.wait()
        return False

    def _set_busy(self, consumer: Consumer, is_busy: bool) -> None:
        (self._busy.add if is_busy else self._busy.discard)(consumer)
        (self._calm.clear if len(self._busy) >= BUSY_MAX else self._calm.set)()

    async def _next(self, consumer: Consumer) -> results.Received:
        """Messages as soon as there are some; none where it is worth to look again whether there is room."""
        consumer.begin_poll()
        # With a key, the node asks again where it has not learnt what was leased, so that nothing is leased to nobody.
        asked = Receive(consumer.topic, consumer.subscription, 1, False, consumer.lease_ms, secrets.token_hex(8))

        async def take() -> results.Received:
            if consumer.room < 1 or not self._calm.is_set():
                raise _Later
            self._set_busy(consumer, True)
            consumer.is_taking = consumer.has_asked = True
            try:
                wanted = msgspec.structs.replace(asked, max=consumer.room)
                received = await self._queue.receive(wanted, OPERATION_TIMEOUT_S)
            finally:
                consumer.is_taking = False
            if not received.messages:
                self._set_busy(consumer, False)
            if not received.messages and consumer.room < 1:
                raise _Later
            return received

        async def give_back(received: results.Received) -> None:
            await self._queue.give_back(consumer.topic, tokens_of(received), OPERATION_TIMEOUT_S)

        try:
            place = (consumer.topic, consumer.subscription)
            return await self._polls.receive(
                consumer, place, WAIT_MAX_S, take, give_back, wanted=consumer.room, again=consumer.has_asked
            )
        except (ClientGone, _Later):
            return _NOTHING
        except NodeError:
            await consumer.wait(PAUSE_S)
            return _NOTHING

    async def _deliver(self, consumer: Consumer, received: results.Received) -> None:
        lease_ms = consumer.lease_ms
        if lease_ms is None:
            info = self._node.machine.topic(consumer.topic)
            lease_ms = 0 if info is None else info.settings.lease_ms
        over_at = _now() + lease_ms / 1000
        for token in tokens_of(received):
            self._holders[token] = consumer
            consumer.hold(token, over_at)
        self._meters.count_consumed(consumer.topic, len(received.messages))
        start = 0
        for portion in _portions(received.messages):
            if consumer.is_over:
                unseen = tokens_of(results.Received(received.messages[start:]))
                for token in unseen:
                    self.told(consumer.topic, token, None)
                await self._queue.give_back(consumer.topic, unseen, OPERATION_TIMEOUT_S)
                return
            start += len(portion)
            await self._wire.say(Deliver(id=consumer.id, messages=portion))


def _portions(messages: list[results.ReceivedMessage]) -> Iterator[list[msgspec.Raw]]:
    """What goes into one frame: as many as fit, and one in any case."""
    portion: list[msgspec.Raw] = []
    size = 0
    for message in messages:
        encoded = _encode(received_message(message))
        if portion and size + len(encoded) > FRAME_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(msgspec.Raw(encoded))
        size += len(encoded)
    if portion:
        yield portion


def _now() -> float:
    return asyncio.get_running_loop().time()


_NOTHING = results.Received([])
_encode = msgspec.json.Encoder().encode
