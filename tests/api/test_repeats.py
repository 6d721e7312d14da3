"""Every change can be sent again under its Idempotency-Key, and is answered as it was the first time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.api import topic_actions
from tests.api.asking import T, check, counts, publish, receive
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio

KEY = {"idempotency-key": "k"}
SCHEDULE = {"cron": "0 0 1 1 *", "message": {"body": 1}}
CHANGES: list[tuple[str, str, Any, int]] = [
    ("PUT", "/v1/topics/new", {"lease_s": 5}, 201),
    ("PATCH", T, {"lease_s": 5}, 200),
    ("DELETE", T, None, 204),
    ("POST", f"{T}:purge", {}, 200),
    ("POST", f"{T}:redrive", {}, 200),
    ("PUT", f"{T}/subscriptions/new", {"start": "earliest"}, 201),
    ("DELETE", f"{T}/subscriptions/other", None, 204),
    ("PUT", f"{T}/schedules/new", SCHEDULE, 201),
    ("DELETE", f"{T}/schedules/old", None, 204),
    ("POST", f"{T}/messages:ack", {"tokens": ["x"]}, 200),
    ("POST", f"{T}/messages:nack", {"tokens": ["x"]}, 200),
    ("POST", f"{T}/messages:extend", {"tokens": ["x"], "lease_s": 1}, 200),
]


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic, and something of everything in it."""
    assert (await client.put(T)).status_code == 201
    await client.put(f"{T}/subscriptions/other")
    await client.put(f"{T}/schedules/old", json=SCHEDULE)
    await publish(client, 1, 2, 3)
    yield client


@pytest.mark.parametrize(("method", "path", "body", "status"), CHANGES, ids=[f"{c[0]} {c[1]}" for c in CHANGES])
async def test_a_repetition_gets_the_first_answer(
    client: httpx.AsyncClient, node: FakeNode, method: str, path: str, body: Any, status: int
) -> None:
    first = await client.request(method, path, json=body, headers=KEY)
    assert first.status_code == status, first.text
    node.lost = 1
    again = await client.request(method, path, json=body, headers=KEY)
    assert (again.status_code, again.content) == (status, first.content)
    different = {"lease_s": 6} if path in ("/v1/topics/new", T) else {"tokens": ["y"], "lease_s": 1}
    if path.endswith((":nack", ":ack")):
        different = {"tokens": ["y"]}
    if "messages" in path or (path in ("/v1/topics/new", T) and body):
        check(await client.request(method, path, json=different, headers=KEY), 422, "key_reused")
    other = await client.post("/v1/topics/another:purge", headers=KEY)
    check(other, 422, "key_reused")


async def test_an_answer_that_was_lost_is_found_by_its_key(client: httpx.AsyncClient, node: FakeNode) -> None:
    node.lost = 1
    answer = await client.post(f"{T}:purge")
    check(answer, 504, "outcome_unknown")
    await publish(client, 1)
    node.lost = 1
    assert (await client.post(f"{T}:purge", headers=KEY)).json() == {"purged": 1}


async def test_a_refusal_is_not_kept(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        check(await client.delete("/v1/topics/new", headers=KEY), 404, "topic_not_found")
    await client.put("/v1/topics/new")
    assert (await client.delete("/v1/topics/new", headers=KEY)).status_code == 204
    assert (await client.delete("/v1/topics/new", headers=KEY)).status_code == 204


async def test_a_key_is_forgotten_in_the_end(client: httpx.AsyncClient, node: FakeNode) -> None:
    for purged in (3, 3):
        assert (await client.post(f"{T}:purge", headers=KEY)).json() == {"purged": purged}
    node.pass_time(301)
    assert (await client.post(f"{T}:purge", headers=KEY)).json() == {"purged": 0}


async def test_a_redrive_of_many_commands_is_repeated_as_a_whole(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_actions, "MESSAGES_MAX", 2)
    await client.patch(T, json={"max_deliveries": 1})
    messages = await receive(client, max=3)
    await client.post(f"{T}/messages:nack", json={"tokens": [message["token"] for message in messages]})
    assert (await counts(client))["dead"] == 3
    first = await client.post(f"{T}:redrive", headers=KEY)
    assert first.json() == {"moved": 3, "kept": 0, "next": None}
    assert (await client.post(f"{T}:redrive", headers=KEY)).content == first.content
    assert (await client.post(f"{T}:redrive")).json()["moved"] == 0


@pytest.mark.parametrize("key", ["", "x" * 257, "a b", "\u00e9"])
async def test_what_is_no_key(client: httpx.AsyncClient, node: FakeNode, key: str) -> None:
    before = node.submitted
    for method, path, body, _ in CHANGES:
        answer = await client.request(method, path, json=body, headers={"idempotency-key": key.encode()})
        assert "Idempotency-Key" in check(answer, 400, "invalid_header")
    assert node.submitted == before
    answer = await client.post(f"{T}:purge", headers={"idempotency-key": "x" * 256})
    assert answer.status_code == 200
