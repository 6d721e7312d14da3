"""Receive: leases, keys, what a message comes with, and what becomes of a client that hangs up."""

from __future__ import annotations

import asyncio
import base64
import datetime
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.api import receive as receiving
from app.api.app import create_app
from app.broker import commands
from app.broker.commands import CreateTopic, NewMessage, Publish
from app.node.errors import NodeError, NoQuorum
from tests.api.asking import JSON, T, check, counts, publish, receive, settle, take
from tests.api.fake_node import FakeNode, settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic."""
    assert (await client.put(T)).status_code == 201
    yield client


async def test_a_message_comes_with_all_that_belongs_to_it(client: httpx.AsyncClient) -> None:
    (place,) = await publish(client, {"a": 1}, headers={"kind": "order"}, group="anna")
    (message,) = await receive(client, lease_s=60)
    assert list(message) == [
        "id", "sequence", "body", "headers", "group", "priority", "deliveries", "published_at", "token",
        "lease_expires_at",
    ]  # fmt: skip
    assert (message["id"], message["sequence"], message["body"]) == (place["id"], 1, {"a": 1})
    assert (message["headers"], message["group"], message["deliveries"]) == ({"kind": "order"}, "anna", 1)
    published, expires = (datetime.datetime.fromisoformat(message[f]) for f in ("published_at", "lease_expires_at"))
    assert datetime.timedelta(seconds=59) < expires - published < datetime.timedelta(seconds=90)
    assert expires.utcoffset() == datetime.timedelta(0)


async def test_a_leased_message_is_handed_out_again_when_its_lease_ends(
    client: httpx.AsyncClient, node: FakeNode
) -> None:
    await publish(client, 1, 2)
    (first,) = await receive(client, lease_s=1000)
    assert [message["body"] for message in await receive(client, max=5, lease_s=10_000)] == [2]
    node.pass_time(900)
    assert await receive(client) == []
    node.pass_time(101)
    (again,) = await receive(client)
    assert (again["id"], again["deliveries"]) == (first["id"], 2)
    assert again["token"] != first["token"]


async def test_the_lease_is_the_topics_where_nobody_says_another(client: httpx.AsyncClient, node: FakeNode) -> None:
    await client.patch(T, json={"lease_s": 5})
    await publish(client, 1)
    await receive(client)
    node.pass_time(6)
    assert len(await receive(client, lease_s=None)) == 1


async def test_with_auto_ack_there_is_no_lease(client: httpx.AsyncClient) -> None:
    await publish(client, 1, 2)
    for asked in ({}, {"lease_s": 5}):
        (message,) = await receive(client, auto_ack=True, **asked)
        assert message["token"] is None and message["lease_expires_at"] is None
        assert message["headers"] == {} and message["group"] is None and message["priority"] == 0
    assert await counts(client) == {"ready": 0, "leased": 0, "delayed": 0, "dead": 0}


async def receive_and_ack(client: httpx.AsyncClient, *tokens: str, **asked: Any) -> tuple[list[Any], list[str | None]]:
    """The bodies that a receive hands out, and the code of each token that it acks."""
    answer = await client.post(f"{T}/messages:receive", json={"ack": tokens, **asked})
    assert answer.status_code == 200, answer.text
    acked = answer.json()["acked"]
    assert [result["token"] for result in acked] == list(tokens)
    assert all(result["ok"] is (result["code"] is None) for result in acked)
    return [message["body"] for message in answer.json()["messages"]], [result["code"] for result in acked]


async def test_a_receive_acks_what_came_before(client: httpx.AsyncClient) -> None:
    await publish(client, 1, 2)
    (first,) = await receive(client)
    assert await receive_and_ack(client, first["token"]) == ([2], [None])
    assert await counts(client) == {"ready": 0, "leased": 1, "delayed": 0, "dead": 0}
    assert await receive_and_ack(client, first["token"]) == ([], [None]), "asked again, it is answered as before"


async def test_the_ack_is_before_the_receive(client: httpx.AsyncClient) -> None:
    """Of a group nothing is handed out while one of its messages is leased."""
    await publish(client, 1, 2, group="anna")
    (first,) = await receive(client, max=2)
    assert await receive_and_ack(client, first["token"]) == ([2], [None])


async def test_a_token_that_is_too_late_keeps_no_messages_back(client: httpx.AsyncClient, node: FakeNode) -> None:
    await publish(client, 1)
    (first,) = await receive(client, lease_s=1)
    node.pass_time(2)
    (again,) = await receive(client)
    await publish(client, 2)
    assert await receive_and_ack(client, first["token"], "b-9-9-9-9") == ([2], ["lease_lost", "bad_token"])
    assert await settle(client, "ack", again["token"]) == [None]


async def test_the_first_of_a_loop_has_nothing_to_ack(client: httpx.AsyncClient) -> None:
    await publish(client, 1)
    assert await receive_and_ack(client) == ([1], [])
    assert list((await client.post(f"{T}/messages:receive", json={})).json()) == ["messages"]


async def test_a_receive_that_waits_has_acked_meanwhile(client: httpx.AsyncClient) -> None:
    await publish(client, 1)
    (first,) = await receive(client)
    waiting = asyncio.create_task(receive_and_ack(client, first["token"], wait_s=5))
    async with asyncio.timeout(2):
        while (await counts(client))["leased"]:  # noqa: ASYNC110 # It is asked of a node.
            await asyncio.sleep(0.01)
    assert not waiting.done()
    await publish(client, 2)
    assert await waiting == ([2], [None])


@pytest.mark.parametrize("asked", [{}, {"wait_s": 20}, {"auto_ack": True}, {"auto_ack": True, "wait_s": 20}])
async def test_who_is_told_that_his_ack_failed_has_received_nothing(
    client: httpx.AsyncClient, node: FakeNode, asked: dict[str, Any]
) -> None:
    await publish(client, 1, 2)
    (first,) = await receive(client)
    node.fail, node.fails = NoQuorum("no leader that a majority follows"), commands.Ack
    check(await client.post(f"{T}/messages:receive", json={"ack": [first["token"]], **asked}), 503, "no_quorum")
    node.fail = None
    assert await counts(client) == {"ready": 1, "leased": 1, "delayed": 0, "dead": 0}


async def test_a_failed_ack_is_told_at_once(client: httpx.AsyncClient, node: FakeNode) -> None:
    """And not when the wait for messages is over."""
    await publish(client, 1)
    (first,) = await receive(client)
    node.fail, node.fails = NoQuorum("no leader that a majority follows"), commands.Ack
    async with asyncio.timeout(5):
        asked = {"ack": [first["token"]], "wait_s": 20}
        check(await client.post(f"{T}/messages:receive", json=asked), 503, "no_quorum")


async def test_with_a_key_a_retry_gets_what_was_leased_beside_a_failed_ack(
    client: httpx.AsyncClient, node: FakeNode
) -> None:
    await publish(client, 1, 2)
    (first,) = await receive(client)
    node.fail, node.fails = NoQuorum("no leader that a majority follows"), commands.Ack
    asked = {"ack": [first["token"]], "attempt_id": "second"}
    check(await client.post(f"{T}/messages:receive", json=asked), 503, "no_quorum")
    node.fail = None
    assert await receive_and_ack(client, first["token"], attempt_id="second") == ([2], [None])


async def test_both_are_on_their_way_before_anything_else_happens(client: httpx.AsyncClient, node: FakeNode) -> None:
    """So they share a round of the log, and are in it in this order."""
    await publish(client, 1, 2)
    (first,) = await receive(client)
    node.submitted, node.holds = 0, commands.Ack
    asking = asyncio.create_task(receive_and_ack(client, first["token"]))
    async with asyncio.timeout(5):
        while not node.submitted:  # noqa: ASYNC110 # It is the node that counts.
            await asyncio.sleep(0.01)
    node.holds = None
    assert await asking == ([2], [None])


async def test_a_retry_of_what_is_done_does_not_wait(client: httpx.AsyncClient) -> None:
    """Under its key nothing will ever come: it must not stand in line, and take the turns of others."""
    await publish(client, 1)
    (first,) = await receive(client, attempt_id="k", wait_s=20)
    assert await settle(client, "ack", first["token"]) == [None]
    async with asyncio.timeout(5):
        assert await receive(client, attempt_id="k", wait_s=20) == []
        assert await receive(client, attempt_id="none") == []
        assert await receive(client, attempt_id="none", wait_s=20) == []


@pytest.mark.parametrize(
    ("ack", "told"), [("b-1-0-1-1", "ack"), (["x" * 129], "ack[0]"), ([1], "ack[0]"), (["x"] * 1001, "1000")]
)
async def test_what_is_no_list_of_tokens_is_refused(client: httpx.AsyncClient, ack: Any, told: str) -> None:
    await publish(client, 1)
    assert told in check(await client.post(f"{T}/messages:receive", json={"ack": ack}), 400, "invalid_body")
    assert (await counts(client))["ready"] == 1


async def test_bytes_come_in_base64(client: httpx.AsyncClient) -> None:
    await client.post(f"{T}/messages", content=b"\x00\xff", headers={"content-type": "application/octet-stream"})
    (message,) = await receive(client)
    assert base64.b64decode(message["body_base64"]) == b"\x00\xff"
    assert "body" not in message


async def test_a_dead_letter_says_where_it_comes_from(client: httpx.AsyncClient) -> None:
    await client.put("/v1/topics/dead")
    await client.patch(T, json={"max_deliveries": 1, "dead_letter_topic": "dead"})
    await publish(client, 1)
    (message,) = await receive(client)
    assert "dead_letter" not in message
    assert await settle(client, "nack", message["token"]) == [None]
    (dead,) = await receive(client, topic="/v1/topics/dead")
    at = dead["dead_letter"].pop("at")
    assert datetime.datetime.fromisoformat(at).tzinfo is not None
    assert dead["dead_letter"] == {"topic": "t", "subscription": "default", "sequence": 1, "deliveries": 1}
    assert dead["id"] == message["id"]


async def test_in_order_up_to_max(client: httpx.AsyncClient) -> None:
    await publish(client, *range(5))
    assert await take(client) == [0]
    assert await take(client, max=3) == [1, 2, 3]
    assert await take(client, max=1000) == [4]
    assert await take(client) == []


async def test_each_subscription_gets_its_own(client: httpx.AsyncClient) -> None:
    await client.put(f"{T}/subscriptions/mails")
    await publish(client, 1)
    assert await take(client, subscription="mails") == [1]
    assert await take(client) == [1]
    answer = await client.post(f"{T}/messages:receive", json={"subscription": "nope", "wait_s": 20})
    check(answer, 404, "subscription_not_found")


class TestKeys:
    async def test_with_a_key_the_same_again(self, client: httpx.AsyncClient) -> None:
        await publish(client, 1, 2)
        for how in ({"json": {"attempt_id": "r"}}, {"json": {}, "headers": {"idempotency-key": "r"}}):
            answers = [await client.post(f"{T}/messages:receive", **how) for _ in range(2)]
            assert answers[0].content == answers[1].content
            assert [message["body"] for message in answers[0].json()["messages"]] == [1]
        assert await take(client, max=5) == [2]

    async def test_the_bodys_key_goes_before_the_headers(self, client: httpx.AsyncClient) -> None:
        await publish(client, 1, 2)
        for key in ("a", "b"):
            answer = await client.post(
                f"{T}/messages:receive", json={"attempt_id": "r"}, headers={"idempotency-key": key}
            )
            assert [message["body"] for message in answer.json()["messages"]] == [1]

    async def test_a_key_used_for_another_question_is_refused(self, client: httpx.AsyncClient) -> None:
        await receive(client, attempt_id="r")
        for other in ({"max": 2}, {"auto_ack": True}, {"lease_s": 7}):
            answer = await client.post(f"{T}/messages:receive", json={"attempt_id": "r", **other})
            check(answer, 422, "key_reused")

    @pytest.mark.parametrize("wait_s", [0, 0.01])
    async def test_with_a_key_none_again(self, client: httpx.AsyncClient, wait_s: float) -> None:
        """What a late first try took would be lost: its retry was told that there was nothing."""
        for _ in range(2):
            assert await receive(client, attempt_id="r", wait_s=wait_s) == []
            await publish(client, 1)
        assert len(await receive(client, max=5)) == 2

    async def test_a_key_waits_for_the_message_that_comes(self, client: httpx.AsyncClient) -> None:
        waiting = asyncio.ensure_future(receive(client, wait_s=5, attempt_id="r"))
        await asyncio.sleep(0.05)
        await publish(client, 1)
        assert [message["body"] for message in await waiting] == [1]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"max": 0}, "Expected a number >= 1 - at `$.max`."),
        ({"max": 1001}, "Expected a number <= 1000 - at `$.max`."),
        ({"max": 1.5}, "Expected a whole number - at `$.max`."),
        ({"max": "3"}, "Expected a number, got `str` - at `$.max`."),
        ({"max": True}, "Expected a number, got `bool` - at `$.max`."),
        ({"max": None}, "Expected a number, got `null` - at `$.max`."),
        ({"max": 10**400}, "range"),
        ({"wait_s": 20.001}, "Expected a number <= 20 - at `$.wait_s`."),
        ({"wait_s": -0.001}, "Expected a number >= 0 - at `$.wait_s`."),
        ({"lease_s": 0.0009}, "`$.lease_s`"),
        ({"lease_s": 43200.001}, "Expected a number <= 43200 - at `$.lease_s`."),
        ({"lease_s": "1"}, "Expected a number or null, got `str` - at `$.lease_s`."),
        ({"auto_ack": 1}, "`$.auto_ack`"),
        ({"subscription": ""}, "1 to 128 characters"),
        ({"subscription": "a b"}, "Expected a name of 1 to 128 characters of A-Z"),
        ({"subscription": "x" * 129}, "- at `$.subscription`."),
        ({"subscription": "a\n"}, "- at `$.subscription`."),
        ({"attempt_id": ""}, "Expected 1 to 256 visible ASCII characters - at `$.attempt_id`."),
        ({"attempt_id": "x" * 257}, "- at `$.attempt_id`."),
        ({"attempt_id": "\u00e9"}, "- at `$.attempt_id`."),
        ({"`float` >= 1.0": 1}, "Object contains unknown field ``float` >= 1.0`."),
        ({"token": "x"}, "Object contains unknown field `token`."),
    ],
)
async def test_a_wrong_question_is_told_what_is_wrong(
    client: httpx.AsyncClient, node: FakeNode, asked: dict[str, object], says: str
) -> None:
    before = node.submitted
    answer = await client.post(f"{T}/messages:receive", json=asked)
    assert says in check(answer, 400, "invalid_body")
    assert node.submitted == before


@pytest.mark.parametrize(
    "asked",
    [
        {"max": 1}, {"max": 1000}, {"max": 5.0}, {"wait_s": 0}, {"lease_s": 0.001}, {"lease_s": 43200},
        {"lease_s": 43199.999}, {"attempt_id": "x" * 256}, {"attempt_id": "!~"}, {"attempt_id": None},
    ],
)  # fmt: skip
async def test_what_can_be_asked_at_the_limits(client: httpx.AsyncClient, asked: dict[str, object]) -> None:
    assert await receive(client, **asked) == []


async def test_the_longest_wait_may_be_asked(client: httpx.AsyncClient, node: FakeNode) -> None:
    node.stopping.set()
    assert await receive(client, wait_s=20) == []


async def test_a_field_twice_is_refused(client: httpx.AsyncClient) -> None:
    for content in (b'{"max": 1, "max": 2}', b'{"auto_ack": true, "auto_ack": false}'):
        assert "twice" in check(
            await client.post(f"{T}/messages:receive", content=content, headers=JSON), 400, "invalid_body"
        )


async def test_an_unknown_topic_is_404_at_once(client: httpx.AsyncClient) -> None:
    for asked in ({"wait_s": 20}, {}, {"auto_ack": True}):
        check(await client.post("/v1/topics/nope/messages:receive", json=asked), 404, "topic_not_found")


async def test_what_is_in_the_way_is_cleared_before_the_answer(client: httpx.AsyncClient, node: FakeNode) -> None:
    """More messages are over than one command clears away."""
    for _ in range(3):
        await publish(client, *[0] * 1000, ttl_s=1)
    await publish(client, "last")
    node.ahead_ms += 2000
    before = node.submitted
    assert (await client.get("/message/t")).json() == {"success": True, "message": "last"}
    assert node.submitted > before + 1


class Caller:
    """One request over ASGI whose client can hang up."""

    def __init__(self, node: FakeNode, body: bytes) -> None:
        self.answered: list[Any] = []
        self.gone = asyncio.Event()
        self._body: bytes | None = body
        scope = {
            "type": "http", "method": "POST", "path": f"{T}/messages:receive", "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }  # fmt: skip
        application = create_app(node, settings())  # type: ignore[arg-type]
        self.task = asyncio.ensure_future(application(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.answered.append(message)


class TestHangingUp:
    @pytest.fixture
    def held(self, node: FakeNode) -> FakeNode:
        """With a topic of one message, and answers that are late by the time of `release`."""
        node.apply(commands.encode(CreateTopic("t")))
        node.apply(commands.encode(Publish("t", [NewMessage(b"1")])))
        return node

    async def late(
        self, node: FakeNode, body: bytes, monkeypatch: pytest.MonkeyPatch, then: NodeError | None = None
    ) -> Caller:
        """A caller that has hung up when its answer comes. `then`: what befalls all later operations."""
        monkeypatch.setattr(receiving, "SLOW_S", -1.0)
        committed, release = asyncio.Event(), asyncio.Event()

        async def submit(command: bytes, **options: Any) -> bytes:
            answer = await FakeNode.submit(node, command, **options)
            if not committed.is_set():
                node.fail = then
                committed.set()
                await release.wait()
            return answer

        node.submit = submit  # type: ignore[method-assign]
        caller = Caller(node, body)
        await committed.wait()
        caller.gone.set()
        await asyncio.sleep(0)
        release.set()
        await caller.task
        return caller

    def standing(self, node: FakeNode) -> tuple[int, int]:
        info = node.machine.topic("t")
        assert info is not None
        return info.subscriptions[0].ready, info.subscriptions[0].leased

    @pytest.mark.parametrize("body", [b"{}", b'{"wait_s": 5}'])
    async def test_what_nobody_will_see_is_given_back(
        self, held: FakeNode, body: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caller = await self.late(held, body, monkeypatch)
        assert caller.answered == []
        assert self.standing(held) == (1, 0)

    @pytest.mark.parametrize("body", [b'{"attempt_id": "r"}', b'{"wait_s": 5, "attempt_id": "r"}'])
    async def test_who_has_a_key_comes_back_for_it(
        self, held: FakeNode, body: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await self.late(held, body, monkeypatch)
        assert self.standing(held) == (0, 1)

    async def test_where_that_is_not_possible_the_lease_runs_out(
        self, held: FakeNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caller = await self.late(held, b"{}", monkeypatch, NoQuorum())
        assert caller.answered == []
        assert self.standing(held) == (0, 1)

    async def test_a_client_that_waits_for_a_slow_answer_gets_it(
        self, held: FakeNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(receiving, "SLOW_S", -1.0)
        caller = Caller(held, b"{}")
        await caller.task
        assert caller.answered[0]["status"] == 200
        assert self.standing(held) == (0, 1)
