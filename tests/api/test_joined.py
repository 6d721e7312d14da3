"""Single publishes of many clients in one command: each has an outcome of its own, and nobody notices the others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from app.api import joined
from app.api.app import create_app
from app.api.joined import Joined
from app.broker import commands
from app.broker.commands import MESSAGES_MAX
from app.node.errors import OutcomeUnknown
from tests.api.asking import JSON, T, check, receive, take
from tests.api.conftest import Live
from tests.api.fake_node import FakeNode, settings
from tests.api.talking import talk

pytestmark = pytest.mark.anyio


class Sent:
    """What has left. Each part comes back in capitals; `refused` ones as an error, all where it `fails`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[str]]] = []
        self.refused: set[str] = set()
        self.fails: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.joined = Joined[str, str, str](self._send)

    async def _send(self, lane: str, parts: Sequence[str]) -> list[str | Exception]:
        self.sent.append((lane, list(parts)))
        await self.go_on.wait()
        if self.fails is not None:
            raise self.fails
        return [ValueError(part) if part in self.refused else part.upper() for part in parts]

    def ask(self, lane: str, *parts: str, size_bytes: int = 1) -> list[asyncio.Task[str]]:
        return [asyncio.ensure_future(self.joined.ask(lane, part, size_bytes)) for part in parts]


async def test_what_comes_in_one_turn_leaves_together_in_its_order() -> None:
    sent = Sent()
    assert await asyncio.gather(*sent.ask("x", "a", "b"), *sent.ask("y", "c"), *sent.ask("x", "d")) == list("ABCD")
    assert sent.sent == [("x", ["a", "b", "d"]), ("y", ["c"])]
    assert await asyncio.gather(*sent.ask("x", "e")) == ["E"]
    assert sent.sent[2:] == [("x", ["e"])]


async def test_nobody_waits_for_those_before() -> None:
    sent = Sent()
    sent.go_on.clear()
    first = sent.ask("x", "a")
    await asyncio.sleep(0.01)
    second = sent.ask("x", "b")
    await asyncio.sleep(0.01)
    assert sent.sent == [("x", ["a"]), ("x", ["b"])]
    sent.go_on.set()
    assert await asyncio.gather(*first, *second) == ["A", "B"]


async def test_each_has_its_own_outcome() -> None:
    sent = Sent()
    sent.refused = {"b"}
    outcomes = await asyncio.gather(*sent.ask("x", "a", "b", "c"), return_exceptions=True)
    assert (outcomes[0], repr(outcomes[1]), outcomes[2]) == ("A", "ValueError('b')", "C")


