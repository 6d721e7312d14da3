"""uvicorn's WebSocket protocol with the limits that it does not have of its own, and an end that comes.

Theory: a client may be slow, silent, broken or hostile; none of that may hold up the loop, fill the memory, or keep the
server from stopping. What has come is parsed in small pieces, so that many tiny frames stall nobody; most of it
needs no parser (`plain_frames`), and goes on to the session, and comes from there, many frames at once. A client lives
as long as anything comes from it, not only the pong that may stand behind megabytes of its own frames. Whatever closes
a connection sees to it that it is cut soon, though its client may have left much unread.

Rules of this file: of uvicorn's internals only these are touched: `conn`, `queue`, `frames`, `curr_msg_data_type`,
`handshake_initiated`, `handshake_complete`, `close_sent`, `disconnected`, `read_paused`, `writable`,
`pending_ping_payload`, `transport`, `loop`, and the methods overridden below; of `websockets` these of `conn`, beside
what is public: `current_size` and `writes`. `tests/api/test_websocket_protocol.py` fails where an upgrade changes one.
In the messages of ASGI `frames`, a list of payloads, stands in place of `bytes` and `text`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.protocol import State

from app.api import plain_frames
from app.api.problems import Problem, problem_answer

PIECE_BYTES = 16 << 10
"""Parsed at a time."""
FRAGMENTS_MAX = 4096
"""Of one message."""
CUT_S = 3.0
"""From the closing of a connection to its end, whatever is unread."""
STOP_CUT_S = 1.0
"""The same while the server stops."""
TOO_BIG = 1009
TOGETHER_BYTES = 64 << 10
"""So much leaves in one write; as much as a transport holds before it asks to wait."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rest = self._begun = b""
        """What has come and was not read yet; of that, the beginning of a frame whose head was not whole."""
        self._owed = 0
        """Bytes that the parser needs to the end of the frame in which it stands."""
        self._is_feeding = self._heard = False
        self._fragments = self._unsent_bytes = 0
        self._is_leaving = False
        self._cut_timer: asyncio.TimerHandle | None = None

    # What comes

    def data_received(self, data: bytes) -> None:
        """Parse the first piece now, the others one by one."""
        self._heard = True
        self._rest += data
        if not self._is_feeding:
            self._feed()

    def _feed(self) -> None:
        if self._begun:
            self._rest, self._begun = self._begun + self._rest, b""
        piece, self._rest = self._rest[:PIECE_BYTES], self._rest[PIECE_BYTES:]
        if self.handshake_initiated:
            self._read_frames(piece)
        else:
            self._read_handshake(piece)
        if self.transport.is_closing():
            self._rest = b""
        elif self._rest:
            self.transport.pause_reading()
            self.loop.call_soon(self._feed)
        elif self._is_feeding and not self.read_paused:
            self.transport.resume_reading()
        self._is_feeding = bool(self._rest)

    def _read_handshake(self, piece: bytes) -> None:
        """The request, which uvicorn hands on as a whole: nothing comes behind it before it is answered."""
        self._parse(piece)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            self._refuse_handshake()

    def _read_frames(self, piece: bytes) -> None:
        """Plain frames need no parser; it gets the others, each from its first to its last byte."""
        while piece and not self.transport.is_closing():
            if not self._owed:
                if self.conn.state is State.OPEN and self.conn.current_size is None:
                    payloads, end = plain_frames.read(piece, self.config.ws_max_size)
                    self._pass_on(payloads)
                    piece = piece[end:]
                size = plain_frames.size(piece)
                if size is None:
                    self._begun = piece
                    return
                self._owed = size
            part, piece = piece[: self._owed], piece[self._owed :]
            self._owed -= len(part)
            self._parse(part)

    def _parse(self, data: bytes) -> None:
        self.conn.receive_data(data)
        self.handle_events()  # also those that came before a mistake
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()

    def _pass_on(self, payloads: list[bytes]) -> None:
        """The session's next messages. Once it has closed they are nobody's."""
        if payloads and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.receive", "frames": payloads})  # type: ignore[arg-type]
            if not self.read_paused:
                self.read_paused = True
                self.transport.pause_reading()

    def send_receive_event_to_app(self) -> None:
        """One that the parser has found."""
        frames, self.frames = self.frames, []
        self._pass_on([b"".join(frames)])

    def _refuse_handshake(self) -> None:
        """The request was HTTP, and is no handshake: it has a body, or a header that is too long."""
        answer = problem_answer(
            Problem("invalid_request", "A WebSocket's request has no body, and headers below 8 KiB.")
        )
        headers = [*answer.headers, (b"connection", b"close"), (b"content-length", b"%d" % len(answer.body))]
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join((b"HTTP/1.1 400 Bad Request\r\n", *lines, b"\r\n", answer.body)))
        self.handshake_complete = self.close_sent = True
        self.transport.close()
        self._cut_later(CUT_S)

    def handle_text(self, event: Any) -> None:
        """A text is passed on as its bytes: who reads it says what is wrong with them."""
        self._fragments = 0
        self.handle_bytes(event)

    def handle_cont(self, event: Any) -> None:
        """One more piece of a message."""
        self._fragments += 1
        if self._fragments > FRAGMENTS_MAX:
            self.conn.send_close(TOO_BIG, "too many fragments")
            self.handle_parser_exception()
        else:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, unless the answers pile up unread."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    # Signs of life

    def send_keepalive_ping(self) -> None:
        """Ask whether the client is there."""
        self._heard = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """No pong has come in time."""
        if self._heard or self.read_paused:
            # It is we who do not read so far, or it has much to say.
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        self.transport.abort()

    # The end

    def handle_close(self, event: Any) -> None:
        """The client closes."""
        super().handle_close(event)
        self._cut_later(CUT_S)

    def handle_parser_exception(self) -> None:
        """The client breaks the protocol."""
        super().handle_parser_exception()
        self._cut_later(CUT_S)

    def eof_received(self) -> None:
        """The client says nothing more."""
        super().eof_received()
        self._cut_later(CUT_S)

    def shutdown(self) -> None:
        """The server stops."""
        try:
            super().shutdown()
        except (InvalidState, AssertionError):
            self.transport.close()
        self._cut_later(STOP_CUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if self._cut_timer is not None:
            self._cut_timer.cancel()
        super().connection_lost(exc)

    def _cut_later(self, seconds: float) -> None:
        if self._cut_timer is not None:
            self._cut_timer.cancel()
        self._cut_timer = self.loop.call_later(seconds, self.transport.abort)

    # What goes

    async def send(self, message: Any) -> None:
        """What the application says. Raises OSError when nobody hears it any more."""
        if message["type"] == "websocket.send" and self.handshake_complete and not self.close_sent:
            await self._say(message["frames"])
            return
        try:
            await super().send(message)
        except RuntimeError:
            if self.close_sent:
                raise ClientDisconnected from None
            raise
        if message["type"] == "websocket.http.response.body":
            # A handshake that was refused is over, and nothing to fill a log with.
            self.handshake_complete = True
        if message["type"] == "websocket.close":
            self._cut_later(CUT_S)

    async def _say(self, texts: Sequence[bytes]) -> None:
        """Frames join those that wait: all that are said in one turn of the loop leave together. None waits while the
        transport takes nothing; of several that were woken together, the first may have filled it again."""
        for text in texts:
            while not self.writable.is_set():
                await self.writable.wait()
            if self.disconnected or self.conn.state is not State.OPEN:
                raise ClientDisconnected
            self.conn.writes.append(plain_frames.text(text))
            self._unsent_bytes += len(text)
            if self._unsent_bytes >= TOGETHER_BYTES:
                self._send_now()
            elif not self._is_leaving:
                self._is_leaving = True
                self.loop.call_soon(self._leave)

    def _leave(self) -> None:
        self._is_leaving = False
        self._send_now()

    def _send_now(self) -> None:
        self._unsent_bytes = 0
        if not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()))
