"""How the requests of `rmq.AsyncClient` travel: aiohttp. For its rules see `connections`, its twin."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Mapping

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from rmq import wire
from rmq.exchange import Failure, Reply, Send

KEPT_S = 60.0
"""A connection that nobody uses for so long is closed."""
LARGE_BYTES = 1 << 20
ELSEWHERE = Failure("The client was used in another event loop: make one for each.", sent=False, closed=True)


class _Connector(aiohttp.TCPConnector):
    """It says nothing where a program ends without closing its client: nothing is lost by that."""

    def __del__(self, *_: object) -> None:
        pass


class AsyncConnections:
    """Connections to nodes, of the event loop that asks first. `verify`: as `rmq.AsyncClient` has it."""

    def __init__(self, headers: Mapping[str, str] | None, verify: bool | ssl.SSLContext) -> None:
        self._headers, self._verify = wire.headers_of(headers), verify
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._proxies: dict[str, str | None] = {}
        self.is_closed = False

    async def close(self) -> None:
        """Give the connections back. Who waits for an answer gets none."""
        self.is_closed = True
        if self._session is not None:
            await self._session.close()

    def __del__(self) -> None:
        if self._session is not None:
            self._session.detach()

    async def send(self, send: Send) -> Reply | Failure:
        """Ask a node."""
        request, session, (url, user) = send.request, self._here(), wire.without_user(send.url)
        if session is None:
            return ELSEWHERE
        connect_s, answer_s = wire.limit(send.connect_s), wire.limit(send.answer_s)
        # What nobody takes would be written for ever.
        total_s = wire.limit(send.connect_s + 2 * send.answer_s)
        try:
            async with session.request(
                request.method, URL(url + request.path, encoded=True), data=_data(request.content),
                headers={**user, **self._headers, **request.headers}, allow_redirects=False, ssl=self._tls(url),
                proxy=self._proxy(url),
                timeout=aiohttp.ClientTimeout(total=total_s, connect=connect_s, sock_read=answer_s),
            ) as answer:  # fmt: skip
                return Reply(answer.status, answer.headers, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
            # A RuntimeError is what aiohttp makes of it that another task has closed the client meanwhile.
            if isinstance(error, RuntimeError) and not self.is_closed:
                raise
            return _failure_of(error)

    def _here(self) -> aiohttp.ClientSession | None:
        """The connections; None in another event loop than theirs."""
        loop = asyncio.get_running_loop()
        if self._session is None:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=0, keepalive_timeout=KEPT_S, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            # Else it sends a GET, PUT or DELETE again where a kept connection ends, and forgets the first time.
            self._session._retry_connection = False
        return self._session if self._loop is loop else None

    def _proxy(self, url: str) -> str | None:
        if url not in self._proxies:
            # aiohttp would look for each request, in a thread.
            self._proxies[url] = wire.proxy_of(url)
        return self._proxies[url]

    def _tls(self, url: str) -> bool | ssl.SSLContext:
        if isinstance(self._verify, bool) and url.startswith("https"):
            self._verify = wire.context_of(self._verify)
        return self._verify


def _data(content: bytes | None) -> bytes | io.BytesIO | None:
    """What is large goes in pieces, between which the loop has its turn."""
    return io.BytesIO(content) if content is not None and len(content) > LARGE_BYTES else content


def _failure_of(error: Exception) -> Failure:
    """Why there is no answer."""
    text = wire.text_of(error)
    if isinstance(error, aiohttp.ClientSSLError):
        return wire.no_tls(text)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Failure("it took too long to connect", sent=False)
    if isinstance(error, TimeoutError):
        return Failure("it took too long", sent=True)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientProxyConnectionError):
        return Failure(text, sent=False)
    nonsense = aiohttp.ClientResponseError | aiohttp.InvalidURL | ContentEncodingError
    return Failure(text, sent=True, foreign=isinstance(error, nonsense) or isinstance(error.__cause__, nonsense))
