"""How the clients' requests travel: HTTP/1.1 over kept connections, as a transport of httpx that costs little.

The harness shares its cores with the cluster that it measures. With httpx's own transport a request cost it more than
it cost the three nodes together, and on a slow machine the clients could not ask often enough for a run to count; the
figures stand in docs/chaos.md.

    connection refused or not possible     httpx.ConnectError: it was not sent
    hung up, or answered with nonsense     httpx.RemoteProtocolError: nobody knows

Rules of this file: nothing is ever sent twice; a connection that was interrupted in any way is closed for good.
"""

from __future__ import annotations

import asyncio

import httptools
import httpx


class LeanTransport(httpx.AsyncBaseTransport):
    """Connections by address, as many as there are requests at once. Time limits are the caller's."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], list[_Connection]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it whole, and read its answer whole."""
        address = request.url.host, request.url.port or 80
        connection = await self._connection(address)
        try:
            status, headers, content = await connection.ask(_encode(request))
        except BaseException:
            connection.close()
            raise
        if connection.is_open:
            self._idle[address].append(connection)
        return httpx.Response(status, headers=headers, content=content)

    async def aclose(self) -> None:
        """Hang up."""
        for connections in self._idle.values():
            for each in connections:
                each.close()
        self._idle.clear()

    async def _connection(self, address: tuple[str, int]) -> _Connection:
        idle = self._idle.setdefault(address, [])
        while idle:
            connection = idle.pop()
            if connection.is_open:
                return connection
        try:
            _, made = await asyncio.get_running_loop().create_connection(_Connection, *address)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from None
        return made


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. The methods that begin with on_ are the parser's."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[int] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._content = b""
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        """Whether one more request can go over it."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers, content."""
        assert self._transport is not None
        self._headers, self._content = [], b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        status = await self._answer
        return status, self._headers, self._content

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP: {error}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection was lost")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._content += body

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(httpx.RemoteProtocolError(why))


def _encode(request: httpx.Request) -> bytes:
    head = b"%b %b HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)
    return head + b"".join(b"%b: %b\r\n" % each for each in request.headers.raw) + b"\r\n" + request.content
