"""What is known of an operation after its tries: told with answers by hand, no network."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable

import httpx
import pytest

from chaos.clients.tries import Attempt, Caller, Request

URLS = ["http://node0", "http://node1", "http://node2"]
KEYED = Request("POST", "/v1/topics/t/messages", {"body": 1}, "key")
BARE = Request("PUT", "/message", {"topic": "t", "message": "m"})
Answer = Callable[[httpx.Request], httpx.Response]


def ok(request: httpx.Request) -> httpx.Response:
    return httpx.Response(201, json={"messages": []})


def refused(request: httpx.Request) -> httpx.Response:
    return httpx.Response(503, json={"code": "no_quorum", "outcome": "not_committed"})


def unknown(request: httpx.Request) -> httpx.Response:
    return httpx.Response(504, json={"code": "outcome_unknown", "outcome": "unknown"})


def classic_refused(request: httpx.Request) -> httpx.Response:
    return httpx.Response(503, headers={"rmq-code": "no_quorum", "rmq-outcome": "not_committed"})


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def cut_short(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("hung up")


def conflict(request: httpx.Request) -> httpx.Response:
    return httpx.Response(422, json={"code": "key_reused", "outcome": "not_committed"})


def broken(request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, content=b"<html>")


def attempt(request: Request, *answers: Answer, asked: list[str] | None = None) -> Attempt:
    """The operation's end when the tries are answered so; the last answer goes on for ever."""
    left = iter(answers)

    def answer(sent: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(f"{sent.url.host} {sent.headers.get('idempotency-key')}")
        return next(left, answers[-1])(sent)

    async def call() -> Attempt:
        clock = itertools.count()
        caller = Caller(
            URLS, 0, lambda: float(next(clock)), random.Random(1), patience_s=6, transport=httpx.MockTransport(answer)
        )
        try:
            return await caller.call(request)
        finally:
            await caller.close()

    return asyncio.run(call())


@pytest.mark.parametrize(
    ("request_", "answers", "outcome", "tries"),
    [
        (KEYED, [ok], "ok", 1),
        (KEYED, [unknown, refused, unreachable, ok], "ok", 4),
        (KEYED, [cut_short, ok], "ok", 2),
        (KEYED, [refused], "fail", 7),
        (KEYED, [unreachable], "fail", 7),
        (KEYED, [refused, cut_short, refused], "unknown", 7),
        (BARE, [ok], "ok", 1),
        (BARE, [unreachable, unreachable, ok], "ok", 3),
        (BARE, [classic_refused], "fail", 1),
        (BARE, [cut_short], "unknown", 1),
        (BARE, [unknown], "unknown", 1),
        (BARE, [unreachable, cut_short], "unknown", 2),
        (KEYED, [conflict], "fail", 1),
        (KEYED, [unknown, conflict], "unknown", 2),
        (KEYED, [broken], "unknown", 1),
    ],
)
def test_the_outcome_is_what_is_known(request_: Request, answers: list[Answer], outcome: str, tries: int) -> None:
    end = attempt(request_, *answers)
    assert (end.outcome, end.tries) == (outcome, tries)


def test_a_retry_asks_another_node_with_the_same_key() -> None:
    asked: list[str] = []
    attempt(KEYED, refused, refused, ok, asked=asked)
    assert asked == ["node0 key", "node1 key", "node2 key"]


def test_without_a_key_none_is_sent() -> None:
    asked: list[str] = []
    attempt(BARE, ok, asked=asked)
    assert asked == ["node0 None"]


def test_the_code_of_a_refusal_is_kept() -> None:
    assert attempt(KEYED, conflict).last.code == "key_reused"
    assert attempt(BARE, classic_refused).last.code == "no_quorum"
    assert attempt(KEYED, broken).last.code == "http_500"
