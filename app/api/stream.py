"""Stream: GET /v1/topics/{topic}/stream, the messages of a topic as server-sent events, as they come.

It is a view, like peek: nothing is taken, leased or counted. An event's id is its message's sequence, so a client that
comes back with `Last-Event-ID` goes on behind the last one that it saw. What is done before it is seen is not there to
be seen: a subscription that nobody receives from keeps it. (WHATWG HTML, 9.2, "Server-sent events")

Rules of this file: a message is sent once to each stream, in the order of sequences; between messages a comment is sent
now and then, so that a client that has vanished is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec

from app.api.calls import NO_STORE, Call, Header, Streaming
from app.api.kinds import IN_WORDS, NAME_PATTERN, WHOLE_MAX
from app.api.operations import REPLICATED, Json, Operation, content, header, parameter
from app.api.params import Query, topic_of
from app.api.peek import peeked
from app.api.problems import Problem
from app.api.routes import CONSISTENCY, TOPIC, freshen, place_of

if TYPE_CHECKING:
    from app.node.service import Node

EVENTS: Header = (b"content-type", b"text/event-stream")
UNBUFFERED: Header = (b"x-accel-buffering", b"no")
"""A proxy of the nginx family passes on each event when it comes."""
PAGE = 100
HEARTBEAT_S = 15.0
RETRY_MS = 1000
"""After which a browser comes back."""
_encode = msgspec.json.Encoder().encode


class Streams:
    """The route over one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def stream(self, call: Call) -> Streaming:
        """GET /v1/topics/{topic}/stream."""
        topic = topic_of(call)
        query = Query(call, "from", "subscription", "consistency")
        subscription = query.matching("subscription", NAME_PATTERN, IN_WORDS[NAME_PATTERN]) or "default"
        start, last = query.whole("from"), _last_seen(call)
        await freshen(self._node, query)
        info = place_of(self._node, topic, subscription)
        if last is not None:
            start = last + 1
        position = info.next_sequence if start is None else start
        return Streaming((EVENTS, NO_STORE, UNBUFFERED), self._events(topic, subscription, position))

    async def _events(self, topic: str, subscription: str, position: int) -> AsyncGenerator[bytes]:
        """Until the topic is gone, or the node stops; who reads it ends it otherwise."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def notice(*_: object) -> None:
            loop.call_soon_threadsafe(news.set)

        machine, stopping = self._node.machine, self._node.stopping
        machine.watch(topic, notice)
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            while not stopping.is_set():
                news.clear()
                page = machine.peek(topic, subscription, position, PAGE, {})
                if page is None:
                    yield b"event: gone\ndata: {}\n\n"
                    return
                for item in page.items:
                    position = item.message.sequence + 1
                    yield b"id: %d\ndata: %b\n\n" % (item.message.sequence, _encode(peeked(item)))
                if page.next is None and not await _either(news, stopping):
                    yield b": all is well\n\n"
        finally:
            machine.unwatch(topic, notice)

    def operations(self) -> list[Operation]:
        """The route."""
        event = 'id: 7\ndata: {"id":"12","sequence":7,"body":{"drink":"coffee"},"state":"ready"}\n\n'
        return [
            Operation(
                method="GET", path="/v1/topics/{topic}/stream", name="stream", tag="messages",
                summary="Watch messages come",
                description=(
                    "Server-sent events: each message of the topic once, in order, without taking it; `id` is its "
                    "sequence. Begins with what comes, or at `from`, or behind `Last-Event-ID`. What is done before "
                    "it is seen is not shown: watch a `subscription` that nobody receives from to see everything.\n\n"
                    "This page shows nothing before the end, which does not come: watch with "
                    "`curl -N localhost:8001/v1/topics/orders/stream`."
                ),
                handler=self.stream,
                parameters=(
                    TOPIC, parameter("from", "query", "The sequence to begin at", _SEQUENCE),
                    parameter("subscription", "query", "Whose view", {"type": "string", "default": "default"}),
                    parameter("Last-Event-ID", "header", "The sequence that was seen last", _SEQUENCE), CONSISTENCY,
                ),
                answers={
                    200: {
                        "description": "Events, until the client hangs up",
                        "headers": {"Cache-Control": header("`no-store`")},
                        "content": content({"type": "string"}, {"A message": event}, "text/event-stream"),
                    }
                },
                errors=(
                    "invalid_topic", "invalid_parameter", "invalid_header", "topic_not_found",
                    "subscription_not_found", *REPLICATED,
                ),
            )
        ]  # fmt: skip


async def _either(news: asyncio.Event, stopping: asyncio.Event) -> bool:
    """Wait for one of the two; False when neither came for a while."""
    waits = [asyncio.ensure_future(event.wait()) for event in (news, stopping)]
    try:
        done, _ = await asyncio.wait(waits, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)


def _last_seen(call: Call) -> int | None:
    value = call.headers.get(b"last-event-id")
    if value is None or value == b"":
        return None
    if not value.isdigit() or len(value) > 16 or int(value) > WHOLE_MAX:
        raise Problem("invalid_header", "Last-Event-ID is the `id` of an event of this stream, a whole number.")
    return int(value)


_SEQUENCE: Json = {"type": "integer", "minimum": 0, "maximum": WHOLE_MAX}
