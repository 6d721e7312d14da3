"""Receives and acks of many clients in one command: nobody notices the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from app.api.joined import Joined
from tests.api.asking import JSON, T, check, counts, publish, receive
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio


@pytest.fixture
async def topic(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a node with one topic."""
    assert (await client.put(T)).status_code == 201
    yield client


async def test_what_is_ahead_leaves_before_though_it_came_later() -> None:
    sent: list[str] = []

    async def send(lane: str, parts: Sequence[str]) -> list[str | Exception]:
        sent.append(lane)
        return list(parts)

    first = Joined[str, str, str](send)
    second = Joined[str, str, str](send, ahead=(first,))
    await asyncio.gather(second.ask("second", "a", 1), first.ask("first", "b", 1))
    assert sent == ["first", "second"]
    await asyncio.gather(first.ask("first", "b", 1), second.ask("second", "a", 1))
    assert sent == ["first", "second"] * 2


async def test_many_at_once_are_few_commands_and_each_has_its_own(topic: httpx.AsyncClient, node: FakeNode) -> None:
    await publish(topic, *range(40))
    before = node.submitted
    received = await asyncio.gather(*(receive(topic) for _ in range(30)))
    assert node.submitted - before < 10
    assert sorted(message["body"] for (message,) in received) == list(range(30))
    tokens = [message["token"] for (message,) in received]
    asked = [{"tokens": [token]} for token in [*tokens, "x"]]
    answers = await asyncio.gather(*(topic.post(f"{T}/messages:ack", json=each) for each in asked))
    assert node.submitted - before < 20
    results = [answer.json()["results"] for answer in answers]
    assert results[:-1] == [[{"token": token, "ok": True, "code": None}] for token in tokens]
    assert results[-1] == [{"token": "x", "ok": False, "code": "bad_token"}]
    assert await counts(topic) == {"ready": 10, "leased": 0, "delayed": 0, "dead": 0}


async def test_what_is_refused_is_refused_alone(topic: httpx.AsyncClient) -> None:
    await publish(topic, 1, 2)
    paths = [T, "/v1/topics/no", T]
    answers = await asyncio.gather(*(topic.post(f"{path}/messages:receive", json={}) for path in paths))
    check(answers[1], 404, "topic_not_found")
    assert sorted(answers[n].json()["messages"][0]["body"] for n in (0, 2)) == [1, 2]


async def test_who_acks_and_asks_gets_what_his_ack_sets_free(topic: httpx.AsyncClient) -> None:
    """Also where somebody else's receive of that turn came before."""
    await publish(topic, 1, 2, group="g")
    assert (await topic.put("/v1/topics/other")).status_code == 201
    (first,) = await receive(topic)
    other, answer = await asyncio.gather(
        topic.post("/v1/topics/other/messages:receive", json={}),
        topic.post(f"{T}/messages:receive", json={"ack": [first["token"]]}),
    )
    assert other.json() == {"messages": []}
    assert [message["body"] for message in answer.json()["messages"]] == [2]
    assert answer.json()["acked"][0]["ok"] is True


async def test_receives_with_keys_are_answered_again(topic: httpx.AsyncClient, node: FakeNode) -> None:
    await publish(topic, *range(20))

    async def ask_all() -> list[object]:
        asked = ({**JSON, "idempotency-key": f"k{n}"} for n in range(20))
        answers = [topic.post(f"{T}/messages:receive", json={}, headers=headers) for headers in asked]
        return [answer.json() for answer in await asyncio.gather(*answers)]

    before = node.submitted
    first = await ask_all()
    assert node.submitted - before < 10
    assert await ask_all() == first


async def test_one_whose_answer_is_lost_is_not_asked_again_unless_it_has_a_key(
    topic: httpx.AsyncClient, node: FakeNode
) -> None:
    await publish(topic, *range(4))
    node.lost = 2  # Of both commands: only the one with keys may be sent again.
    headers = [{}, {"idempotency-key": "a"}, {}, {"idempotency-key": "b"}]
    answers = await asyncio.gather(*(topic.post(f"{T}/messages:receive", json={}, headers=each) for each in headers))
    assert [answer.status_code for answer in answers] == [504, 200, 504, 200]
    assert len({answers[n].json()["messages"][0]["body"] for n in (1, 3)}) == 2
