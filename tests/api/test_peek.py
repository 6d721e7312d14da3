"""Peek: looking without touching, filters, pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.asking import T, check, publish, receive, settle
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic."""
    assert (await client.put(T)).status_code == 201
    yield client


async def peek(client: httpx.AsyncClient, **query: str) -> tuple[list[dict[str, Any]], str | None]:
    answer = await client.get(f"{T}/messages", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["items"], answer.json()["next_cursor"]


async def test_a_message_as_it_stands(client: httpx.AsyncClient) -> None:
    (place,) = await publish(client, {"a": 1}, headers={"kind": "order"}, group="anna")
    (item,), cursor = await peek(client)
    assert list(item) == [
        "id", "sequence", "state", "body", "headers", "group", "priority", "deliveries", "published_at",
    ]  # fmt: skip
    assert (item["id"], item["state"], item["body"], item["deliveries"]) == (place["id"], "ready", {"a": 1}, 0)
    assert (item["headers"], item["group"], cursor) == ({"kind": "order"}, "anna", None)
    assert len(await receive(client)) == 1


async def test_the_state_is_that_of_the_subscription(client: httpx.AsyncClient, node: FakeNode) -> None:
    await client.put(f"{T}/subscriptions/other")
    await client.patch(T, json={"max_deliveries": 2})
    await publish(client, "dead", "done", "back", "leased", "ready")
    await publish(client, "later", delay_s=60)
    for delay_s in (0, 0):
        dead, *_ = await receive(client)
        await settle(client, "nack", dead["token"], delay_s=delay_s)
    done, back, _ = await receive(client, max=3)
    await settle(client, "ack", done["token"])
    await settle(client, "nack", back["token"], delay_s=9)
    items, _ = await peek(client)
    assert [(item["body"], item["state"], item["deliveries"]) for item in items] == [
        ("dead", "dead", 2), ("done", "done", 0), ("back", "delayed", 1), ("leased", "leased", None),
        ("ready", "ready", 0), ("later", "delayed", 0),
    ]  # fmt: skip
    items, _ = await peek(client, subscription="other")
    assert [item["state"] for item in items] == ["ready"] * 5 + ["delayed"]


async def test_pages_continue_each_other(client: httpx.AsyncClient) -> None:
    await publish(client, *range(7))
    found, cursor = await peek(client, limit="3")
    while cursor is not None:
        items, cursor = await peek(client, limit="3", cursor=cursor)
        found += items
    assert [item["body"] for item in found] == list(range(7))
    items, cursor = await peek(client, **{"from": "5", "limit": "2"})
    assert [item["sequence"] for item in items] == [5, 6] and cursor
    items, _ = await peek(client, **{"from": "5", "cursor": cursor})
    assert [item["sequence"] for item in items] == [7]
    assert await peek(client, **{"from": "8"}) == ([], None)
    for other in ({"subscription": "x"}, {"header.a": "1"}):
        check(await client.get(f"{T}/messages", params={"cursor": cursor, **other}), 400, "invalid_cursor")


async def test_filters_on_headers(client: httpx.AsyncClient) -> None:
    for n in range(6):
        await publish(client, n, headers={"kind": "order" if n % 2 else "mail", "n": str(n)})
    await publish(client, "none")
    for query, expected in (
        ({"header.kind": "order"}, [1, 3, 5]), ({"header.kind": "mail", "header.n": "2"}, [2]),
        ({"header.kind": ""}, []), ({"header.other": "order"}, []),
    ):  # fmt: skip
        items, cursor = await peek(client, **query)
        assert ([item["body"] for item in items], cursor) == (expected, None)


async def test_a_filter_that_lets_little_through_has_short_pages(client: httpx.AsyncClient) -> None:
    await publish(client, *range(1000))
    await publish(client, "found", headers={"kind": "order"})
    items, cursor = await peek(client, **{"header.kind": "order"})
    assert items == [] and cursor is not None
    items, cursor = await peek(client, **{"header.kind": "order", "cursor": cursor})
    assert [item["body"] for item in items] == ["found"] and cursor is None


async def test_bytes_and_dead_letters(client: httpx.AsyncClient) -> None:
    await client.put("/v1/topics/first", json={"max_deliveries": 1, "dead_letter_topic": "t"})
    await publish(client, 1, topic="/v1/topics/first")
    (message,) = await receive(client, topic="/v1/topics/first")
    await client.post("/v1/topics/first/messages:nack", json={"tokens": [message["token"]]})
    await client.post(f"{T}/messages", content=b"\xff", headers={"content-type": "application/octet-stream"})
    (dead, binary), _ = await peek(client)
    assert dead["dead_letter"]["topic"] == "first" and "dead_letter" not in binary
    assert binary["body_base64"] == "/w==" and "body" not in binary


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=1001", "limit=x", "from=-1", "from=x", "from=9007199254740992", "subscription=",
        "subscription=a%20b", "colour=red", "header.=x", "header.a%20b=x", "header.a=1&header.a=2", "header=x",
        f"header.a={'x' * 1025}", f"header.{'a' * 65}=x", "limit=1&limit=1",
    ],
)  # fmt: skip
async def test_a_wrong_query_is_refused(client: httpx.AsyncClient, query: str) -> None:
    check(await client.get(f"{T}/messages?{query}"), 400, "invalid_parameter")


@pytest.mark.parametrize(
    "query",
    ["limit=1", "limit=1000", "from=0", "from=9007199254740991", f"header.{'a' * 64}={'x' * 1024}"],
)
async def test_a_query_at_its_limits(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"{T}/messages?{query}")).status_code == 200


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    check(await client.get("/v1/topics/nope/messages"), 404, "topic_not_found")
    check(await client.get(f"{T}/messages?subscription=nope"), 404, "subscription_not_found")
    check(await client.get(f"{T}/messages?cursor=x"), 400, "invalid_cursor")
