"""Schedules: what is kept, when it is due, what cannot be."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator

import httpx
import pytest

from app.broker import commands
from app.broker.commands import Fire
from tests.api.asking import JSON, T, check, receive
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio

S = f"{T}/schedules"
EVERY_MINUTE = {"cron": "* * * * *", "message": {"body": 1}}


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic."""
    assert (await client.put(T)).status_code == 201
    yield client


async def test_put_look_list_delete(client: httpx.AsyncClient) -> None:
    message = {"body": {"a": 1}, "headers": {"k": "v"}, "group": "g"}
    sent = {"cron": "0 8 * * MON-FRI", "zone": "Europe/Berlin", "message": message}
    answer = await client.put(f"{S}/report", json=sent)
    assert (answer.status_code, answer.headers["location"]) == (201, f"{S}/report")
    next_at = datetime.datetime.fromisoformat(answer.json()["next_at"])
    assert next_at > datetime.datetime.now(datetime.UTC)
    assert answer.json() == {"name": "report", **sent, "next_at": answer.json()["next_at"]}
    found = await client.get(f"{S}/report")
    assert (found.status_code, found.json()) == (200, answer.json())
    await client.put(f"{S}/another", json=EVERY_MINUTE)
    page = (await client.get(S)).json()
    assert [item["name"] for item in page["items"]] == ["another", "report"] and page["next_cursor"] is None
    assert page["items"][1] == answer.json()
    assert (await client.delete(f"{S}/report")).status_code == 204
    check(await client.delete(f"{S}/report"), 404, "schedule_not_found")
    check(await client.get(f"{S}/report"), 404, "schedule_not_found")


async def test_it_can_be_replaced(client: httpx.AsyncClient) -> None:
    assert (await client.put(f"{S}/s", json=EVERY_MINUTE)).status_code == 201
    answer = await client.put(f"{S}/s", json={**EVERY_MINUTE, "cron": "0 0 1 1 *", "zone": "UTC"})
    assert (answer.status_code, answer.json()["cron"]) == (200, "0 0 1 1 *")
    assert answer.json()["next_at"].endswith("-01-01T00:00:00.000Z")
    assert (await client.get(f"{S}/s")).json() == answer.json()


async def test_the_tick_that_is_kept_is_the_one_that_is_told(client: httpx.AsyncClient, node: FakeNode) -> None:
    answer = await client.put(f"{S}/s", json=EVERY_MINUTE)
    next_at = datetime.datetime.fromisoformat(answer.json()["next_at"])
    (due,) = node.machine.due_schedules(1 << 50, 10)
    assert due.next_ms == next_at.timestamp() * 1000
    node.apply(commands.encode(Fire(due.id, due.next_ms, answer.json()["next_at"], due.next_ms + 60_000)))
    (message,) = await receive(client)
    assert (message["body"], message["headers"]) == (1, {"rmq-tick": answer.json()["next_at"]})
    later = datetime.datetime.fromisoformat((await client.get(f"{S}/s")).json()["next_at"])
    assert later - next_at == datetime.timedelta(minutes=1)


async def test_messages_of_every_kind(client: httpx.AsyncClient) -> None:
    for message in (
        {"body": None}, {"body_base64": "AP8="}, {"body": "", "delay_s": 0.5, "ttl_s": 60}, {"body": 1, "group": "g"},
        {"body": 1, "headers": {str(n): "1" for n in range(32)}},
    ):  # fmt: skip
        answer = await client.put(f"{S}/s", json={**EVERY_MINUTE, "message": message})
        assert answer.status_code in (200, 201), answer.text
        assert answer.json()["message"] == message
        assert (await client.get(f"{S}/s")).json()["message"] == message


