"""One request, and what is known of its effect; an operation is tries with one key until one is answered.

    sent?  answered?                         what is known
    no     -                                 unsent:  it did not happen
    yes    no, or cut short                  unknown: it may happen, now or later
    yes    2xx                               ok
    yes    a refusal, outcome not_committed  refused: it did not happen
    yes    a refusal, any other outcome      unknown

Rules of this file: in doubt unknown; one unknown try makes the whole operation unknown, unless a later try with the
same key is answered; without a key nothing is sent twice. A refusal that no fault explains (`EXPECTED` holds those
that faults do) is kept by its code, and the verdict looks at them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import httpx
import msgspec

from chaos.clients.lean import LeanTransport

BACKOFF_S = (0.02, 0.5)
"""First and longest pause between tries; each is doubled and drawn at random below it."""
EXPECTED = frozenset({
    "no_quorum", "not_committed", "not_ready", "not_leader", "shutting_down", "outcome_unknown", "overloaded",
    "disk_full", "unreachable", "no_answer",
})  # fmt: skip
"""Codes that a broken cluster may answer, and the two made here for one that does not answer at all."""


class Request(NamedTuple):
    """What to send. `key` goes into Idempotency-Key, and allows retries; `bare`: it stands in the body already."""

    method: str
    path: str
    json: Any = None
    key: str | None = None
    bare: bool = False


class Try(NamedTuple):
    """What came of one request. `code` is the error's, None when ok."""

    known: Literal["unsent", "unknown", "ok", "refused"]
    code: str | None = None
    status: int = 0
    headers: Mapping[str, str] = {}
    content: bytes = b""

    def json(self) -> Any:
        """The answer's body."""
        return msgspec.json.decode(self.content)


class Attempt(NamedTuple):
    """What came of an operation; `last` is the try that decided."""

    outcome: Literal["ok", "fail", "unknown"]
    last: Try
    node: int
    tries: int
    start: float
    end: float


async def send(http: httpx.AsyncClient, url: str, request: Request, timeout_s: float) -> Try:
    """One try. Never raises for what a network or a node can do."""
    headers = {"idempotency-key": request.key} if request.key and not request.bare else {}
    try:
        async with asyncio.timeout(timeout_s):
            answer = await http.request(request.method, url + request.path, json=request.json, headers=headers)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return Try("unsent", "unreachable")
    except (httpx.TransportError, TimeoutError):
        return Try("unknown", "no_answer")
    if answer.is_success:
        return Try("ok", None, answer.status_code, answer.headers, answer.content)
    code, outcome = _refusal(answer)
    known: Literal["refused", "unknown"] = "refused" if outcome == "not_committed" else "unknown"
    return Try(known, code, answer.status_code, answer.headers, answer.content)


def _refusal(answer: httpx.Response) -> tuple[str, str]:
    """Code and outcome of an error: in the headers of a classic answer, in the body of another."""
    if "rmq-code" in answer.headers:
        return answer.headers["rmq-code"], answer.headers.get("rmq-outcome", "unknown")
    try:
        body = msgspec.json.decode(answer.content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"http_{answer.status_code}", "unknown"
    return str(body.get("code", f"http_{answer.status_code}")), str(body.get("outcome", "unknown"))


class Caller:
    """One client's way to the cluster: its own connections, a node that it prefers, patience.

    `try_s`: time for one request. `patience_s`: time for an operation with a key, over all its tries. `transport`:
    how requests travel, for tests.
    """

    def __init__(
        self, urls: Sequence[str], prefers: int, now: Callable[[], float], rng: random.Random,
        *, try_s: float = 1.2, patience_s: float = 20.0, transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._urls = urls
        self._node = prefers % len(urls)
        self._prefers = self._node
        self._now = now
        self._rng = rng
        self._try_s, self._patience_s = try_s, patience_s
        self._http = httpx.AsyncClient(timeout=None, trust_env=False, transport=transport or LeanTransport())

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def call(self, request: Request, *, longer_s: float = 0.0) -> Attempt:
        """Ask until answered, if the request has a key; else once, or again where it was surely not sent."""
        start, tries, unknown, pause_s = self._now(), 0, False, BACKOFF_S[0]
        while True:
            tries += 1
            node = self._node
            last = await send(self._http, self._urls[node], request, self._try_s + longer_s)
            end = self._now()
            if last.known == "ok":
                self._node = self._prefers if self._rng.random() < 0.1 else node
                return Attempt("ok", last, node, tries, start, end)
            unknown |= last.known == "unknown"
            self._node = (node + 1) % len(self._urls)
            again = request.key is not None or last.known == "unsent"
            if not again or last.code not in EXPECTED or end - start > self._patience_s:
                return Attempt("unknown" if unknown else "fail", last, node, tries, start, end)
            await asyncio.sleep(pause_s * self._rng.random())
            pause_s = min(BACKOFF_S[1], 2 * pause_s)
