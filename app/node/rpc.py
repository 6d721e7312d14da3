"""Questions from one node to another over the peer streams: forwarded commands, read indices, statuses.

A question has a number and a deadline; the answer comes back on the other node's own stream. When the stream
from a peer is lost, or another node leads in its place, every question that waits for it ends at once: whether
it took effect is unknown.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from enum import IntEnum

import msgspec

from app.node.errors import (
    DiskFull,
    NodeError,
    NoQuorum,
    NotCommitted,
    OutcomeUnknown,
    Overloaded,
    ShuttingDown,
)
from app.node.runner import NotLeading
from app.node.waiting import Deadlines
from app.transport import Frame, PeerNetwork


class Method(IntEnum):
    """What can be asked."""

    SUBMIT = 1
    SUBMIT_GROWING = 2
    READ_INDEX = 3
    STATUS = 4
    TRANSFER = 5


class Request(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`number` is the asker's own."""

    number: int
    method: int
    body: bytes


class Response(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`error`: "" for an answer, else the name of an exception; `body` is then its text."""

    number: int
    error: str
    body: bytes


_ERRORS: dict[str, type[NodeError]] = {
    kind.__name__: kind for kind in (NotCommitted, NoQuorum, Overloaded, DiskFull, ShuttingDown, OutcomeUnknown)
}
_encode = msgspec.msgpack.Encoder().encode
_requests = msgspec.msgpack.Decoder(Request)
_responses = msgspec.msgpack.Decoder(Response)

Outcome = bytes | NodeError | NotLeading


class Rpc:
    """Both ends. `serve(method, body, reply)` is called for each question; it calls `reply` once, soon or later."""

    def __init__(self, network: PeerNetwork, serve: Callable[[int, bytes, Callable[[Outcome], None]], None]):
        self._network, self._serve = network, serve
        # Not from 0: an answer to a former life of this process may still come, and must find no question here.
        self._next_number = secrets.randbits(62)
        self._waiting: dict[int, tuple[int, asyncio.Future[Outcome]]] = {}
        self._deadlines = Deadlines()

    async def ask(self, peer: int, method: Method, body: bytes, timeout_s: float) -> Outcome:
        """The answer, or how it failed. NotLeading when the question surely did not arrive."""
        self._next_number += 1
        number = self._next_number
        if not self._network.send(peer, Frame.REQUEST, _encode(Request(number, method, body))):
            return NotLeading(None)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (peer, future)
        try:
            outcome: Outcome | None = await self._deadlines.at_most(timeout_s, future)
        finally:
            self._waiting.pop(number, None)
        if outcome is None:
            return OutcomeUnknown(f"node {peer} did not answer within {timeout_s:.2f} s")
        return outcome

    def give_up(self, peer: int, why: str) -> None:
        """No answer is to be expected from this peer any more."""
        for waits_for, future in list(self._waiting.values()):
            if waits_for == peer and not future.done():
                future.set_result(OutcomeUnknown(why))

    def on_frame(self, peer: int, kind: int, payload: bytes) -> None:
        """A REQUEST or RESPONSE frame."""
        if kind == Frame.REQUEST:
            request = _requests.decode(payload)
            self._serve(request.method, request.body, lambda outcome: self._reply(peer, request.number, outcome))
            return
        response = _responses.decode(payload)
        asked, future = self._waiting.get(response.number, (peer, None))
        if future is not None and asked == peer and not future.done():
            future.set_result(_outcome(response))

    def _reply(self, peer: int, number: int, outcome: Outcome) -> None:
        if isinstance(outcome, NotLeading):
            hint = b"" if outcome.leader is None else str(outcome.leader).encode()
            response = Response(number, "NotLeading", hint)
        elif isinstance(outcome, NodeError):
            response = Response(number, type(outcome).__name__, str(outcome).encode())
        else:
            response = Response(number, "", outcome)
        self._network.send(peer, Frame.RESPONSE, _encode(response))


def _outcome(response: Response) -> Outcome:
    if not response.error:
        return response.body
    if response.error == "NotLeading":
        return NotLeading(int(response.body) if response.body else None)
    return _ERRORS.get(response.error, OutcomeUnknown)(response.body.decode())
