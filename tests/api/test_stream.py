"""Server-sent events over the real server: each message once, in order, and again from where the client was."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from app.api import stream
from tests.api.conftest import Live

STREAM = "/v1/topics/t/stream"


@pytest.fixture
def live() -> Iterator[Live]:
    with Live() as found:
        httpx.put(f"{found.url}/v1/topics/t").raise_for_status()
        yield found


def publish(live: Live, *bodies: Any) -> None:
    messages = [{"body": body} for body in bodies]
    httpx.post(f"{live.url}/v1/topics/t/messages", json={"messages": messages}).raise_for_status()


@contextmanager
def watching(live: Live, query: str = "", **headers: str) -> Iterator[Iterator[dict[str, str]]]:
    """The events of a stream as they come: fields by name; a comment is the field ''."""
    with httpx.stream("GET", f"{live.url}{STREAM}{query}", headers=headers, timeout=10) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        events = parse(answer.iter_lines())
        assert next(events) == {"retry": "1000"}
        yield events


def parse(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name.rstrip(":")] = value
        elif event:
            yield event
            event = {}


def seen(events: Iterator[dict[str, str]], count: int) -> list[tuple[int, Any]]:
    found = [next(events) for _ in range(count)]
    messages = [json.loads(event["data"]) for event in found]
    assert [message["sequence"] for message in messages] == [int(event["id"]) for event in found]
    return [(message["sequence"], message["body"]) for message in messages]


def test_what_comes_is_seen_once_and_in_order(live: Live) -> None:
    publish(live, "before")
    with watching(live) as events:
        publish(live, "a", {"b": 1})
        publish(live, "c")
        assert seen(events, 3) == [(2, "a"), (3, {"b": 1}), (4, "c")]


def test_nothing_is_taken(live: Live) -> None:
    publish(live, "a")
    with watching(live, "?from=1") as events:
        assert seen(events, 1) == [(1, "a")]
    answer = httpx.post(f"{live.url}/v1/topics/t/messages:receive", json={"auto_ack": True})
    assert [message["body"] for message in answer.json()["messages"]] == ["a"]


def test_who_comes_back_goes_on_behind_the_last_that_he_saw(live: Live) -> None:
    publish(live, *range(5))
    with watching(live, "?from=1", **{"last-event-id": "3"}) as events:
        assert seen(events, 2) == [(4, 3), (5, 4)]


def test_more_than_a_page_comes_at_once(live: Live) -> None:
    publish(live, *range(2 * stream.PAGE + 1))
    with watching(live, "?from=1") as events:
        assert [sequence for sequence, _ in seen(events, 2 * stream.PAGE + 1)] == list(range(1, 2 * stream.PAGE + 2))


def test_a_silent_stream_shows_life(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    with watching(live) as events:
        assert list(next(events)) == [""]


def test_a_deleted_topic_ends_it(live: Live) -> None:
    with watching(live) as events:
        httpx.delete(f"{live.url}/v1/topics/t").raise_for_status()
        publish_somewhere = httpx.put(f"{live.url}/v1/topics/other")
        publish_somewhere.raise_for_status()
        assert next(events) == {"event": "gone", "data": "{}"}
        assert next(events, None) is None


def test_a_stopping_node_ends_it_at_once(live: Live) -> None:
    with watching(live) as events:
        threading.Timer(0.1, lambda: live.run(lambda: stop(live))).start()
        assert next(events, None) is None


async def stop(live: Live) -> None:
    live.node.stopping.set()


def test_who_hangs_up_leaves_nothing_behind(live: Live) -> None:
    with watching(live):
        assert live.node.machine._watchers
    deadline = threading.Event()
    for _ in range(100):
        if not live.node.machine._watchers:
            return
        deadline.wait(0.05)
    pytest.fail("the stream goes on without its client")


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("?from=x", {}, 400, "invalid_parameter"),
        ("?since=1", {}, 400, "invalid_parameter"),
        ("", {"last-event-id": "-1"}, 400, "invalid_header"),
        ("?subscription=none", {}, 404, "subscription_not_found"),
    ],
)
def test_what_makes_no_sense(live: Live, query: str, headers: dict[str, str], status: int, code: str) -> None:
    answer = httpx.get(f"{live.url}{STREAM}{query}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_no_topic(live: Live) -> None:
    assert httpx.get(f"{live.url}/v1/topics/none/stream").json()["code"] == "topic_not_found"
