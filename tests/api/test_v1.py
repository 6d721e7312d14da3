"""The routes of /v1: answers, problems, cursors, consistency."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from app.api.problems import CODES
from app.node.errors import DiskFull, NodeError, NoQuorum, OutcomeUnknown, Overloaded
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


def check(answer: httpx.Response, status: int, code: str) -> str:
    """A problem as RFC 9457 and our table have it; its detail."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (answer.status_code, body["code"], body["status"]) == (status, code, status)
    assert body["title"] == CODES[code].title and body["type"] == f"urn:rmq:problem:{code}"
    assert body["retryable"] is CODES[code].retryable
    assert body["outcome"] in ("committed", "not_committed", "unknown")
    assert body["detail"]
    return str(body["detail"])


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic."""
    assert (await client.put("/v1/topics/t")).status_code == 201
    yield client


async def receive(client: httpx.AsyncClient, **asked: object) -> list[dict[str, object]]:
    answer = await client.post("/v1/topics/t/messages:receive", json={"auto_ack": True, **asked})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return list(answer.json()["messages"])


class TestTopics:
    async def test_creation_is_idempotent(self, client: httpx.AsyncClient) -> None:
        for status, body in ((201, {}), (200, {}), (200, {"dedup_window_s": 300}), (200, {"dedup_window_s": None})):
            answer = await client.put("/v1/topics/new", json=body)
            assert (answer.status_code, answer.headers["location"]) == (status, "/v1/topics/new")
            assert answer.json() == {"name": "new", "settings": {"dedup_window_s": 300}}
        check(await client.put("/v1/topics/new", json={"dedup_window_s": 7}), 409, "topic_exists")
        # It needs no key, and one promises nothing more than its being idempotent.
        assert (await client.put("/v1/topics/new", headers={"idempotency-key": "k"})).status_code == 200
        parameters = (await client.get("/openapi.json")).json()["paths"]["/v1/topics/{topic}"]["put"]["parameters"]
        assert [parameter["name"] for parameter in parameters] == ["topic"]

    async def test_look_and_delete(self, client: httpx.AsyncClient) -> None:
        await client.post("/v1/topics/t/messages", json={"body": "four"})
        found = (await client.get("/v1/topics/t")).json()
        assert (found["name"], found["messages"], found["bytes"]) == ("t", 1, 6)
        assert found["created_at"].endswith("Z")
        answer = await client.delete("/v1/topics/t")
        assert (answer.status_code, answer.content) == (204, b"")
        check(await client.delete("/v1/topics/t"), 404, "topic_not_found")
        check(await client.get("/v1/topics/t"), 404, "topic_not_found")

    async def test_pages_continue_each_other(self, client: httpx.AsyncClient) -> None:
        names = ["t"] + [f"p{n}" for n in range(6)]
        for name in names[1:]:
            await client.put(f"/v1/topics/{name}")
        found, cursor = [], ""
        while cursor is not None:
            page = (
                await client.get("/v1/topics", params={"limit": "3", **({"cursor": cursor} if cursor else {})})
            ).json()
            found += [item["name"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert found == names
        page = (await client.get("/v1/topics?prefix=p&limit=2")).json()
        assert [item["name"] for item in page["items"]] == ["p0", "p1"]
        answer = await client.get("/v1/topics", params={"prefix": "other", "cursor": page["next_cursor"]})
        check(answer, 400, "invalid_cursor")

    @pytest.mark.parametrize("cursor", ["x", "AAAAAAAAAAAAAAAAAAAAAA", "*", "a" * 129, "%00"])
    async def test_a_cursor_that_was_not_made_here_is_refused(self, client: httpx.AsyncClient, cursor: str) -> None:
        answer = await client.get(f"/v1/topics?cursor={cursor}")
        assert (answer.status_code, answer.json()["code"][:8]) == (400, "invalid_")

    @pytest.mark.parametrize(
        "query",
        ["consistency=no", "consistency=", "limit=0", "limit=1001", "limit=-1", "limit=1.5", "limit=\u0661", "limit=",
         "colour=red", "limit=1&limit=2", "prefix=%ff", f"limit={'9' * 5000}", "prefix=" + "x" * 129,
         "&".join(["a=b"] * 50)],
    )  # fmt: skip
    async def test_a_wrong_query_is_refused(self, client: httpx.AsyncClient, query: str) -> None:
        check(await client.get(f"/v1/topics?{query}"), 400, "invalid_parameter")

    async def test_only_a_stale_read_asks_nobody(self, client: httpx.AsyncClient, node: FakeNode) -> None:
        for path in ("/v1/topics", "/v1/topics/t"):
            before = node.barriers
            assert (await client.get(f"{path}?consistency=stale")).status_code == 200
            assert node.barriers == before
            assert (await client.get(path)).status_code == 200
            assert (await client.get(f"{path}?consistency=linearizable")).status_code == 200
            assert node.barriers == before + 2
            with node.failing(NoQuorum()):
                check(await client.get(path), 503, "no_quorum")

    @pytest.mark.parametrize("name", ["a b", "%00", "%C3%A9", "x" * 129, "a%0A", "a:b"])
    async def test_names_that_no_topic_has(self, client: httpx.AsyncClient, name: str, node: FakeNode) -> None:
        before = node.submitted
        for answer in (
            await client.put(f"/v1/topics/{name}"), await client.get(f"/v1/topics/{name}"),
            await client.post(f"/v1/topics/{name}/messages", json={"body": 1}),
        ):  # fmt: skip
            check(answer, 400, "invalid_topic")
        assert node.submitted == before

    async def test_the_longest_name(self, client: httpx.AsyncClient) -> None:
        assert (await client.put(f"/v1/topics/{'x' * 128}")).status_code == 201


class TestPublish:
    async def test_one_and_many(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/topics/t/messages", json={"body": {"a": [1, None]}})
        assert answer.status_code == 201
        (one,) = answer.json()["messages"]
        assert (one["sequence"], one["duplicate"]) == (1, False)
        answer = await client.post("/v1/topics/t/messages", json={"messages": [{"body": ""}, {"body": None}]})
        assert [message["sequence"] for message in answer.json()["messages"]] == [2, 3]
        found = await receive(client, max=10)
        assert [message["body"] for message in found] == [{"a": [1, None]}, "", None]
        assert found[0]["id"] == one["id"] and found[0]["deliveries"] == 1
        assert str(found[0]["published_at"]).endswith("Z")

    async def test_values_come_out_as_they_went_in(self, client: httpx.AsyncClient) -> None:
        values = [
            b'"\\u00e9\\ud83d\\ude00"', "\"\u00e9\"".encode(), b"1.0", b"-0", b"1e308", b"12345678901234567890",
            b'{"b":1,"a":2,"a":3}', b"[ 1 ,2]", b"true", b"[" * 200 + b"]" * 200,
        ]  # fmt: skip
        for value in values:
            answer = await client.post("/v1/topics/t/messages", content=b'{"body":' + value + b"}", headers=JSON)
            assert answer.status_code == 201, value
            answer = await client.post("/v1/topics/t/messages:receive", json={"auto_ack": True})
            assert b'"body":' + value + b',"published_at"' in answer.content

    @pytest.mark.parametrize(
        ("body", "code", "says"),
        [
            (b"", "malformed_json", "empty"),
            (b"{", "malformed_json", "truncated"),
            (b'{"body": "\xff"}', "malformed_json", "UTF-8"),
            (b'{"messages": [{"body": {"a": "\xff"}}]}', "malformed_json", "UTF-8"),
            (b'{"body": "\\ud800"}', "malformed_json", "surrogate"),
            (b'{"body": ["\\udc00"]}', "malformed_json", "surrogate"),
            (b'{"body": NaN}', "malformed_json", "byte 9"),
            (b'{"body": Infinity}', "malformed_json", "byte 9"),
            (b'{"body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed_json", "deeply"),
            (b'{"body": ' + b'{"a":' * 100_000 + b"}", "malformed_json", "deeply"),
            (b'{"body": 1e999}', "invalid_body", "range"),
            (b'{"body": {"a": [-1e999]}}', "invalid_body", "range"),
            (b'{"body": ' + b"9" * 400 + b"}", "invalid_body", "range"),
            (b'{"body": [-' + b"9" * 5000 + b"]}", "invalid_body", "range"),
            (b"[]", "invalid_body", "object"),
            (b"{}", "invalid_body", "`body`"),
            (b'{"body": 1, "messages": []}', "invalid_body", "$.messages"),
            (b'{"body": 1, "messages": [{"body": 1}]}', "invalid_body", "either"),
            (b'{"messages": []}', "invalid_body", "$.messages"),
            (b'{"messages": null}', "invalid_body", "$.messages"),
            (b'{"messages": [1]}', "invalid_body", "$.messages[0]"),
            (b'{"messages": [{}]}', "invalid_body", "`body`"),
            (b'{"body": 1, "colour": "red"}', "invalid_body", "`colour`"),
            (b'{"messages": [{"body": 1, "colour": 2}]}', "invalid_body", "`colour`"),
            (b'{"body": 1, "body": 2}', "invalid_body", "twice"),
            (b'{"messages": [{"body": 1, "body": 2}]}', "invalid_body", "twice"),
        ],
    )
    async def test_a_wrong_body_is_told_what_is_wrong(
        self, client: httpx.AsyncClient, node: FakeNode, body: bytes, code: str, says: str
    ) -> None:
        before = node.submitted
        answer = await client.post("/v1/topics/t/messages", content=body, headers=JSON)
        assert says in check(answer, 400, code)
        assert node.submitted == before

    async def test_a_long_row_of_digits_in_a_text_is_no_huge_number(self, client: httpx.AsyncClient) -> None:
        for value in ("9" * 400, [0.1, "1" * 5000], {"9" * 400: 1}):
            assert (await client.post("/v1/topics/t/messages", json={"body": value})).status_code == 201
        answer = await client.post("/v1/topics/t/messages", content=b'{"body": 0.' + b"1" * 400 + b"}", headers=JSON)
        assert answer.status_code == 201

    async def test_a_name_that_stands_twice_in_the_message_itself_is_its_own_affair(
        self, client: httpx.AsyncClient
    ) -> None:
        answer = await client.post("/v1/topics/t/messages", json={"body": {"body": {"body": "messages"}}})
        assert answer.status_code == 201

    async def test_a_thousand_messages_and_one_more(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/topics/t/messages", json={"messages": [{"body": 1}] * 1000})
        assert (answer.status_code, len(answer.json()["messages"])) == (201, 1000)
        answer = await client.post("/v1/topics/t/messages", json={"messages": [{"body": 1}] * 1001})
        check(answer, 400, "invalid_body")

    @pytest.mark.parametrize(
        "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
    )
    async def test_what_is_not_json_is_415(self, client: httpx.AsyncClient, kind: str | None) -> None:
        headers = {} if kind is None else {"content-type": kind}
        check(
            await client.post("/v1/topics/t/messages", content=b'{"body":1}', headers=headers),
            415, "unsupported_media_type",
        )  # fmt: skip

    async def test_a_body_above_the_limit_is_413(self, client: httpx.AsyncClient) -> None:
        fits = b'{"body":"' + b"x" * ((1 << 20) - 11) + b'"}'
        assert len(fits) == 1 << 20
        assert (await client.post("/v1/topics/t/messages", content=fits, headers=JSON)).status_code == 201
        check(await client.post("/v1/topics/t/messages", content=fits + b" ", headers=JSON), 413, "body_too_large")

    async def test_a_key_makes_a_repetition_safe(self, client: httpx.AsyncClient) -> None:
        key = {"idempotency-key": "k"}
        sent = {"messages": [{"body": 1}, {"body": 2}]}
        first = (await client.post("/v1/topics/t/messages", json=sent, headers=key)).json()["messages"]
        again = (await client.post("/v1/topics/t/messages", json=sent, headers=key)).json()["messages"]
        assert again == [{**message, "duplicate": True} for message in first]
        for other in ({"messages": [{"body": 12}]}, {"messages": [{"body": 2}, {"body": 1}]}, {"body": 1}):
            check(await client.post("/v1/topics/t/messages", json=other, headers=key), 422, "key_reused")
        assert len(await receive(client, max=10)) == 2

    async def test_an_unknown_topic_is_404(self, client: httpx.AsyncClient) -> None:
        check(await client.post("/v1/topics/nope/messages", json={"body": 1}), 404, "topic_not_found")


class TestReceive:
    @pytest.mark.parametrize(
        ("asked", "says"),
        [
            ({"max": 0}, "Expected a number >= 1 - at `$.max`."),
            ({"max": 1001}, "Expected a number <= 1000 - at `$.max`."),
            ({"max": 1.5}, "Expected a whole number - at `$.max`."),
            ({"max": "3"}, "Expected a number, got `str` - at `$.max`."),
            ({"wait_s": 21}, "Expected a number <= 20 - at `$.wait_s`."),
            ({"`float` >= 1.0": 1}, "Object contains unknown field ``float` >= 1.0`."),
        ],
    )
    async def test_a_wrong_number_is_told_which_are_right(
        self, client: httpx.AsyncClient, asked: dict[str, object], says: str
    ) -> None:
        answer = await client.post("/v1/topics/t/messages:receive", json={"auto_ack": True, **asked})
        assert check(answer, 400, "invalid_body") == says

    async def test_in_order_up_to_max(self, client: httpx.AsyncClient) -> None:
        await client.post("/v1/topics/t/messages", json={"messages": [{"body": n} for n in range(5)]})
        assert [message["body"] for message in await receive(client)] == [0]
        assert [message["body"] for message in await receive(client, max=3)] == [1, 2, 3]
        assert [message["body"] for message in await receive(client, max=1000)] == [4]
        assert await receive(client) == []

    async def test_with_a_key_the_same_again(self, client: httpx.AsyncClient) -> None:
        await client.post("/v1/topics/t/messages", json={"messages": [{"body": 1}, {"body": 2}]})
        answers = [
            await client.post(
                "/v1/topics/t/messages:receive", json={"auto_ack": True}, headers={"idempotency-key": "r"}
            )
            for _ in range(2)
        ]
        assert answers[0].content == answers[1].content
        assert [message["body"] for message in await receive(client, max=5)] == [2]

    @pytest.mark.parametrize("wait_s", [0, 0.01])
    async def test_with_a_key_none_again(self, client: httpx.AsyncClient, wait_s: float) -> None:
        """What a late first try took would be lost: its retry was told that there was nothing."""
        asked = {"auto_ack": True, "wait_s": wait_s}
        bodies = []
        for _ in range(2):
            answer = await client.post(
                "/v1/topics/t/messages:receive", json=asked, headers={"idempotency-key": "r"}
            )
            bodies.append(answer.json()["messages"])
            await client.post("/v1/topics/t/messages", json={"body": 1})
        assert bodies == [[], []]
        assert len(await receive(client, max=5)) == 2

    async def test_a_key_waits_for_the_message_that_comes(self, client: httpx.AsyncClient) -> None:
        asked, headers = {"auto_ack": True, "wait_s": 5}, {"idempotency-key": "r"}
        waiting = asyncio.ensure_future(client.post("/v1/topics/t/messages:receive", json=asked, headers=headers))
        await asyncio.sleep(0.05)
        await client.post("/v1/topics/t/messages", json={"body": 1})
        assert [message["body"] for message in (await waiting).json()["messages"]] == [1]

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({}, 400, "invalid_body"),
            ({"auto_ack": False}, 422, "not_supported"),
            ({"auto_ack": 1}, 400, "invalid_body"),
            ({"auto_ack": True, "max": 0}, 400, "invalid_body"),
            ({"auto_ack": True, "max": 1001}, 400, "invalid_body"),
            ({"auto_ack": True, "max": 1.5}, 400, "invalid_body"),
            ({"auto_ack": True, "max": True}, 400, "invalid_body"),
            ({"auto_ack": True, "max": 10**400}, 400, "invalid_body"),
            ({"auto_ack": True, "wait_s": -1}, 400, "invalid_body"),
            ({"auto_ack": True, "wait_s": 20.1}, 400, "invalid_body"),
            ({"auto_ack": True, "lease_s": 30}, 400, "invalid_body"),
        ],
    )  # fmt: skip
    async def test_what_cannot_be_asked(
        self, client: httpx.AsyncClient, body: dict[str, object], status: int, code: str
    ) -> None:
        check(await client.post("/v1/topics/t/messages:receive", json=body), status, code)

    async def test_an_unknown_topic_is_404_at_once(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/topics/nope/messages:receive", json={"auto_ack": True, "wait_s": 20})
        check(answer, 404, "topic_not_found")


class TestCluster:
    async def test_members(self, client: httpx.AsyncClient) -> None:
        found = (await client.get("/v1/cluster")).json()
        assert (found["node"], found["leader"], found["term"]) == (0, 0, 1)
        here, there, _ = found["members"]
        assert (here["reachable"], here["role"], here["lag"]) == (True, "Leader", 0)
        assert (there["reachable"], there["role"], there["url"]) == (False, None, "http://127.0.0.1:8002")

    async def test_transfer(self, client: httpx.AsyncClient, node: FakeNode) -> None:
        assert (await client.post("/v1/cluster/transfer", json={"to": 2})).json() == {"leader": 2}
        assert (await client.post("/v1/cluster/transfer", json={})).json() == {"leader": 1}
        check(await client.post("/v1/cluster/transfer", json={"to": 3}), 422, "unknown_node")
        assert (await client.post("/v1/cluster/transfer")).json() == {"leader": 1}
        check(await client.post("/v1/cluster/transfer", content=b"{}"), 415, "unsupported_media_type")
        check(await client.post("/v1/cluster/transfer", json={"to": "1"}), 400, "invalid_body")
        with node.failing(NoQuorum()):
            check(await client.post("/v1/cluster/transfer", json={"to": 0}), 503, "no_quorum")


class TestProblems:
    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (NoQuorum(), 503, "no_quorum"), (Overloaded(), 429, "overloaded"), (DiskFull(), 507, "disk_full"),
            (OutcomeUnknown(), 504, "outcome_unknown"),
        ],
    )  # fmt: skip
    async def test_of_the_cluster(
        self, client: httpx.AsyncClient, node: FakeNode, error: NodeError, status: int, code: str
    ) -> None:
        with node.failing(error):
            answers = [
                await client.put("/v1/topics/u"), await client.delete("/v1/topics/t"),
                await client.post("/v1/topics/t/messages", json={"body": 1}),
                await client.post("/v1/topics/t/messages:receive", json={"auto_ack": True, "wait_s": 9}),
            ]  # fmt: skip
        for answer in answers:
            check(answer, status, code)
            assert answer.json()["outcome"] == error.outcome
            assert ("retry-after" in answer.headers) == (status != 504)

    @pytest.mark.parametrize(
        "path", ["/v1/nope", "/v1/topics/t/", "/nope", "/v1/topics/t/messages:nope", "/v1/topics//x"]
    )
    async def test_unknown_paths(self, client: httpx.AsyncClient, path: str) -> None:
        check(await client.get(path), 404, "route_not_found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("POST", "/v1/topics", "GET"), ("PATCH", "/v1/topics/t", "DELETE, GET, PUT"),
            ("PUT", "/v1/topics/t/messages", "POST"), ("GET", "/v1/topics/t/messages:receive", "POST"),
            ("GET", "/v1/cluster/transfer", "POST"), ("DELETE", "/livez", "GET"), ("POST", "/docs", "GET"),
        ],
    )  # fmt: skip
    async def test_methods(self, client: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
        answer = await client.request(method, path)
        check(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed

    async def test_a_defect_is_500_with_an_unknown_outcome(
        self, client: httpx.AsyncClient, node: FakeNode, caplog: pytest.LogCaptureFixture
    ) -> None:
        node.fail = ZeroDivisionError("a defect")  # type: ignore[assignment]
        answer = await client.post("/v1/topics/t/messages", json={"body": 1})
        check(answer, 500, "internal")
        assert answer.json()["outcome"] == "unknown"
        assert "a defect" not in answer.text and "a defect" in caplog.text


class TestOperations:
    async def test_live_and_ready(self, client: httpx.AsyncClient, node: FakeNode) -> None:
        assert (await client.get("/livez")).json() == {"status": "alive"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        node.ready = False
        check(await client.get("/readyz"), 503, "not_ready")
        node.stopping.set()
        check(await client.get("/readyz"), 503, "shutting_down")
        assert (await client.get("/livez")).status_code == 200

    async def test_metrics(self, client: httpx.AsyncClient) -> None:
        await client.post("/v1/topics/t/messages", json={"messages": [{"body": 1}, {"body": 2}]})
        await client.get("/message/t")
        await client.get("/message/nope")
        text = (await client.get("/metrics")).text
        for line in (
            'rmq_role{role="Leader"} 1.0', "rmq_term 1.0", "rmq_leader 0.0", "rmq_published_messages_total 2.0",
            "rmq_consumed_messages_total 1.0", 'rmq_topic_messages{topic="t"} 1.0',
            'rmq_requests_total{route="classic_consume",status="200"} 2.0',
            'rmq_request_duration_seconds_count{route="publish"} 1.0',
        ):  # fmt: skip
            assert line in text.splitlines(), line
        assert 'rmq_request_duration_seconds_bucket{le="+Inf",route="publish"} 1.0' in text

    async def test_openapi_is_served(self, client: httpx.AsyncClient) -> None:
        assert json.loads((await client.get("/openapi.json")).content)["openapi"].startswith("3.1")
