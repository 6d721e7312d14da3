"""The classic routes, to the byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from app.api.app import create_app
from app.node.errors import DiskFull, NodeError, NoQuorum, NotCommitted, OutcomeUnknown, Overloaded, ShuttingDown
from tests.api.fake_node import FakeNode, settings

pytestmark = pytest.mark.anyio

DONE, FAILED = b'{"success": true}', b'{"success": false}'


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic."""
    assert (await client.put("/topic", json={"topic": "t"})).content == DONE
    yield client


async def publish(client: httpx.AsyncClient, message: str, **headers: str) -> httpx.Response:
    return await client.put("/message", json={"topic": "t", "message": message}, headers=headers)


async def test_create_list_publish_consume(client: httpx.AsyncClient) -> None:
    answer = await client.put("/topic", json={"topic": "T.2_-"})
    assert (answer.status_code, answer.content) == (200, DONE)
    answer = await client.get("/topic")
    assert (answer.status_code, answer.content) == (200, b'{"success": true, "topics": ["t", "T.2_-"]}')
    for message in ("one", "", "one", 'quo"te \u00e9 \U0001f600 \u0000'):
        answer = await publish(client, message)
        assert (answer.status_code, answer.content) == (200, DONE)
    for message in ("one", "", "one", 'quo"te \u00e9 \U0001f600 \u0000'):
        answer = await client.get("/message/t")
        assert answer.status_code == 200
        assert answer.content.startswith(b'{"success": true, "message": ')
        assert answer.json() == {"success": True, "message": message}
        assert answer.headers["cache-control"] == "no-store"
    answer = await client.get("/message/t")
    assert (answer.status_code, answer.content) == (200, FAILED)
    assert answer.headers["cache-control"] == "no-store"


async def test_the_places_of_messages_stand_in_headers(client: httpx.AsyncClient) -> None:
    published = await publish(client, "one")
    consumed = await client.get("/message/t")
    assert published.headers["rmq-sequence"] == consumed.headers["rmq-sequence"] == "1"
    assert published.headers["rmq-message-id"] == consumed.headers["rmq-message-id"]


async def test_an_existing_topic_is_400(client: httpx.AsyncClient) -> None:
    answer = await client.put("/topic", json={"topic": "t"})
    assert (answer.status_code, answer.content, answer.headers["rmq-code"]) == (400, FAILED, "topic_taken")


async def test_of_concurrent_creations_one_succeeds(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.put("/topic", json={"topic": "new"}) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 19


async def test_an_unknown_topic_is_404_to_publish_and_200_to_consume(client: httpx.AsyncClient) -> None:
    answer = await client.put("/message", json={"topic": "T", "message": "m"})
    assert (answer.status_code, answer.content, answer.headers["rmq-code"]) == (404, FAILED, "topic_not_found")
    impossible = await client.put("/message", json={"topic": "a b", "message": "m"})
    assert (impossible.status_code, impossible.content) == (404, FAILED)
    assert impossible.headers["rmq-code"] == "topic_not_found"
    assert impossible.headers["rmq-detail"].startswith("There can be none of that name. A topic's name is 1 to 128")
    for path in ("/message/T", "/message/a%2Fb", "/message/%00", "/message/%ff", "/message/a/b", "/message/"):
        answer = await client.get(path)
        assert (answer.status_code, answer.content) == (200, FAILED), path


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"t"', b"{}", b'{"topic": 1}', b'{"topic": true}', b'{"topic": null}',
        b'{"topic": ["t"]}', b'{"topic": "\xff"}', b'{"topic": "\\ud800"}', b'\xef\xbb\xbf{"topic": "x"}',
        b'{"topic": "x"} x', b'{"topic": ""}', b'{"topic": "a b"}', b'{"topic": "a/b"}', b'{"topic": "a\\n"}',
        b'{"topic": "\\u00e9"}', b'{"topic": "x", "topic": "y"}', b'{"topic":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"topic": NaN}', b'{"topic": 1e999}', b"{'topic': 'x'}", b'{"topic": "' + b"x" * 129 + b'"}',
        b'{"topic": "."}', b'{"topic": ".."}',
    ],
)  # fmt: skip
async def test_a_malformed_topic_is_400_and_changes_nothing(
    client: httpx.AsyncClient, node: FakeNode, body: bytes
) -> None:
    before = node.submitted
    answer = await client.put("/topic", content=body)
    assert (answer.status_code, answer.content) == (400, FAILED)
    assert answer.headers["rmq-code"] and answer.headers["rmq-detail"]
    assert node.submitted == before


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b'{"topic": "t"}', b'{"message": "m"}', b'{"topic": 1, "message": "m"}',
        b'{"topic": "t", "message": 1}', b'{"topic": "t", "message": null}', b'{"topic": "t", "message": {"a": 1}}',
        b'{"topic": "t", "message": true}', b'{"topic": "t", "message": "\xff"}',
        b'{"topic": "t", "message": "\\ud800"}', b'{"topic": "t", "message": "\xed\xa0\x80"}',
        b'{"topic": "t", "message": 1e999}', b'{"topic": "t", "message": ' + b"9" * 400 + b"}",
        b'{"topic": "t", "message": "a", "message": "b"}', b'{"topic": "t", "message": "a\x00"}',
        b'{"topic": "t", "message": ' + b"[" * 100_000 + b"}",
    ],
)  # fmt: skip
async def test_a_malformed_message_is_400_and_changes_nothing(
    client: httpx.AsyncClient, node: FakeNode, body: bytes
) -> None:
    before = node.submitted
    answer = await client.put("/message", content=body)
    assert (answer.status_code, answer.content) == (400, FAILED)
    assert node.submitted == before


