"""Purge and redrive."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from app.api import topic_actions
from tests.api.asking import JSON, T, check, counts, publish, receive, take
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio

DEAD = "/v1/topics/dead"


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With a topic whose messages die of their first delivery, and one for the dead."""
    assert (await client.put(DEAD)).status_code == 201
    assert (await client.put(T, json={"max_deliveries": 1, "dead_letter_topic": "dead"})).status_code == 201
    yield client


async def die(client: httpx.AsyncClient, *bodies: object) -> None:
    """Publish these and give them back."""
    await publish(client, *bodies)
    tokens = [message["token"] for message in await receive(client, max=1000)]
    assert (await client.post(f"{T}/messages:nack", json={"tokens": tokens})).status_code == 200


async def redrive(client: httpx.AsyncClient, topic: str = DEAD, **asked: object) -> tuple[int, int, int | None]:
    answer = await client.post(f"{topic}:redrive", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["moved"], answer.json()["kept"], answer.json()["next"]


async def test_purge_takes_all_away(client: httpx.AsyncClient) -> None:
    await publish(client, 1, 2, 3)
    await receive(client)
    answer = await client.post(f"{T}:purge")
    assert (answer.status_code, answer.json()) == (200, {"purged": 3})
    assert (await client.post(f"{T}:purge", json={})).json() == {"purged": 0}
    assert await counts(client) == {"ready": 0, "leased": 0, "delayed": 0, "dead": 0}
    (place,) = await publish(client, 4)
    assert place["sequence"] == 4


async def test_purge_has_nothing_to_choose(client: httpx.AsyncClient) -> None:
    await publish(client, 1)
    for how in ({"json": {"subscription": "mails"}}, {"content": b"[]", "headers": JSON}):
        check(await client.post(f"{T}:purge", **how), 400, "invalid_body")  # type: ignore[arg-type]
    check(await client.post(f"{T}:purge", content=b"{}"), 415, "unsupported_media_type")
    check(await client.post(f"{T}:purge?subscription=mails"), 400, "invalid_parameter")
    assert await take(client) == [1]


async def test_dead_letters_go_back(client: httpx.AsyncClient) -> None:
    await die(client, 1, 2)
    assert await redrive(client) == (2, 0, None)
    assert await take(client, max=5) == [1, 2]
    assert (await client.post(f"{DEAD}:redrive")).json() == {"moved": 0, "kept": 0, "next": None}


async def test_those_that_stand_still_are_ready_again(client: httpx.AsyncClient) -> None:
    await client.delete(DEAD)
    await die(client, 1, 2, 3)
    assert (await counts(client))["dead"] == 3
    assert await redrive(client, T, max=2) == (2, 0, 1)
    assert (await counts(client))["ready"] == 2
    assert await redrive(client, T) == (1, 0, None)


async def test_to_another_topic(client: httpx.AsyncClient) -> None:
    await client.put("/v1/topics/again")
    await die(client, 1)
    check(await client.post(f"{DEAD}:redrive", json={"to": "nope"}), 404, "topic_not_found")
    assert await redrive(client, to="again") == (1, 0, None)
    assert [message["body"] for message in await receive(client, topic="/v1/topics/again")] == [1]


async def test_what_finds_no_place_stays(client: httpx.AsyncClient) -> None:
    await die(client, 1, 2, 3)
    await client.patch(T, json={"max_messages": 1})
    assert await redrive(client) == (1, 2, None)
    await client.delete(T)
    assert await redrive(client) == (0, 2, None)


async def test_it_is_as_many_commands_as_it_takes(client: httpx.AsyncClient, node: FakeNode) -> None:
    for start in range(0, 2500, 500):
        await die(client, *range(start, start + 500))
    before = node.submitted
    assert await redrive(client, max=1200) == (1200, 0, 1201)
    assert node.submitted == before + 2
    assert await redrive(client) == (1300, 0, None)
    assert (await counts(client))["ready"] == 2500


async def test_a_long_one_says_how_far_it_came(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in range(0, 1500, 500):
        await die(client, *range(start, start + 500))
    monkeypatch.setattr(topic_actions, "STEPS_MAX", 1)
    assert await redrive(client) == (1000, 0, 1001)
    assert await redrive(client, **{"from": 1001}) == (500, 0, None)


@pytest.mark.parametrize(
    ("field", "takes", "refuses"),
    [
        ("max", [1, 2**53 - 1, None], [0, -1, 1.5, 2**53, "1"]),
        ("from", [1, 2**53 - 1, None], [0, -1, 1.5, 2**53, "1"]),
        ("to", ["t", None], ["", "a b", "x" * 129, 1]),
    ],
)
async def test_limits(client: httpx.AsyncClient, field: str, takes: list[object], refuses: list[object]) -> None:
    for value in takes:
        assert (await redrive(client, **{field: value}))[0] == 0
    for value in refuses:
        assert f"$.{field}" in check(await client.post(f"{DEAD}:redrive", json={field: value}), 400, "invalid_body")
    check(await client.post(f"{DEAD}:redrive", json={"start": 1}), 400, "invalid_body")


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    for action in ("purge", "redrive"):
        check(await client.post(f"/v1/topics/nope:{action}"), 404, "topic_not_found")
        check(await client.post(f"/v1/topics/a%20b:{action}"), 400, "invalid_topic")
        check(await client.post(f"/v1/topics/:{action}"), 404, "route_not_found")
