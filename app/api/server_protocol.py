"""uvicorn's httptools protocol with the limits that it does not have of its own.

Theory: a request may take `request_timeout_s` from its first byte to its last, headers included; a new
connection has as long to begin its first one. A request that arrives in one piece, as nearly all do, never
sets a timer: one is armed only where data has come and the request is not whole. Clients together hold no more
than half of the file descriptors, since the log needs some, too. Headers are counted while
they stream. A client that does not read its answer is cut off, too. What is refused here was never handed to
the application, or is taken away from it.

Rules of this file: of uvicorn's internals only these are touched: `cycle` (response_started,
response_complete, disconnected, message_event), `pipeline`, `flow.read_paused`, `transport`, `connections`,
`timeout_keep_alive`, and the methods overridden below. `tests/api/test_server.py` fails where an upgrade of
uvicorn changes one.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.api.problems import CODES, Problem, problem_answer

HEADERS_BYTES = 32 << 10
HEADERS_COUNT = 100
TARGET_BYTES = 8 << 10
CONNECTIONS, REFUSALS = 4096, 64
"""How many clients may be connected, and how many more are told that they may not; who comes then is just cut off."""
WRITE_STALL_S = 30.0
"""How long a client may leave its answer unread."""

LINGER_S = 1.0
"""How long what a refused client still sends is thrown away."""


class _Refused(Exception):
    """Raised inside the parser's callbacks to stop it."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `request_timeout_s` is set by `short_way.protocol`."""

    request_timeout_s = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receiving = False
        self._in_head = False
        self._deaf = False
        self._head_bytes = self._headers_bytes = 0
        self._earlier: RequestResponseCycle | None = None
        """The request before the one that is arriving, where that was not answered when this one's head was over."""
        self._refusal: Problem | None = None
        self._receive_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, unless there are too many."""
        super().connection_made(transport)
        surplus = len(self.connections) - most_connections()
        if surplus > REFUSALS:
            self._deaf = True
            self.transport.abort()
            return
        if surplus > 0:
            self._refuse(Problem("too_many_connections", CODES["too_many_connections"].example))
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._disarm()
        self._cancel_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then see whether something is still owed to us."""
        if self._deaf or self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._deaf or self.transport.is_closing():
            return
        if self._in_head and self._head_bytes > HEADERS_BYTES:
            self._refusal = self._too_long()
            self.send_400_response("")
        elif self._receiving:
            if self._receive_timer is None:
                self._arm()
        elif self._receive_timer is None:
            self._keep_alive()  # It was but an empty line, and uvicorn has stopped its timer for that.

    def handle_websocket_upgrade(self) -> None:
        """The connection leaves HTTP, and its limits."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._refusal = Problem("invalid_request", "Wait for the answer of the request before, then upgrade.")
            self.send_400_response("")
            return
        self._disarm()
        self._unset_keepalive_if_required()
        self._deaf = True
        super().handle_websocket_upgrade()

    # Parser callbacks

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._receiving = self._in_head = True
        self._head_bytes = self._headers_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        super().on_url(url)
        if len(self.url) > TARGET_BYTES:
            self._refusal = Problem("uri_too_long", f"Path and query may have at most {TARGET_BYTES} bytes.")
            raise _Refused

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, whole."""
        super().on_header(name, value)
        self._headers_bytes += len(name) + len(value)
        if self._headers_bytes > HEADERS_BYTES or len(self.headers) > HEADERS_COUNT:
            self._refusal = self._too_long()
            raise _Refused

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._in_head = False
        self._earlier = None if self.cycle is None or self.cycle.response_complete else self.cycle
        self.begin_request()

    def begin_request(self) -> None:
        """The application may begin."""
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._receiving = False
        self._disarm()
        super().on_message_complete()
        self._keep_alive()  # For one that was answered before its end (413): data has stopped uvicorn's timer.

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade that we do not know is ignored (RFC 9110, 7.8), and nothing to fill a log with."""

    # Time

    def _arm(self) -> None:
        self._disarm()
        self._receive_timer = self.loop.call_later(self.request_timeout_s, self._receive_timed_out)

    def _disarm(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None

    def _keep_alive(self) -> None:
        """Wait for the next request, but not for ever; nothing where one is under way, or somebody waits already."""
        if self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete):
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _receive_timed_out(self) -> None:
        self._receive_timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused or self._earlier_answer_is_due():
            # It is not the client who keeps us waiting.
            self._arm()
            return
        if not self._receiving:
            self.transport.close()
            return
        seconds = f"{self.request_timeout_s:g}"
        self._refuse(Problem("request_timeout", f"A request has to arrive within {seconds} s."))

    def _earlier_answer_is_due(self) -> bool:
        """Whether the request before the one that is arriving has not been answered yet (pipelining)."""
        earlier = self.cycle if self._in_head else self._earlier
        return earlier is not None and not earlier.response_complete

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._cancel_write_timer()

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # Refusals

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn where the parser gave up."""
        problem = self._refusal or Problem("invalid_request", CODES["invalid_request"].example)
        self._refusal = None
        self._refuse(problem)

    def _too_long(self) -> Problem:
        return Problem(
            "headers_too_large", f"Headers may have at most {HEADERS_BYTES} bytes, and be at most {HEADERS_COUNT}."
        )

    def _refuse(self, problem: Problem) -> None:
        """Answer in place of the application, unless it has begun to, and close."""
        self._disarm()
        if self._earlier_answer_is_due():
            # It goes out first and closes the connection; a second answer would be taken for it.
            if not self._in_head and self._earlier is not None and self.cycle is not self._earlier:
                self.pipeline.popleft()
                self.cycle = self._earlier
            self.cycle.keep_alive = False
            self._deaf = True
            return
        if self.cycle is not None and not self._in_head:
            if not self.cycle.response_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        answer = problem_answer(problem)
        headers = [*answer.headers, (b"connection", b"close"), (b"content-length", b"%d" % len(answer.body))]
        lines = [b"%s: %s\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        self.transport.write(b"".join((STATUS_LINE[answer.status], *lines, b"\r\n", answer.body)))
        self._linger()

    def _linger(self) -> None:
        """Close our side, and the other one a little later: closing with bytes unread would destroy the answer."""
        self._deaf = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._receive_timer = self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()


def most_connections() -> int:
    """How many clients may be connected."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else min(CONNECTIONS, files // 2)