async def test_what_is_wrong_is_named(client: httpx.AsyncClient) -> None:
    for body, says in (({"topic": 1, "message": "m"}, "$.topic"), ({"topic": "t", "message": 1}, "$.message")):
        assert says in (await client.put("/message", json=body)).headers["rmq-detail"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (None, 200), ("application/json", 200), ("application/json; charset=utf-8", 200), ("APPLICATION/JSON", 200),
        ("application/x-www-form-urlencoded", 200), ("application/vnd.x+json", 200), ("text/plain", 415),
        ("application/json; charset=utf-16", 415), ("multipart/form-data; boundary=x", 415), ("nonsense", 415),
    ],
)  # fmt: skip
async def test_content_types(client: httpx.AsyncClient, kind: str | None, status: int) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = await client.put("/message", content=b'{"topic": "t", "message": "m"}', headers=headers)
    assert answer.status_code == status
    assert answer.content == (DONE if status == 200 else FAILED)


async def test_a_compressed_body_is_415(client: httpx.AsyncClient) -> None:
    answer = await client.put("/message", content=b"x", headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.content) == (415, FAILED)


async def test_unknown_fields_are_ignored(client: httpx.AsyncClient) -> None:
    answer = await client.put("/message", json={"topic": "t", "message": "m", "more": [1]})
    assert answer.content == DONE


@pytest.mark.parametrize(
    ("error", "status", "code", "outcome"),
    [
        (NoQuorum("no leader"), 503, "no_quorum", "not_committed"),
        (NotCommitted(), 503, "not_committed", "not_committed"),
        (ShuttingDown(), 503, "shutting_down", "not_committed"),
        (Overloaded(), 429, "overloaded", "not_committed"),
        (DiskFull(), 507, "disk_full", "not_committed"),
        (OutcomeUnknown(), 504, "outcome_unknown", "unknown"),
    ],
)
async def test_what_the_cluster_cannot_do(
    client: httpx.AsyncClient, node: FakeNode, error: NodeError, status: int, code: str, outcome: str
) -> None:
    with node.failing(error):
        answers = [
            await client.put("/topic", json={"topic": "u"}), await publish(client, "m"),
            await client.get("/message/t"), await client.get("/topic"),
        ]  # fmt: skip
        assert (await client.get("/status")).status_code == 200
    for answer in answers:
        assert (answer.status_code, answer.content) == (status, FAILED)
        assert (answer.headers["rmq-code"], answer.headers["rmq-outcome"]) == (code, outcome)
        assert ("retry-after" in answer.headers) == (status in (429, 503, 507) and error.retry_after_s is not None)


async def test_a_publish_with_a_key_happens_once(client: httpx.AsyncClient) -> None:
    first = await publish(client, "m", **{"idempotency-key": "k"})
    again = await publish(client, "m", **{"idempotency-key": "k"})
    assert first.content == again.content == DONE
    assert "rmq-duplicate" not in first.headers
    assert again.headers["rmq-duplicate"] == "true"
    other = await publish(client, "other", **{"idempotency-key": "k"})
    assert (other.status_code, other.content, other.headers["rmq-code"]) == (422, FAILED, "key_reused")
    assert (await client.get("/message/t")).json()["message"] == "m"
    assert (await client.get("/message/t")).content == FAILED


@pytest.mark.parametrize("header", ["idempotency-key", "x-request-id"])
async def test_a_consume_with_a_request_id_returns_the_same_message_again(
    client: httpx.AsyncClient, header: str
) -> None:
    await publish(client, "one")
    await publish(client, "two")
    answers = [await client.get("/message/t", headers={header: "r"}) for _ in range(2)]
    assert [answer.json()["message"] for answer in answers] == ["one", "one"]
    assert (await client.get("/message/t", headers={header: "s"})).json()["message"] == "two"


