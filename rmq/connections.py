"""How the requests of `rmq.Client` travel: urllib3, whose connections threads share.

Rules of this file, and of its twin `aio_connections`: what comes is an answer, whatever its status, or why there is
none, and whether the node may have got the request. Nothing is tried twice here, and nothing is followed.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3 import exceptions as failures

from rmq import wire
from rmq.exchange import Failure, Reply, Send

KEPT_MAX = 1000
"""For each node; beyond that they are closed when they have served."""


class _Try(threading.local):
    """What this thread is trying: how long its bytes may take to leave, and whether any may have left."""

    limit_s: float | None = None
    sent = False


_try = _Try()


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
        if self.sock is None:
            self.connect()
        _try.sent = True
        self.sock.settimeout(_try.limit_s)
        super().send(b"".join(held))

    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)

    def getresponse(self) -> Any:
        answer = super().getresponse()
        if answer.status < 200:
            # The real one is still to come: it would be taken for that of the next request.
            self.close()
            raise failures.ProtocolError("something in between answers before the node does")
        return answer


class _InOnePieceOverTLS(_InOnePiece, urllib3.connection.HTTPSConnection):
    """The same. Who wants no certificate verified is not warned of that."""

    def connect(self) -> None:
        super().connect()
        self.is_verified = True


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _InOnePiece


class _PoolOverTLS(urllib3.HTTPSConnectionPool):
    ConnectionCls = _InOnePieceOverTLS


class Connections:
    """Connections to nodes. `verify`: as `rmq.Client` has it."""

    def __init__(self, headers: Mapping[str, str] | None, verify: bool | ssl.SSLContext) -> None:
        self._headers, self._verify = wire.headers_of(headers), verify
        self._pools: dict[str, urllib3.PoolManager] = {}
        self.is_closed = False

    def close(self) -> None:
        """Give the connections back. What is on its way still comes."""
        self.is_closed = True
        for pool in self._pools.values():
            pool.clear()

    def send(self, send: Send) -> Reply | Failure:
        """Ask a node."""
        request, (url, user) = send.request, wire.without_user(send.url)
        _try.limit_s, _try.sent = wire.limit(send.answer_s), False
        try:
            answer = self._pool(url).request(
                request.method, url + request.path, body=request.content,
                headers={**user, **self._headers, **request.headers}, retries=False, redirect=False,
                timeout=urllib3.Timeout(connect=wire.limit(send.connect_s), read=_try.limit_s),
            )  # fmt: skip
        except (failures.HTTPError, OSError) as error:
            return _failure_of(error, sent=_try.sent)
        has_end = "content-length" in answer.headers or "transfer-encoding" in answer.headers
        if answer.version == 11 and not has_end and answer.status not in (204, 304):
            return Failure("the answer was cut off", sent=True)
        return Reply(answer.status, answer.headers, answer.data)

    def _pool(self, url: str) -> urllib3.PoolManager:
        """Of this node's connections, through a proxy where the environment has one."""
        pool = self._pools.get(url)
        if pool is None:
            proxy, tls = wire.proxy_of(url), wire.context_of(self._verify) if url.startswith("https") else None
            if proxy is None:
                made = urllib3.PoolManager(maxsize=KEPT_MAX, ssl_context=tls)
            else:
                place, user = wire.without_user(proxy)
                said = {f"proxy-{name}": value for name, value in user.items()}
                made = urllib3.ProxyManager(place, maxsize=KEPT_MAX, ssl_context=tls, proxy_headers=said)
            made.pool_classes_by_scheme = {"http": _Pool, "https": _PoolOverTLS}
            pool = self._pools.setdefault(url, made)
        return pool


def _failure_of(error: failures.HTTPError | OSError, *, sent: bool) -> Failure:
    """Why there is no answer."""
    cause = error.args[-1] if error.args and isinstance(error.args[-1], BaseException) else error
    text = wire.text_of(cause)
    if not sent:
        if isinstance(cause, failures.SSLError | ssl.SSLError):
            return wire.no_tls(text)
        if isinstance(cause, failures.ConnectTimeoutError):
            return Failure("it took too long to connect", sent=False)
        return Failure(wire.text_of(cause.__cause__ or cause), sent=False)
    if isinstance(error, failures.TimeoutError | TimeoutError) or isinstance(cause, TimeoutError):
        return Failure("it took too long", sent=True)
    return Failure(text, sent=True, foreign=_is_nonsense(cause) or isinstance(error, failures.DecodeError))


def _is_nonsense(cause: BaseException) -> bool:
    """Whether what came is no HTTP; what was cut off is none either, but may be whole another time."""
    if isinstance(cause, http.client.BadStatusLine):
        return str(cause.args[0]).endswith("\n") and not isinstance(cause, http.client.RemoteDisconnected)
    return isinstance(cause, http.client.HTTPException) and not isinstance(cause, http.client.IncompleteRead)
