"""httpx and websockets as the clients use them: what a request becomes, and what their exceptions mean."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from rmq import errors
from rmq.exchange import Failure, Reply, Send, problem_of
from rmq.talk import FRAME_BYTES_MAX, PATH, SUBPROTOCOL

DEFAULT_URLS = "http://localhost:8001,http://localhost:8002,http://localhost:8003"
"""Where `make run` puts its nodes."""
CONNECTIONS = logging.getLogger("rmq.connection")
"""What websockets says of a connection: silent until its own level is set, whatever the program configures above it.
websockets reports some connections that break with a traceback, and the session goes on."""
CONNECTIONS.addFilter(lambda _record: CONNECTIONS.level != logging.NOTSET)
PING_S, PONG_S, CLOSE_S = 2.0, 6.0, 2.0
"""A node that hangs is left after 10 s at most. The time for an answer runs from the ping on, so a pause of the program
itself ends a connection only where it begins just then, and is longer; and the session opens another one."""
_FOREIGN = ("illegal", "invalid", "malformed", "unexpected")
"""What h11 says of bytes that are no HTTP."""


def urls_or_default(urls: str | Sequence[str] | None) -> str | Sequence[str]:
    """What was given, else what RMQ_URL says (several with commas), else the nodes of `make run`."""
    return urls if urls is not None else os.environ.get("RMQ_URL") or DEFAULT_URLS


def options(headers: Mapping[str, str] | None, verify: bool | ssl.SSLContext) -> dict[str, Any]:
    """For httpx's clients, both kinds."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=60)
    return {"headers": dict(headers or {}), "verify": verify, "limits": limits, "follow_redirects": False}


def arguments(send: Send) -> dict[str, Any]:
    """For httpx's `request`."""
    request = send.request
    return {
        "method": request.method, "url": send.url + request.path, "headers": dict(request.headers),
        "content": request.content,
        "timeout": httpx.Timeout(send.answer_s, connect=send.connect_s, pool=send.connect_s),
    }  # fmt: skip


def reply_of(response: httpx.Response) -> Reply:
    """A node's answer."""
    return Reply(response.status_code, response.headers, response.content)


def failure_of(error: httpx.TransportError | httpx.DecodingError) -> Failure:
    """Why there is none."""
    text = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, httpx.ConnectError):
        is_tls = "SSL" in text or "TLS" in text
        return Failure(text + _advice_on_tls(text) if is_tls else text, sent=False, foreign=is_tls)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure("it took too long to connect", sent=False)
    if isinstance(error, httpx.TimeoutException):
        return Failure("it took too long", sent=True)
    is_foreign = isinstance(error, httpx.RemoteProtocolError) and any(word in text.lower() for word in _FOREIGN)
    is_foreign = is_foreign or isinstance(error, httpx.UnsupportedProtocol | httpx.DecodingError)
    return Failure(text, sent=True, foreign=is_foreign)


def _advice_on_tls(text: str) -> str:
    if "CERTIFICATE" in text:
        return "; make its certificate one that this machine trusts, or give the client `verify`"
    return "; where the port speaks plain HTTP, write http://"


def session_url(url: str) -> str:
    """Where a node of this URL takes sessions."""
    return "ws" + url.removeprefix("http") + PATH


def session_options(headers: Mapping[str, str] | None, verify: bool | ssl.SSLContext, url: str) -> dict[str, Any]:
    """For websockets' `connect`, both kinds."""
    context: ssl.SSLContext | None = None
    if url.startswith("https"):
        context = verify if isinstance(verify, ssl.SSLContext) else ssl.create_default_context()
        if verify is False:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return {
        "additional_headers": dict(headers or {}), "ssl": context, "subprotocols": [Subprotocol(SUBPROTOCOL)],
        "compression": None, "max_size": FRAME_BYTES_MAX, "max_queue": None, "logger": CONNECTIONS,
        "ping_interval": PING_S, "ping_timeout": PONG_S, "close_timeout": CLOSE_S,
    }  # fmt: skip


def session_refused(url: str, failure: Exception) -> errors.Error:
    """Why a node took no session."""
    text = str(failure).rstrip(".") or type(failure).__name__
    if isinstance(failure, InvalidStatus):
        answer = failure.response
        reply = Reply(
            answer.status_code, {n.lower(): v for n, v in answer.headers.raw_items()}, bytes(answer.body or b"")
        )
        return problem_of(reply)[0]
    ended = isinstance(failure, InvalidMessage) and isinstance(failure.__cause__, EOFError)
    if ended or isinstance(failure, ConnectionClosed):
        # As of a node that is killed just then: another try may find it, or another one.
        return errors.CannotConnect(f"{url} gave no answer: the connection ended.", code="no_answer")
    if isinstance(failure, OSError) and "SSL" not in text:
        return errors.CannotConnect(f"{url} could not be reached: {text}.", code="cannot_connect")
    return errors.NotRMQ(f"{url} takes no sessions: {text}.", code="not_rmq")
