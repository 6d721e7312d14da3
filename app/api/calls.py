"""One request in, one answer out: the small layer between ASGI and the routes.

Rules of this file: a handler takes a `Call` and returns an `Answer`, or raises; it never sees `send`. An
answer is complete before its first byte leaves, so that an error can never follow half an answer; only what
has no end is `Streaming`. Nothing here knows a route, and nothing here knows the queue.

All routes of the API go this way rather than through per-field models: one publish costs a third of what it
costs through them, and every refusal is worded in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
NO_SNIFF: Header = (b"x-content-type-options", b"nosniff")
NO_STORE: Header = (b"cache-control", b"no-store")


class ClientGone(Exception):
    """The client hung up before its request was complete: there is nobody to answer."""


class Answer(NamedTuple):
    """A complete response. `headers` without length and content options, which `respond` adds."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = (JSON,)


class Streaming(NamedTuple):
    """An answer without an end: 200, then `chunks` as they come."""

    headers: tuple[Header, ...]
    chunks: AsyncGenerator[bytes]


class Call:
    """One request. `headers`: names in lower case; of a repeated header the last one stands. `body`: where it is there
    already, whole; else `receive` brings it."""

    __slots__ = ("body", "headers", "parameters", "receive", "scope")

    def __init__(
        self, scope: Scope, receive: Receive, parameters: tuple[str, ...], body: bytes | None = None
    ) -> None:  # fmt: skip
        self.scope = scope
        self.receive = receive
        self.body = body
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.parameters = parameters
        """What stands in the path's placeholders, in order, percent-decoded."""

    async def disconnected(self) -> None:
        """Return when the client hangs up. Only after the body was read, and by one waiter at a time."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def is_gone(self) -> bool:
        """Whether it is known that the client has hung up. Only where nobody else waits for that."""
        gone = asyncio.ensure_future(self.disconnected())
        await asyncio.sleep(0)
        gone.cancel()
        return gone.done()


Handler = Callable[[Call], Awaitable[Answer | Streaming]]


async def respond_streaming(answer: Streaming, call: Call, send: Send) -> None:
    """Send what comes, until it ends or the client hangs up."""
    await send({"type": "http.response.start", "status": 200, "headers": [*answer.headers, NO_SNIFF]})

    async def pass_on() -> None:
        async for chunk in answer.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    tasks = asyncio.ensure_future(pass_on()), asyncio.ensure_future(call.disconnected())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await answer.chunks.aclose()
    await send({"type": "http.response.body", "body": b""})


def head_of(answer: Answer) -> list[Header]:
    """All headers of a complete answer."""
    if answer.status == 204:
        assert not answer.body
        return [*answer.headers, NO_SNIFF]
    return [*answer.headers, NO_SNIFF, (b"content-length", b"%d" % len(answer.body))]


async def respond(answer: Answer, send: Send) -> None:
    """Send a complete answer. 204 carries neither body nor length (RFC 9110, 8.6)."""
    await send({"type": "http.response.start", "status": answer.status, "headers": head_of(answer)})
    await send({"type": "http.response.body", "body": answer.body})