async def test_an_answer_that_was_lost_is_unknown_without_a_key_and_found_with_one(
    client: httpx.AsyncClient, node: FakeNode
) -> None:
    node.lost = 1
    answer = await publish(client, "m")
    assert (answer.status_code, answer.headers["rmq-outcome"]) == (504, "unknown")
    node.lost = 1
    assert (await publish(client, "n", **{"idempotency-key": "k"})).content == DONE
    assert [(await client.get("/message/t")).json().get("message") for _ in range(3)] == ["m", "n", None]


@pytest.mark.parametrize("key", ["", " ", "x" * 257, "a b", "\u00e9"])
async def test_a_key_that_cannot_be_one_is_400(client: httpx.AsyncClient, key: str) -> None:
    for answer in (
        await client.put("/message", json={"topic": "t", "message": "m"}, headers={"idempotency-key": key.encode()}),
        await client.get("/message/t", headers={"x-request-id": key.encode()}),
    ):
        assert (answer.status_code, answer.content, answer.headers["rmq-code"]) == (400, FAILED, "invalid_header")


async def test_status(client: httpx.AsyncClient) -> None:
    status = (await client.get("/status")).json()
    assert {"role", "term", "node", "leader", "last_log_index", "commit_index", "applied_index"} <= set(status)
    assert {"state_hash", "state_hash_index", "pid", "version"} <= set(status)
    assert (status["role"], status["leader"]) == ("Leader", 0)


async def test_a_method_that_is_not_taken_is_405(client: httpx.AsyncClient) -> None:
    for method, path, allowed in (
        ("POST", "/topic", "GET, PUT"), ("GET", "/message", "PUT"), ("DELETE", "/message/t", "GET"),
        ("PUT", "/status", "GET"),
    ):  # fmt: skip
        answer = await client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.content == FAILED


async def test_head_consumes_nothing(client: httpx.AsyncClient) -> None:
    await publish(client, "m")
    assert (await client.head("/message/t")).status_code == 405
    assert (await client.get("/message/t")).json()["message"] == "m"


async def test_json_of_another_kind_is_consumed_as_it_is(client: httpx.AsyncClient) -> None:
    await client.post("/v1/topics/t/messages", content=b'{"body": {"a":  [1.0, null]}}', headers=JSON)
    answer = await client.get("/message/t")
    assert answer.content == b'{"success": true, "message": {"a":  [1.0, null]}}'


JSON = {"content-type": "application/json"}


async def test_what_others_have_leased_is_not_handed_out(client: httpx.AsyncClient, node: FakeNode) -> None:
    await publish(client, "one")
    await publish(client, "two")
    assert len((await client.post("/v1/topics/t/messages:receive", json={"lease_s": 9})).json()["messages"]) == 1
    assert (await client.get("/message/t")).content == b'{"success": true, "message": "two"}'
    answer = await client.get("/message/t")
    assert (answer.content, answer.headers["rmq-code"]) == (FAILED, "topic_empty")
    node.pass_time(10)
    assert (await client.get("/message/t")).content == b'{"success": true, "message": "one"}'


class TestStrict:
    """`classic_strict`: a follower refuses, as the course has it."""

    @pytest.fixture
    def node(self) -> Iterator[FakeNode]:
        fake = FakeNode()
        fake.leader = 1
        yield fake
        fake.machine.close()

    @pytest.fixture
    async def strict(self, node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(create_app(node, settings(classic_strict=True)))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as found:
            yield found

    async def test_a_follower_refuses_and_names_the_leader(self, strict: httpx.AsyncClient) -> None:
        for answer in (
            await strict.put("/topic", json={"topic": "t"}), await strict.get("/message/t"),
            await strict.put("/message", json={"topic": "t", "message": "m"}),
        ):  # fmt: skip
            assert (answer.status_code, answer.content) == (400, FAILED)
            assert (answer.headers["rmq-code"], answer.headers["rmq-leader"]) == ("not_leader", "http://127.0.0.1:8002")

    async def test_a_follower_lists_topics_from_its_own_state(self, strict: httpx.AsyncClient, node: FakeNode) -> None:
        with node.failing(NoQuorum()):
            answer = await strict.get("/topic")
        assert (answer.status_code, json.loads(answer.content)) == (200, {"success": True, "topics": []})
        assert node.barriers == 0

    async def test_without_a_leader_nobody_is_named(self, strict: httpx.AsyncClient, node: FakeNode) -> None:
        node.leader = None
        answer = await strict.get("/message/t")
        assert (answer.status_code, answer.content) == (400, FAILED)
        assert "rmq-leader" not in answer.headers

    async def test_the_leader_serves(self, strict: httpx.AsyncClient, node: FakeNode) -> None:
        node.leader = 0
        assert (await strict.put("/topic", json={"topic": "t"})).content == DONE
