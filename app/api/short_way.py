"""The short way of a hot request: from the parser's last byte to its handler, and from its answer to the socket.

Theory: in general a request becomes an ASGI scope and a task, which asks for its body and sends its answer in pieces;
uvicorn makes sure that no application breaks the rules of HTTP. A request for a hot path that arrives whole, and whose
answer is whole, needs none of that, and without it a publish costs the leader a seventh less (docs/performance.md).
Handlers, errors and limits are the same. Where its head was read before it needs no parser, either (`Heads`).

Rules of this file: which way a request takes is decided at the end of its head, before any handler runs; in case of
doubt it is the general one. To uvicorn a short cycle is one of its own. Handlers of hot paths run without a task
(`Stepper`). Of uvicorn's internals these are touched beside those of `server_protocol`: how a cycle is made, its
`body`, `more_body`, `on_response` and `default_headers`; of the protocol `url`, `headers`, `scope`, `parser`, `flow`,
`tasks` and `on_response_complete`. `tests/api/test_short_way.py` fails where an upgrade of uvicorn changes one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from app.api.calls import Answer, Call, head_of
from app.api.endpoint import Endpoint, HotPaths
from app.api.heads import Head, Heads
from app.api.server_protocol import LimitedProtocol
from app.api.stepper import Stepper

BODY_BYTES = 60 << 10
"""A longer body takes the general way. Below uvicorn's mark, from which on it reads only what is asked for."""

_PLAIN_TARGET = re.compile(rb"/[^?%#]*").fullmatch


def _nothing() -> None: ...


class ShortCycle(RequestResponseCycle):
    """A hot request. `endpoint` and `parameters` are set by who makes it."""

    endpoint: Endpoint
    parameters: tuple[str, ...]

    async def run(self) -> None:
        """Answer it, if there still is somebody."""
        try:
            call = Call(self.scope, self.receive, self.parameters, bytes(self.body))  # type: ignore[arg-type]
            self.body = bytearray()  # The connection has this cycle until its next request.
            answer = await self.endpoint.answer(call)
            if answer is not None and not self.disconnected:
                assert isinstance(answer, Answer), "an answer without an end is for no hot path"
                self._respond(answer)
        except BaseException:
            self.transport.close()
            raise
        finally:
            self.on_response = _nothing  # It leads back to the connection, which leads here.

    def _respond(self, answer: Answer) -> None:
        parts = [STATUS_LINE[answer.status]]
        for name, value in (*self.default_headers, *head_of(answer)):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", answer.body)
        self.response_started = self.response_complete = True
        self.transport.write(b"".join(parts))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class ShortWayProtocol(LimitedProtocol):
    """One connection. `hot_paths`, `heads` and `body_bytes` are set by `protocol`."""

    hot_paths: HotPaths
    heads: Heads
    body_bytes: int
    _arriving: ShortCycle | None = None

    def data_received(self, data: bytes) -> None:
        """Begin with what has arrived whole: at once where its head was read before, else behind the parser, within
        which nothing is answered."""
        is_next = self._is_next()
        found = self.heads.find(data) if is_next else None
        if found is not None:
            self._begin_again(*found)
            return
        super().data_received(data)
        cycle = self._arriving
        if cycle is not None and not cycle.more_body:
            self._arriving = None
            if is_next and not self._receiving:
                self._remember(data, cycle)
            if not cycle.disconnected:
                self._step(cycle)

    def _is_next(self) -> bool:
        """Whether no request has begun yet, or the last one was short, too, and is answered. After one that went the
        general way the parser may wait for anything, or for nothing more."""
        cycle = self.cycle
        if cycle is not None and not (type(cycle) is ShortCycle and cycle.response_complete):
            return False
        return not (self._receiving or self._deaf or self.flow.write_paused or self.transport.is_closing())

    def _begin_again(self, head: Head, body: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._receive_timer is not None:
            self._disarm()
        self.cycle = cycle = self._cycle(head.scope, True, head.endpoint, head.parameters)
        cycle.body, cycle.more_body = body, False  # type: ignore[assignment]  # Nothing is added to it.
        cycle.message_event.set()
        self._step(cycle)

    def _remember(self, data: bytes, cycle: ShortCycle) -> None:
        if cycle.keep_alive:
            head = Head(MappingProxyType(cycle.scope), cycle.endpoint, cycle.parameters, len(cycle.body))
            self.heads.keep(data, head, cycle.body)

    def _step(self, cycle: ShortCycle) -> None:
        stepper = Stepper(cycle.run(), self.tasks.discard)
        self.tasks.add(stepper)  # type: ignore[arg-type]
        stepper.step()

    def begin_request(self) -> None:
        """The head is over: which way?"""
        found = self._hot() if self._is_plain() else None
        if found is None:
            super().begin_request()
            return
        self.scope["raw_path"], self.scope["query_string"] = self.url, b""
        self.cycle = self._arriving = self._cycle(self.scope, self.parser.should_keep_alive(), *found)

    def _cycle(
        self, scope: Mapping[str, Any], keep_alive: bool, endpoint: Endpoint, parameters: tuple[str, ...]
    ) -> ShortCycle:
        cycle = ShortCycle(
            scope=scope, transport=self.transport, flow=self.flow, logger=self.logger,  # type: ignore[arg-type]
            access_logger=self.access_logger, access_log=False, default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(), expect_100_continue=False, keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )  # fmt: skip
        cycle.endpoint, cycle.parameters = endpoint, parameters
        return cycle

    def _is_plain(self) -> bool:
        """Whether it is one of the many that nothing is peculiar about, and none is before it."""
        if self.expect_100_continue or _PLAIN_TARGET(self.url) is None:
            return False
        if self.parser.get_http_version() != "1.1" or self.parser.should_upgrade() or self.flow.write_paused:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        size = 0
        for name, value in self.headers:
            if name == b"content-length":
                size = int(value)
            elif name == b"transfer-encoding":
                return False
        return size <= self.body_bytes

    def _hot(self) -> tuple[Endpoint, tuple[str, ...]] | None:
        self.scope["method"] = method = self.parser.get_method().decode("ascii")
        self.scope["path"] = path = self.url.decode("ascii")
        return self.hot_paths.find(method, path)


def protocol(request_timeout_s: float, body_limit_bytes: int, hot_paths: HotPaths) -> type[ShortWayProtocol]:
    """The protocol class for uvicorn's `http` setting."""
    settings = {"request_timeout_s": request_timeout_s, "body_bytes": min(BODY_BYTES, body_limit_bytes)}
    return type("Protocol", (ShortWayProtocol,), {**settings, "hot_paths": hot_paths, "heads": Heads()})
