"""How the requests of `rmq.Client` travel: urllib3, whose connections threads share.

Rules of this file, and of its twin `aio_connections`: what comes is an answer, whatever its status, or why there is
none. Nothing is tried twice here, and nothing is followed.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3 import exceptions as failures

from rmq import wire
from rmq.exchange import Failure, Reply, Send

KEPT_MAX = 1000
"""For each node; beyond that they are closed when they have served."""


class _InOnePiece(urllib3.connection.HTTPConnection):
    """Head and body leave in one write: after two a node wakes for the head, and finds no request yet."""

    _held: list[bytes] | None = None

    def request(self, *said: Any, **options: Any) -> None:
        held: list[bytes] = []
        self._held = held
        try:
            super().request(*said, **options)
        finally:
            self._held = None
        super().send(b"".join(held))

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)


class _InOnePieceOverTLS(_InOnePiece, urllib3.connection.HTTPSConnection):
    """The same."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _InOnePiece


class _PoolOverTLS(urllib3.HTTPSConnectionPool):
    ConnectionCls = _InOnePieceOverTLS


class Connections:
    """Connections to nodes. `verify`: as `rmq.Client` has it."""

    def __init__(self, headers: Mapping[str, str] | None, verify: bool | ssl.SSLContext) -> None:
        self._headers, self._verify = {**wire.HEADERS, **(headers or {})}, verify
        self._pools: dict[str, urllib3.PoolManager] = {}
        self.is_closed = False

    def close(self) -> None:
        """Give the connections back. What is on its way still comes."""
        self.is_closed = True
        for pool in self._pools.values():
            pool.clear()

    def send(self, send: Send) -> Reply | Failure:
        """Ask a node."""
        request = send.request
        try:
            answer = self._pool(send.url).request(
                request.method, send.url + request.path, body=request.content,
                headers={**self._headers, **request.headers}, retries=False, redirect=False,
                timeout=urllib3.Timeout(connect=wire.limit(send.connect_s), read=wire.limit(send.answer_s)),
            )  # fmt: skip
        except (failures.HTTPError, OSError) as error:
            return _failure_of(error)
        return Reply(answer.status, answer.headers, answer.data)

    def _pool(self, url: str) -> urllib3.PoolManager:
        """Of this node's connections, through a proxy where the environment has one."""
        pool = self._pools.get(url)
        if pool is None:
            proxy, tls = wire.proxy_of(url), wire.context_of(self._verify) if url.startswith("https") else None
            if proxy is None:
                made = urllib3.PoolManager(maxsize=KEPT_MAX, ssl_context=tls)
            else:
                made = urllib3.ProxyManager(proxy, maxsize=KEPT_MAX, ssl_context=tls)
            made.pool_classes_by_scheme = {"http": _Pool, "https": _PoolOverTLS}
            pool = self._pools.setdefault(url, made)
        return pool


def _failure_of(error: failures.HTTPError | OSError) -> Failure:
    """Why there is no answer."""
    cause = error.args[-1] if error.args and isinstance(error.args[-1], BaseException) else error
    text = wire.text_of(cause)
    if isinstance(error, failures.SSLError | ssl.SSLError):
        return wire.no_tls(text)
    if isinstance(error, failures.ProxyError):
        return Failure(f"the proxy did not take it: {text}", sent=False)
    if isinstance(error, failures.NewConnectionError):
        return Failure(wire.text_of(error.__cause__ or error), sent=False)
    if isinstance(error, failures.ConnectTimeoutError):
        return Failure("it took too long to connect", sent=False)
    if isinstance(error, failures.TimeoutError):
        return Failure("it took too long", sent=True)
    # RemoteDisconnected is a BadStatusLine: nothing came at all.
    is_nonsense = isinstance(cause, http.client.HTTPException) and not isinstance(
        cause, http.client.RemoteDisconnected | http.client.IncompleteRead
    )
    return Failure(text, sent=True, foreign=is_nonsense or isinstance(error, failures.DecodeError))
