"""Subscriptions: where they begin, what they count, how they go."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.api.asking import JSON, T, check, publish, receive, take
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio

S = f"{T}/subscriptions"


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic of three messages."""
    assert (await client.put(T)).status_code == 201
    await publish(client, 1, 2, 3)
    yield client


@pytest.mark.parametrize(
    ("body", "start", "gets"),
    [
        ({}, 4, []), ({"start": "latest"}, 4, []), ({"start": "earliest"}, 1, [1, 2, 3]), ({"start": 2}, 2, [2, 3]),
        ({"start": 3.0}, 3, [3]), ({"start": 2**53 - 1}, 4, []), (None, 4, []),
    ],
)  # fmt: skip
async def test_where_it_begins(
    client: httpx.AsyncClient, body: dict[str, object] | None, start: int, gets: list[int]
) -> None:
    answer = await (client.put(f"{S}/mails") if body is None else client.put(f"{S}/mails", json=body))
    assert (answer.status_code, answer.json()) == (201, {"name": "mails", "start": start})
    assert answer.headers["location"] == f"{S}/mails"
    assert await take(client, subscription="mails", max=9) == gets
    await publish(client, 4)
    assert await take(client, subscription="mails", max=9) == [4]


async def test_one_that_is_there_stays_as_it_is(client: httpx.AsyncClient) -> None:
    await client.put(f"{S}/mails", json={"start": 2})
    answer = await client.put(f"{S}/mails", json={"start": "earliest"})
    assert (answer.status_code, answer.json()) == (200, {"name": "mails", "start": 2})


async def test_counts(client: httpx.AsyncClient) -> None:
    await client.put(f"{S}/mails", json={"start": 2})
    await receive(client, subscription="mails")
    mails = {"name": "mails", "start": 2, "ready": 1, "leased": 1, "delayed": 0, "dead": 0}
    default = {"name": "default", "start": 1, "ready": 3, "leased": 0, "delayed": 0, "dead": 0}
    assert (await client.get(f"{S}/mails")).json() == mails
    assert (await client.get(S)).json() == {"items": [default, mails], "next_cursor": None}
    assert (await client.get(T)).json()["subscriptions"] == [default, mails]


async def test_a_deleted_one_keeps_nothing(client: httpx.AsyncClient, node: FakeNode) -> None:
    await client.put(f"{S}/mails", json={"start": "earliest"})
    assert await take(client, subscription="mails", max=9) == [1, 2, 3]
    assert (await client.delete(f"{S}/default")).status_code == 204
    node.pass_time(1)
    assert (await client.get(T)).json()["messages"] == 0
    check(await client.delete(f"{S}/default"), 404, "subscription_not_found")
    check(await client.get(f"{S}/default"), 404, "subscription_not_found")
    check(await client.delete(f"{S}/mails"), 409, "last_subscription")
    answer = await client.get("/message/t")
    assert (answer.status_code, answer.content) == (200, b'{"success": false}')
    assert answer.headers["rmq-code"] == "subscription_not_found"


async def test_there_is_an_end_to_them(client: httpx.AsyncClient) -> None:
    for number in range(62):
        assert (await client.put(f"{S}/s{number}")).status_code == 201
    assert "63" in check(await client.put(f"{S}/one-more"), 409, "too_many")
    assert len((await client.get(S)).json()["items"]) == 63


@pytest.mark.parametrize("name", ["a b", "%00", "%C3%A9", "x" * 129, "a%0A", "a:b", "%2E", "%2E%2E"])
async def test_names_that_none_has(client: httpx.AsyncClient, node: FakeNode, name: str) -> None:
    before = node.submitted
    for answer in (
        await client.put(f"{S}/{name}"),
        await client.get(f"{S}/{name}"),
        await client.delete(f"{S}/{name}"),
    ):
        check(answer, 400, "invalid_name")
    assert node.submitted == before


async def test_the_longest_name(client: httpx.AsyncClient) -> None:
    assert (await client.put(f"{S}/{'x' * 128}")).status_code == 201
    assert await take(client, subscription="x" * 128) == []


@pytest.mark.parametrize("start", ["", "first", 0, -1, 1.5, None, True, 2**53])
async def test_what_is_no_start(client: httpx.AsyncClient, start: object) -> None:
    assert "`$.start`" in check(await client.put(f"{S}/mails", json={"start": start}), 400, "invalid_body")


async def test_what_is_not_there_or_not_known(client: httpx.AsyncClient) -> None:
    for path in ("/v1/topics/nope/subscriptions", "/v1/topics/nope/subscriptions/s"):
        check(await client.get(path), 404, "topic_not_found")
    check(await client.put("/v1/topics/nope/subscriptions/s"), 404, "topic_not_found")
    check(await client.delete("/v1/topics/nope/subscriptions/s"), 404, "topic_not_found")
    assert "`colour`" in check(await client.put(f"{S}/s", json={"colour": 1}), 400, "invalid_body")
    check(await client.put(f"{S}/s", content=b"x", headers=JSON), 400, "malformed_json")
    for method in ("PUT", "GET", "DELETE"):
        check(await client.request(method, f"{S}/default?x=1"), 400, "invalid_parameter")
    check(await client.get(f"{S}/"), 404, "route_not_found")