async def test_what_fails_fails_for_all() -> None:
    sent = Sent()
    sent.fails = OutcomeUnknown("nobody knows")
    outcomes = await asyncio.gather(*sent.ask("x", "a", "b"), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["nobody knows"] * 2


async def test_who_goes_before_it_leaves_has_done_nothing_and_takes_nobody_along() -> None:
    sent = Sent()
    first, second = sent.ask("x", "a", "b")
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "B"
    assert sent.sent == [("x", ["b"])]
    sent.go_on.clear()
    third, fourth = sent.ask("x", "c", "d")
    await asyncio.sleep(0.01)
    third.cancel()
    sent.go_on.set()
    assert await fourth == "D"
    assert third.cancelled() and sent.sent[1:] == [("x", ["c", "d"])]
    (alone,) = sent.ask("x", "e")
    await asyncio.sleep(0)
    alone.cancel()
    await asyncio.sleep(0.01)
    assert len(sent.sent) == 2


async def test_a_command_has_its_limits() -> None:
    sent = Sent()
    many = [str(n) for n in range(MESSAGES_MAX + 1)]
    assert await asyncio.gather(*sent.ask("x", *many)) == many
    assert [len(parts) for _, parts in sent.sent] == [MESSAGES_MAX, 1]
    sent = Sent()
    large = sent.ask("x", "a", "b", "c", size_bytes=joined.BYTES // 2)
    huge = sent.ask("x", "d", size_bytes=joined.BYTES + 1)
    assert await asyncio.gather(*large, *huge, *sent.ask("x", "e")) == list("ABCDE")
    assert [parts for _, parts in sent.sent] == [["a", "b"], ["c"], ["d"], ["e"]]


# -- the routes ---------------------------------------------------------------------------------------------


@pytest.fixture
async def topic(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a node with one topic."""
    assert (await client.put(T)).status_code == 201
    yield client


async def ask(client: httpx.AsyncClient, *messages: dict[str, Any], **headers: str) -> list[httpx.Response]:
    """Publish each with a request of its own, all at once."""
    return await asyncio.gather(
        *(client.post(f"{T}/messages", json=message, headers={**JSON, **headers}) for message in messages)
    )


async def test_publishes_at_once_are_few_commands_and_all_are_there(topic: httpx.AsyncClient, node: FakeNode) -> None:
    before = node.submitted
    answers = await ask(topic, *({"body": n} for n in range(50)))
    assert node.submitted - before < 10
    places = [answer.json()["messages"][0] for answer in answers]
    assert sorted(place["sequence"] for place in places) == list(range(1, 51))
    assert len({place["id"] for place in places}) == 50
    found = await receive(topic, max=100, auto_ack=True)
    said = {place["sequence"]: (n, place["id"]) for n, place in enumerate(places)}
    assert {message["sequence"]: (message["body"], message["id"]) for message in found} == said


async def test_classic_publishes_too(topic: httpx.AsyncClient, node: FakeNode) -> None:
    before = node.submitted
    bodies = [{"topic": "t", "message": str(n)} for n in range(20)]
    answers = await asyncio.gather(*(topic.put("/message", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200} and node.submitted - before < 10
    assert sorted(map(int, await take(topic, max=100))) == list(range(20))


async def test_what_is_refused_is_refused_alone(topic: httpx.AsyncClient) -> None:
    messages = [{"body": 1}, {"body": 2, "priority": 5}, {"body": 3, "group": "g", "delay_s": 5}, {"body": 4}]
    answers = await ask(topic, *messages)
    assert [answer.status_code for answer in answers] == [201, 422, 422, 201]
    assert "priorities" in check(answers[1], 422, "invalid_message")
    assert "group" in check(answers[2], 422, "invalid_message")
    assert sorted(await take(topic, max=10)) == [1, 4]


async def test_a_full_topic_takes_as_many_as_there_is_room_for(topic: httpx.AsyncClient) -> None:
    assert (await topic.patch(T, json={"max_messages": 3})).status_code == 200
    answers = await ask(topic, *({"body": n} for n in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 3, 429: 5}
    refused = next(answer for answer in answers if answer.status_code == 429)
    check(refused, 429, "topic_full")
    assert refused.headers["retry-after"] == "1"
    stored = {n for n, answer in enumerate(answers) if answer.status_code == 201}
    assert set(await take(topic, max=10)) == stored


async def test_a_topic_that_is_not_there_is_so_for_each(client: httpx.AsyncClient) -> None:
    for answer in await ask(client, {"body": 1}, {"body": 2}):
        check(answer, 404, "topic_not_found")


async def test_what_may_be_repeated_is_not_with_what_may_not(topic: httpx.AsyncClient, node: FakeNode) -> None:
    node.lost = 1  # Of the first command the answer is lost: that of the plain ones, which nobody repeats.
    answers = await ask(topic, {"body": 1}, {"body": 2, "dedup_id": "a"}, {"body": 3}, {"body": 4, "dedup_id": "b"})
    assert [answer.status_code for answer in answers] == [504, 201, 504, 201]
    assert check(answers[0], 504, "outcome_unknown")
    node.lost = 2
    first, second = await ask(topic, {"body": 5}, {"body": 2, "dedup_id": "a"})
    assert (first.status_code, second.json()["messages"][0]["duplicate"]) == (504, True)
    assert sorted(await take(topic, max=10)) == [1, 2, 3, 4, 5]


async def test_keys_too_are_few_commands_and_each_is_answered_again(topic: httpx.AsyncClient, node: FakeNode) -> None:
    async def ask_all() -> list[dict[str, Any]]:
        asked = (ask(topic, {"body": n}, **{"idempotency-key": f"k{n}"}) for n in range(30))
        return [answer.json()["messages"][0] for (answer,) in await asyncio.gather(*asked)]

    before = node.submitted
    first = await ask_all()
    assert node.submitted - before < 10
    assert sorted(place["sequence"] for place in first) == list(range(1, 31))
    assert await ask_all() == [{**place, "duplicate": True} for place in first]
    (alone,) = await ask(topic, {"body": 3}, **{"idempotency-key": "k3"})
    assert alone.json()["messages"] == [{**first[3], "duplicate": True}]


async def test_a_key_used_for_something_else_is_refused_alone(topic: httpx.AsyncClient) -> None:
    await ask(topic, {"body": 1}, **{"idempotency-key": "k"})
    (other,), (new,), (same,), (twice,) = await asyncio.gather(
        ask(topic, {"body": 2}, **{"idempotency-key": "k"}), ask(topic, {"body": 3}, **{"idempotency-key": "l"}),
        ask(topic, {"body": 1}, **{"idempotency-key": "k"}), ask(topic, {"body": 3}, **{"idempotency-key": "l"}),
    )  # fmt: skip
    assert "'k'" in check(other, 422, "key_reused")
    assert same.json()["messages"][0]["duplicate"] is True
    places = [answer.json()["messages"][0] for answer in (new, twice)]
    assert places[0]["id"] == places[1]["id"] and [place["duplicate"] for place in places] == [False, True]
    assert await take(topic, max=10) == [1, 3]


async def test_with_keys_a_lost_answer_is_asked_for_again(topic: httpx.AsyncClient, node: FakeNode) -> None:
    node.lost = 1
    asked = (ask(topic, {"body": n}, **{"idempotency-key": f"k{n}"}) for n in range(5))
    answers = [answer for (answer,) in await asyncio.gather(*asked)]
    assert {answer.status_code for answer in answers} == {201}
    assert sorted(await take(topic, max=10)) == list(range(5))


async def test_publishes_to_several_topics_too(topic: httpx.AsyncClient, node: FakeNode) -> None:
    assert (await topic.put("/v1/topics/u", json={"max_messages": 2})).status_code == 201
    keys = [None, "k", None, "l"]

    async def ask_one(n: int) -> httpx.Response:
        name, key = ("t", "u", "no")[n % 3], keys[n % 4]
        headers = {} if key is None else {"idempotency-key": f"{key}{n}"}
        return await topic.post(f"/v1/topics/{name}/messages", json={"body": n}, headers=headers)

    before = node.submitted
    answers = await asyncio.gather(*map(ask_one, range(24)))
    assert node.submitted - before < 10
    for n, answer in enumerate(answers):
        if n % 3 == 2:
            check(answer, 404, "topic_not_found")
    assert Counter(answer.status_code for answer in answers[1::3]) == {201: 2, 429: 6}
    assert sorted(await take(topic, max=100)) == list(range(0, 24, 3))
    found = await receive(topic, topic="/v1/topics/u", max=10, auto_ack=True)
    assert {message["body"] for message in found} == {n for n in range(1, 24, 3) if answers[n].status_code == 201}
    said = {n: answers[n].json()["messages"][0]["id"] for n in range(1, 24, 3) if answers[n].status_code == 201}
    assert {message["body"]: message["id"] for message in found} == said


async def test_what_cannot_be_a_command_is_refused_alone(node: FakeNode) -> None:
    """A topic of the classic route is as long as a body may be."""
    transport = httpx.ASGITransport(create_app(node, settings(body_limit_bytes=64 << 20)))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.put(T)).status_code == 201
        topics = ["t"] * 5 + ["y" * 33_600_000, "t" * 129, ""]
        asked = (client.put("/message", json={"topic": topic, "message": "x"}) for topic in topics)
        answers = await asyncio.gather(*asked)
        assert [answer.status_code for answer in answers] == [200] * 5 + [404] * 3
        large = [{"body": n, "headers": {f"h{i}": "é" * 1000 for i in range(30)}} for n in range(40)]
        assert {answer.status_code for answer in await ask(client, *large)} == {201}
        assert len(await receive(client, max=100, auto_ack=True)) == 45


async def test_what_is_refused_as_a_whole_is_refused_for_each(
    topic: httpx.AsyncClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "COMMAND_BYTES_MAX", 10)
    plain, keyed = await asyncio.gather(
        ask(topic, {"body": 1}, {"body": 2}), ask(topic, {"body": 3}, **{"idempotency-key": "k"})
    )
    for answer in (*plain, *keyed):
        assert "10 bytes" in check(answer, 400, "bad_command")


async def test_sessions_too(live: Live) -> None:
    async def hold_up() -> None:
        time.sleep(0.3)  # noqa: ASYNC251 # The server's loop: what comes meanwhile comes in one turn.

    async with contextlib.AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(talk(live.url)) for _ in range(12)]
        async with httpx.AsyncClient(base_url=live.url) as client:
            assert (await client.put("/v1/topics/joined")).status_code == 201
            before = live.node.submitted
            held = asyncio.ensure_future(asyncio.to_thread(live.run, hold_up))
            await asyncio.sleep(0.05)
            topics = ["joined"] * 10 + ["no"] * 2
            for n, session in enumerate(sessions):
                await session.say("publish", n, topic=topics[n], body=n)
            answers = [await session.answer() for session in sessions]
            await held
            assert live.node.submitted - before < 10
            assert [answer["id"] for answer in answers] == list(range(12))
            assert [answer.get("code") for answer in answers] == [None] * 10 + ["topic_not_found"] * 2
            found = await receive(client, topic="/v1/topics/joined", max=20, auto_ack=True)
            said = {n: answers[n]["messages"][0]["id"] for n in range(10)}
            assert {message["body"]: message["id"] for message in found} == said
