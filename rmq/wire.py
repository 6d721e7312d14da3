"""What both clients, and both of their ways to a node, need of it: URLs, TLS, and what websockets' exceptions mean."""

from __future__ import annotations

import base64
import logging
import os
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from rmq import errors
from rmq.exchange import Failure, Reply, problem_of
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
HEADERS = {"user-agent": "rmq"}
"""Sent with every request, unless the caller has another one."""
SHORTEST_S, LONGEST_S = 0.001, 1e6


def urls_or_default(urls: str | Sequence[str] | None) -> str | Sequence[str]:
    """What was given, else what RMQ_URL says (several with commas), else the nodes of `make run`."""
    return urls if urls is not None else os.environ.get("RMQ_URL") or DEFAULT_URLS


def limit(seconds: float) -> float | None:
    """As the libraries for HTTP want it: more than nothing, and none where it is for ever, or as good as that."""
    return None if seconds > LONGEST_S else max(seconds, SHORTEST_S)


def headers_of(headers: Mapping[str, str] | None) -> dict[str, str]:
    """What is sent with every request: names in lower case, so that none is sent twice."""
    return HEADERS | {name.lower(): value for name, value in (headers or {}).items()}


def without_user(url: str) -> tuple[str, dict[str, str]]:
    """The URL without a user and a password in it, and the header that says them."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    name, _, password = user.partition(":")
    said = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return parts._replace(netloc=place).geturl(), {"authorization": f"Basic {said}"}


def context_of(verify: bool | ssl.SSLContext) -> ssl.SSLContext:
    """What https is spoken with. It takes some 20 ms to make."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def proxy_of(url: str) -> str | None:
    """The proxy that the environment has for this node, in HTTP_PROXY and its like; one that speaks HTTP."""
    parts, found = urlsplit(url), getproxies()
    proxy = found.get(parts.scheme) or found.get("all") or ""
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = proxy if "://" in proxy or not proxy else f"http://{proxy}"
    return proxy if proxy.startswith("http") else None


def text_of(error: BaseException) -> str:
    """What it says, in one line, or what it is."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def no_tls(text: str) -> Failure:
    """No answer, since TLS was not agreed on; `text` says why."""
    if "CERTIFICATE" in text:
        advice = "; make its certificate one that this machine trusts, or give the client `verify`"
    else:
        advice = "; where the port speaks plain HTTP, write http://"
    return Failure(text + advice, sent=False, foreign=True)


def session_url(url: str) -> str:
    """Where a node of this URL takes sessions."""
    return "ws" + url.removeprefix("http") + PATH


def session_options(headers: Mapping[str, str] | None, verify: bool | ssl.SSLContext, url: str) -> dict[str, Any]:
    """For websockets' `connect`, both kinds."""
    context = context_of(verify) if url.startswith("https") else None
    return {
        "additional_headers": dict(headers or {}), "ssl": context, "subprotocols": [Subprotocol(SUBPROTOCOL)],
        "compression": None, "max_size": FRAME_BYTES_MAX, "max_queue": None, "logger": CONNECTIONS,
        "ping_interval": PING_S, "ping_timeout": PONG_S, "close_timeout": CLOSE_S,
    }  # fmt: skip


def session_refused(url: str, failure: Exception) -> errors.Error:
    """Why a node took no session."""
    text = text_of(failure)
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