@pytest.mark.parametrize(
    ("cron", "zone", "says"),
    [
        ("61 * * * *", "UTC", "minute"), ("* 24 * * *", "UTC", "hour"), ("* * * *", "UTC", "five fields"),
        ("* * * * * *", "UTC", "five fields"), ("", "UTC", "five fields"), ("@daily", "UTC", "five fields"),
        ("0 0 30 2 *", "UTC", "day-of-month"), ("x * * * *", "UTC", "minute"), ("*/0 * * * *", "UTC", "minute"),
        ("* * * * *", "Mars/Olympus", "time zone"), ("* * * * *", "", "time zone"), ("* * * * *", "../x", "time zone"),
        ("* * * * *", "localtime", "time zone"), ("* * * * *", "Europe", "time zone"),
    ],
)  # fmt: skip
async def test_times_that_cannot_be(client: httpx.AsyncClient, node: FakeNode, cron: str, zone: str, says: str) -> None:
    before = node.submitted
    answer = await client.put(f"{S}/s", json={**EVERY_MINUTE, "cron": cron, "zone": zone})
    assert says in check(answer, 422, "invalid_cron")
    assert node.submitted == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "`cron`"),
        ({"cron": "* * * * *"}, "`message`"),
        ({**EVERY_MINUTE, "colour": 1}, "`colour`"),
        ({**EVERY_MINUTE, "cron": "x" * 129}, "$.cron"),
        ({**EVERY_MINUTE, "cron": 1}, "$.cron"),
        ({**EVERY_MINUTE, "zone": "x" * 65}, "$.zone"),
        ({**EVERY_MINUTE, "zone": None}, "$.zone"),
        ({**EVERY_MINUTE, "message": {}}, "`body` - at `$.message`"),
        ({**EVERY_MINUTE, "message": 1}, "$.message"),
        ({**EVERY_MINUTE, "message": {"body": 1, "body_base64": ""}}, "either"),
        ({**EVERY_MINUTE, "message": {"body": 1, "dedup_id": "a"}}, "`dedup_id`"),
        ({**EVERY_MINUTE, "message": {"body": 1, "group": ""}}, "$.message.group"),
    ],
)
async def test_bodies_that_cannot_be(client: httpx.AsyncClient, body: dict[str, object], says: str) -> None:
    assert says in check(await client.put(f"{S}/s", json=body), 400, "invalid_body")


async def test_the_longest_texts(client: httpx.AsyncClient) -> None:
    cron = ("0," * 60)[:-1] + " * * * *"
    assert len(cron) == 127
    assert (await client.put(f"{S}/{'x' * 128}", json={**EVERY_MINUTE, "cron": cron + " "})).status_code == 201
    check(await client.put(f"{S}/s", json={**EVERY_MINUTE, "zone": "x" * 64}), 422, "invalid_cron")


async def test_fields_that_stand_twice(client: httpx.AsyncClient) -> None:
    for content in (
        b'{"cron": "* * * * *", "cron": "0 * * * *", "message": {"body": 1}}',
        b'{"cron": "* * * * *", "message": {"body": 1}, "message": {"body": 2}}',
    ):
        assert "twice" in check(await client.put(f"{S}/s", content=content, headers=JSON), 400, "invalid_body")


async def test_a_message_that_the_topic_does_not_take(client: httpx.AsyncClient) -> None:
    answer = await client.put(f"{S}/s", json={**EVERY_MINUTE, "message": {"body": 1, "priority": 1}})
    check(answer, 422, "invalid_message")


async def test_there_is_an_end_to_them(client: httpx.AsyncClient) -> None:
    for number in range(100):
        assert (await client.put(f"{S}/s{number}", json=EVERY_MINUTE)).status_code == 201
    check(await client.put(f"{S}/one-more", json=EVERY_MINUTE), 409, "too_many")
    assert (await client.put(f"{S}/s0", json=EVERY_MINUTE)).status_code == 200
    assert len((await client.get(S)).json()["items"]) == 100


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    check(await client.get("/v1/topics/nope/schedules"), 404, "topic_not_found")
    check(await client.get("/v1/topics/nope/schedules/s"), 404, "topic_not_found")
    check(await client.put("/v1/topics/nope/schedules/s", json=EVERY_MINUTE), 404, "topic_not_found")
    check(await client.delete("/v1/topics/nope/schedules/s"), 404, "topic_not_found")
    assert (await client.get(S)).json() == {"items": [], "next_cursor": None}
    for name in ("a b", "x" * 129, "a:b", "%2E", "%2E%2E"):
        check(await client.put(f"{S}/{name}", json=EVERY_MINUTE), 400, "invalid_name")
