"""The WebSocket at /v1/session: it is accepted, read to its end, and what the client leaves behind is seen to.

Theory: reading never waits for the log. A frame joins a line or steers a consumer, and the next one is read, as long as
the client has not too much unanswered; whoever carries a frame out answers it. So a client sees its confirms come while
it sends, and needs to wait for none.

Rules of this file: a frame that cannot be taken is answered by an `error`, and the session goes on. However it ends,
what was asked for is carried out first, and then what the client had leased is given back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.api.calls import Answer, Call, Receive, Scope, Send
from app.api.metrics import Meters
from app.api.operations import Operation
from app.api.polls import LongPolls
from app.api.problems import CODES, Problem, problem_answer, stopped
from app.api.queue import Queue
from app.api.session.consuming import Consumers
from app.api.session.frames import Cancel, Consume, Hello, Publish, Refused, Sent, SetCredit, error, read, read_plain
from app.api.session.publishing import Publishing
from app.api.session.settling import Settling
from app.api.session.window import Window
from app.api.session.wire import Wire
from app.version import VERSION

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node

PATH = "/v1/session"
SUBPROTOCOL = "rmq.v1"
FRAMES_AT_ONCE = 64
FINISH_S = 10.0
"""For what is still in line when a session has ended; without a majority each command takes its whole time."""
GOING_AWAY, DEFECT = 1001, 1011
"""Codes of RFC 6455, 7.4.1."""
_log = logging.getLogger("rmq.api")


class Session:
    """One client, from the first frame to the last."""

    def __init__(
        self, node: Node, queue: Queue, settings: Settings, polls: LongPolls, meters: Meters, wire: Wire
    ) -> None:
        self._node, self._wire, self._window = node, wire, Window()
        self._frame_bytes_max = settings.body_limit_bytes
        self._consumers = Consumers(node, queue, polls, meters, wire)
        self._publishing = Publishing(queue, meters, wire, self._window)
        self._settling = Settling(queue, wire, self._window, self._consumers)

    async def run(self) -> None:
        """Until the client goes, or the node stops."""
        stop = asyncio.ensure_future(self._end_when_stopping())
        try:
            await self._wire.say(Hello(node=self._node.id, version=VERSION, frame_bytes_max=self._frame_bytes_max))
            count = 0
            while (frames := await self._wire.next()) is not None:
                for data in frames:
                    await self._take(data)
                    if self._window.is_full:
                        await self._window.room()
                    count += 1
                    if count % FRAMES_AT_ONCE == 0:
                        # What has been read already is taken without a pause: others have their turn, too.
                        await asyncio.sleep(0)
        except Exception:
            _log.exception("a session failed")
            await self._wire.close(DEFECT, CODES["internal"].example)
        finally:
            stop.cancel()
        self._consumers.end()
        await self._finish()
        await self._consumers.give_back()

    async def _finish(self) -> None:
        """Carry out what was asked for, as far as it is possible within a while."""
        try:
            async with asyncio.timeout(FINISH_S):
                await self._idle()
        except TimeoutError:
            self._publishing.clear()
            self._settling.clear()

    async def _end_when_stopping(self) -> None:
        await self._node.stopping.wait()
        self._consumers.end()
        await self._idle()
        await self._wire.close(GOING_AWAY, "this node is stopping: open a session with another one")

    async def _idle(self) -> None:
        await self._publishing.idle()
        await self._settling.idle()

    async def _take(self, data: bytes) -> None:
        plain = None if self._node.stopping.is_set() else read_plain(data)
        if plain is not None:
            self._publishing.take_plain(plain, data)
            return
        try:
            frame = read(data)
            try:
                await self._carry_out(frame, data)
            except Problem as problem:
                raise Refused(frame.id, problem) from None
        except Refused as refused:
            await self._wire.say(error(refused.id, refused.problem))

    async def _carry_out(self, frame: Sent, data: bytes) -> None:
        if self._node.stopping.is_set():
            raise stopped("not_committed")
        if isinstance(frame, Publish):
            self._publishing.take(frame, data)
        elif isinstance(frame, Consume):
            self._consumers.consume(frame)
        elif isinstance(frame, SetCredit):
            await self._wire.say(self._consumers.set_credit(frame.id, int(frame.credit)))
        elif isinstance(frame, Cancel):
            await self._wire.say(self._consumers.cancel(frame.id))
        else:
            self._settling.take(frame, data)


class Sessions:
    """The sessions of one node. `count`: how many there are."""

    def __init__(self, node: Node, queue: Queue, settings: Settings, polls: LongPolls, meters: Meters) -> None:
        self._node, self._queue, self._settings, self._polls, self._meters = node, queue, settings, polls, meters
        self.count = 0

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket, whatever its path (ASGI)."""
        await receive()
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(refusal, send)
            return
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        self.count += 1
        try:
            wire = Wire(receive, send)
            await Session(self._node, self._queue, self._settings, self._polls, self._meters, wire).run()
        finally:
            self.count -= 1

    def _refusal(self, scope: Scope) -> Problem | None:
        if scope["path"] != PATH:
            return Problem("route_not_found", f"WebSockets are taken at {PATH}.")
        if self._node.stopping.is_set():
            return stopped("not_committed")
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is not None and _place(origin) != _host(headers.get(b"host", b"")):
            return Problem("foreign_origin", CODES["foreign_origin"].example)
        return None

    async def explain(self, call: Call) -> Answer:
        """GET /v1/session without a WebSocket."""
        upgrade = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))
        raise Problem("upgrade_required", CODES["upgrade_required"].example, headers=upgrade)

    def operations(self) -> list[Operation]:
        """The route, for who looks for it in the documentation."""
        return [
            Operation(
                method="GET", path=PATH, name="session", tag="messages", summary="Open a session (WebSocket)",
                description=(
                    "One WebSocket for many operations: publishes that need not wait for each other, each confirmed "
                    "by a frame, and messages that come by themselves, never more unsettled ones than the consumer's "
                    "`credit`. Frames are JSON objects; docs/session.md has them all. This page cannot open one."
                ),
                handler=self.explain, answers={101: {"description": "Frames from here on"}},
                errors=("upgrade_required",),
            )
        ]  # fmt: skip


def _place(origin: bytes) -> str:
    """The host and port of a page's address; empty where it has none."""
    try:
        return _host(urlsplit(origin.decode("latin-1")).netloc.encode("latin-1"))
    except ValueError:
        return ""


def _host(name: bytes) -> str:
    """As it is written shortest: a browser leaves out the port that goes without saying, a proxy may not."""
    return name.decode("latin-1").lower().removesuffix(":443").removesuffix(":80")


async def _refuse(problem: Problem, send: Send) -> None:
    """Answer the handshake as a route would (ASGI extension "websocket.http.response")."""
    answer = problem_answer(problem)
    headers = list(answer.headers)
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})
