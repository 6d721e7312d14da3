"""Ack, nack, extend: each token has its own result."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from app.node.errors import OutcomeUnknown
from tests.api.asking import JSON, T, check, counts, publish, receive, settle
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic."""
    assert (await client.put(T)).status_code == 201
    yield client


async def tokens(client: httpx.AsyncClient, number: int, **asked: object) -> list[str]:
    """Of new messages."""
    await publish(client, *range(number))
    return [str(message["token"]) for message in await receive(client, max=number, **asked)]


async def test_an_acked_message_is_done(client: httpx.AsyncClient, node: FakeNode) -> None:
    (token,) = await tokens(client, 1)
    assert await settle(client, "ack", token) == [None]
    node.pass_time(100)
    assert await receive(client) == []
    assert (await client.get(T)).json()["messages"] == 0


async def test_results_come_in_the_order_of_the_tokens(client: httpx.AsyncClient, node: FakeNode) -> None:
    old = await tokens(client, 1, lease_s=1)
    node.pass_time(2)
    fresh = await tokens(client, 2)
    asked = [fresh[1], "nonsense", old[0], fresh[0], fresh[0]]
    assert await settle(client, "ack", *asked) == [None, "bad_token", "lease_lost", None, None]
    answer = await client.post(f"{T}/messages:ack", json={"tokens": ["", fresh[0]]})
    assert answer.json() == {
        "results": [
            {"token": "", "ok": False, "code": "bad_token"},
            {"token": fresh[0], "ok": True, "code": None},
        ]
    }


@pytest.mark.parametrize("how", ["ack", "nack"])
async def test_a_repeated_one_succeeds_again(client: httpx.AsyncClient, how: str) -> None:
    (token,) = await tokens(client, 1)
    assert [await settle(client, how, token) for _ in range(2)] == [[None], [None]]


async def test_a_nacked_message_comes_again_at_once_or_later(client: httpx.AsyncClient, node: FakeNode) -> None:
    first, second = await tokens(client, 2)
    assert await settle(client, "nack", first) == [None]
    assert await settle(client, "nack", second, delay_s=10) == [None]
    assert await counts(client) == {"ready": 1, "leased": 0, "delayed": 1, "dead": 0}
    (again,) = await receive(client, max=5)
    assert (again["body"], again["deliveries"]) == (0, 2)
    assert await settle(client, "ack", first) == ["lease_lost"]
    node.pass_time(11)
    assert [message["body"] for message in await receive(client, max=5)] == [1]


async def test_an_extended_lease_ends_later(client: httpx.AsyncClient, node: FakeNode) -> None:
    short, long = await tokens(client, 2, lease_s=10)
    assert await settle(client, "extend", long, lease_s=100) == [None]
    node.pass_time(50)
    assert await settle(client, "extend", short, long, lease_s=100) == ["lease_lost", None]
    assert await settle(client, "ack", long) == [None]


async def test_after_a_purge_every_token_is_lost(client: httpx.AsyncClient) -> None:
    (token,) = await tokens(client, 1)
    await client.post(f"{T}:purge")
    for how, more in (("ack", {}), ("nack", {}), ("extend", {"lease_s": 1})):
        assert await settle(client, how, token, **more) == ["lease_lost"]


async def test_the_node_itself_asks_again_when_the_outcome_is_unknown(
    client: httpx.AsyncClient, node: FakeNode
) -> None:
    for how, more in (("extend", {"lease_s": 9}), ("nack", {}), ("ack", {})):
        (token,) = await tokens(client, 1)
        node.lost = 1
        assert await settle(client, how, token, **more) == [None]
        await client.post(f"{T}:purge")


async def test_who_gets_no_answer_is_told_so(client: httpx.AsyncClient, node: FakeNode) -> None:
    (token,) = await tokens(client, 1)
    with node.failing(OutcomeUnknown()):
        check(await client.post(f"{T}/messages:ack", json={"tokens": [token]}), 504, "outcome_unknown")


@pytest.mark.parametrize("how", ["ack", "nack", "extend"])
async def test_how_many_tokens_and_how_long(client: httpx.AsyncClient, node: FakeNode, how: str) -> None:
    more = {"lease_s": 5} if how == "extend" else {}
    for asked in (["x"], ["x"] * 1000, ["x" * 128]):
        assert set(await settle(client, how, *asked, **more)) == {"bad_token"}
    before = node.submitted
    for wrong in ([], ["x"] * 1001, ["x" * 129], [1], None, "x", [None]):
        answer = await client.post(f"{T}/messages:{how}", json={"tokens": wrong, **more})
        assert "$.tokens" in check(answer, 400, "invalid_body")
    assert "`tokens`" in check(await client.post(f"{T}/messages:{how}", json=more), 400, "invalid_body")
    answer = await client.post(f"{T}/messages:{how}", json={"tokens": ["x"], "colour": 1, **more})
    assert "`colour`" in check(answer, 400, "invalid_body")
    assert node.submitted == before


@pytest.mark.parametrize(
    ("how", "field", "takes", "refuses"),
    [
        ("nack", "delay_s", [0, 0.001, 43200], [-0.001, 43200.001, "1", None]),
        ("extend", "lease_s", [0.001, 43200], [0, 0.0009, 43200.001, "1", None]),
    ],
)
async def test_how_much_time(
    client: httpx.AsyncClient, how: str, field: str, takes: list[object], refuses: list[object]
) -> None:
    for value in takes:
        assert await settle(client, how, "x", **{field: value}) == ["bad_token"]
    for value in refuses:
        answer = await client.post(f"{T}/messages:{how}", json={"tokens": ["x"], field: value})
        assert f"$.{field}" in check(answer, 400, "invalid_body")


async def test_fields_of_another_are_refused(client: httpx.AsyncClient) -> None:
    for how, field in (("ack", "delay_s"), ("ack", "lease_s"), ("nack", "lease_s"), ("extend", "delay_s")):
        answer = await client.post(f"{T}/messages:{how}", json={"tokens": ["x"], "lease_s": 1, field: 1})
        check(answer, 400, "invalid_body")
    check(await client.post(f"{T}/messages:extend", json={"tokens": ["x"]}), 400, "invalid_body")


async def test_what_is_not_there_or_no_json(client: httpx.AsyncClient) -> None:
    for how in ("ack", "nack", "extend"):
        body = {"tokens": ["x"], **({"lease_s": 1} if how == "extend" else {})}
        check(await client.post(f"/v1/topics/nope/messages:{how}", json=body), 404, "topic_not_found")
        check(await client.post(f"/v1/topics/a%20b/messages:{how}", json=body), 400, "invalid_topic")
        check(await client.post(f"{T}/messages:{how}", content=b"{}"), 415, "unsupported_media_type")
        check(await client.post(f"{T}/messages:{how}", content=b"", headers=JSON), 400, "malformed_json")
        check(await client.post(f"{T}/messages:{how}?x=1", json=body), 400, "invalid_parameter")
