"""Publish: one and many, JSON and bytes, limits, and what is told to who sends something else."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.asking import JSON, T, check, counts, publish, receive, take
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio

BYTES = {"content-type": "application/octet-stream"}


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic."""
    assert (await client.put(T)).status_code == 201
    yield client


async def test_one_and_many(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{T}/messages", json={"body": {"a": [1, None]}})
    assert answer.status_code == 201
    (one,) = answer.json()["messages"]
    assert one == {"id": one["id"], "sequence": 1, "duplicate": False}
    answer = await client.post(f"{T}/messages", json={"messages": [{"body": ""}, {"body": None}]})
    assert [message["sequence"] for message in answer.json()["messages"]] == [2, 3]
    found = await receive(client, max=10)
    assert [message["body"] for message in found] == [{"a": [1, None]}, "", None]
    assert found[0]["id"] == one["id"] and found[0]["deliveries"] == 1
    assert str(found[0]["published_at"]).endswith("Z")


async def test_values_come_out_as_they_went_in(client: httpx.AsyncClient) -> None:
    values = [
        b'"\\u00e9\\ud83d\\ude00"', "\"\u00e9\"".encode(), b"1.0", b"-0", b"1e308", b"12345678901234567890",
        b'{"b": 1,  "a":[ ]}', b"null", b"true",
    ]  # fmt: skip
    for value in values:
        for body in (b'{"body":' + value + b"}", b'{"body":' + value + b',"group":null}'):
            answer = await client.post(f"{T}/messages", content=body, headers=JSON)
            assert answer.status_code == 201
            answer = await client.post(f"{T}/messages:receive", json={"auto_ack": True})
            assert b'"body":' + value + b',"headers"' in answer.content


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"", "malformed_json", "empty"),
        (b"{", "malformed_json", "truncated"),
        (b'{"body": "\xff"}', "malformed_json", "UTF-8"),
        (b'{"messages": [{"body": {"a": "\xff"}}]}', "malformed_json", "UTF-8"),
        (b'{"body": "\\ud800"}', "malformed_json", "surrogate"),
        (b'{"body": ["\\udc00"], "priority": 1}', "malformed_json", "surrogate"),
        (b'{"body": NaN}', "malformed_json", "byte 9"),
        (b'{"body": Infinity}', "malformed_json", "byte 9"),
        (b'{"body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed_json", "deeply"),
        (b'{"body": ' + b'{"a":' * 100_000 + b"}", "malformed_json", "deeply"),
        (b'{"body": 1e999}', "invalid_body", "range"),
        (b'{"body": {"a": [-1e999]}}', "invalid_body", "range"),
        (b'{"body": ' + b"9" * 400 + b"}", "invalid_body", "range"),
        (b'{"body": [-123' + b"4567890123" * 30 + b"456789]}", "invalid_body", "range"),
        (b'{"body": [-' + b"9" * 5000 + b"]}", "invalid_body", "range"),
        (b"[]", "invalid_body", "object"),
        (b"{}", "invalid_body", "`body`"),
        (b'{"group": "a"}', "invalid_body", "`body`"),
        (b'{"body": 1, "messages": []}', "invalid_body", "$.messages"),
        (b'{"body": 1, "messages": [{"body": 1}]}', "invalid_body", "either"),
        (b'{"group": "a", "messages": [{"body": 1}]}', "invalid_body", "either"),
        (b'{"messages": []}', "invalid_body", "$.messages"),
        (b'{"messages": null}', "invalid_body", "$.messages"),
        (b'{"messages": [1]}', "invalid_body", "$.messages[0]"),
        (b'{"messages": [{}]}', "invalid_body", "`body` - at `$.messages[0]`"),
        (b'{"messages": [{"body": 1}, {"group": "a"}]}', "invalid_body", "`body` - at `$.messages[1]`"),
        (b'{"body": 1, "body_base64": ""}', "invalid_body", "either"),
        (b'{"messages": [{"body": 1, "body_base64": ""}]}', "invalid_body", "$.messages[0]"),
        (b'{"body": 1, "atomic": true}', "invalid_body", "`messages`"),
        (b'{"messages": [{"body": 1}], "atomic": 1}', "invalid_body", "$.atomic"),
        (b'{"body": 1, "colour": "red"}', "invalid_body", "`colour`"),
        (b'{"messages": [{"body": 1, "colour": 2}]}', "invalid_body", "`colour`"),
        (b'{"body": 1, "body": 2}', "invalid_body", "twice"),
        (b'{"messages": [{"body": 1}], "messages": [{"body": 2}]}', "invalid_body", "twice"),
        (b'{"messages": [{"body": 1, "body": 2}]}', "invalid_body", "twice"),
        (b'{"messages": [{"body": 1, "body": 2}, {"body": 3}]}', "invalid_body", "twice"),
        (b'{"body":1,"body":2}', "invalid_body", "twice"),
        (b'{"messages":[{"body":1,"body":2},{"body":3}]}', "invalid_body", "twice"),
        (b'{"messages":[{"body":1}],"messages":[{"body":2}]}', "invalid_body", "twice"),
        (b'{"body": 1, "group": "a", "group": "b"}', "invalid_body", "twice"),
        (b'{"body": 1, "group": "a", "group": null}', "invalid_body", "twice"),
        (b'{"messages": [{"body": 1, "ttl_s": 1, "ttl_s": 2}, {"body": 1}]}', "invalid_body", "twice"),
        (b'{"messages": [{"body": 1, "group": "a"}], "atomic": true, "atomic": false}', "invalid_body", "twice"),
        (b'{"body_base64": "A"}', "invalid_body", "base64"),
        (b'{"body_base64": "AA"}', "invalid_body", "base64"),
        (b'{"body_base64": 5}', "invalid_body", "Expected a string in base64, got `int` - at `$.body_base64`."),
        (b'{"body_base64": "A A="}', "invalid_body", "base64"),
        (b'{"body_base64": "-_-_"}', "invalid_body", "base64"),
        (b'{"body_base64": null}', "invalid_body", "$.body_base64"),
    ],
)
async def test_a_wrong_body_is_told_what_is_wrong(
    client: httpx.AsyncClient, node: FakeNode, body: bytes, code: str, says: str
) -> None:
    before = node.submitted
    answer = await client.post(f"{T}/messages", content=body, headers=JSON)
    assert says in check(answer, 400, code)
    assert node.submitted == before


TEXT_TAKES, TEXT_REFUSES = ["a", "x" * 128, "!~"], ["", "x" * 129, "a b", "a\n", "\u00e9", 1, ["a"]]
FIELDS: list[tuple[str, list[object], list[object]]] = [
    ("group", TEXT_TAKES, TEXT_REFUSES),
    ("dedup_id", TEXT_TAKES, TEXT_REFUSES),
    ("delay_s", [0, 0.001, 31_622_400], [-0.001, 31_622_400.001, "1", True]),
    ("ttl_s", [0.001, 31_622_400], [0, 0.0009, 31_622_400.001, "1", True]),
    ("priority", [0, 9, 3.0], [-1, 10, 1.5, "1", True]),
    ("headers", [{}, {"A-z0._": ""}, {"x" * 64: "\u00e9" * 1024}, {str(n): "1" for n in range(32)}],
     [{"": "1"}, {"x" * 65: "1"}, {"a b": "1"}, {"a\n": "1"}, {"a": "x" * 1025}, {"a": 1}, {"a": None},
      {str(n): "1" for n in range(33)}, "a", []]),
]  # fmt: skip


@pytest.mark.parametrize(("field", "takes", "refuses"), FIELDS, ids=[row[0] for row in FIELDS])
async def test_limits_of_what_a_message_says(
    client: httpx.AsyncClient, node: FakeNode, field: str, takes: list[object], refuses: list[object]
) -> None:
    await client.put("/v1/topics/p", json={"priorities": True})
    for value in [*takes, None]:
        for body in ({"body": 1, field: value}, {"messages": [{"body": 1, field: value}]}):
            answer = await client.post("/v1/topics/p/messages", json=body)
            assert answer.status_code == 201, answer.text
    before = node.submitted
    for value in refuses:
        for body in ({"body": 1, field: value}, {"messages": [{"body": 1}, {"body": 1, field: value}]}):
            answer = await client.post("/v1/topics/p/messages", json=body)
            assert field in check(answer, 400, "invalid_body")
    assert node.submitted == before


async def test_headers_and_groups_arrive(client: httpx.AsyncClient) -> None:
    await publish(client, 1, headers={"Kind": "\u00e9", "empty": ""}, group="anna")
    (message,) = await receive(client)
    assert (message["headers"], message["group"]) == ({"Kind": "\u00e9", "empty": ""}, "anna")


async def test_messages_that_are_delayed_and_such_that_are_over(client: httpx.AsyncClient, node: FakeNode) -> None:
    await publish(client, "later", delay_s=10)
    await publish(client, "short", ttl_s=5)
    await publish(client, "now")
    assert await counts(client) == {"ready": 2, "leased": 0, "delayed": 1, "dead": 0}
    node.pass_time(6)
    assert await take(client, max=5) == ["now"]
    node.pass_time(5)
    assert await take(client, max=5) == ["later"]


async def test_priorities(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{T}/messages", json={"body": 1, "priority": 1})
    assert "priorities" in check(answer, 422, "invalid_message")
    await client.put("/v1/topics/p", json={"priorities": True})
    for number, priority in enumerate((0, 9, 5, 9)):
        await publish(client, number, topic="/v1/topics/p", priority=priority)
    found = await receive(client, topic="/v1/topics/p", max=9)
    assert [(message["body"], message["priority"]) for message in found] == [(1, 9), (3, 9), (2, 5), (0, 0)]
    answer = await client.post("/v1/topics/p/messages", json={"body": 1, "priority": 1, "group": "a"})
    assert "not both" in check(answer, 422, "invalid_message")
    check(await client.post(f"{T}/messages", json={"body": 1, "delay_s": 1, "group": "a"}), 422, "invalid_message")


async def test_a_dedup_id_is_stored_once(client: httpx.AsyncClient, node: FakeNode) -> None:
    (first,) = await publish(client, 1, dedup_id="d")
    assert await publish(client, 1, dedup_id="d") == [{**first, "duplicate": True}]
    check(await client.post(f"{T}/messages", json={"body": 2, "dedup_id": "d"}), 422, "key_reused")
    node.pass_time(301)
    assert await publish(client, 2, dedup_id="d") == [{**first, "id": "2", "sequence": 2}]


class TestEachForItself:
    async def test_who_is_refused_says_why_in_its_place(self, client: httpx.AsyncClient) -> None:
        messages: list[dict[str, Any]] = [
            {"body": 1, "dedup_id": "d"}, {"body": 2, "dedup_id": "d"}, {"body": 3, "priority": 1},
            {"body": 1, "dedup_id": "d"}, {"body_base64": "AA=="},
        ]  # fmt: skip
        answer = await client.post(f"{T}/messages", json={"messages": messages, "atomic": False})
        assert answer.status_code == 201
        found = answer.json()["messages"]
        assert [each.get("sequence") for each in found] == [1, None, None, 1, 2]
        assert [each.get("code") for each in found] == [None, "key_reused", "invalid_message", None, None]
        assert [each.get("duplicate") for each in found] == [False, None, None, True, False]
        assert set(found[1]) == {"code", "detail"} and "d" in found[1]["detail"]
        check(await client.post(f"{T}/messages", json={"messages": messages}), 422, "key_reused")

    async def test_where_all_are_refused_the_first_one_says_why(self, client: httpx.AsyncClient) -> None:
        messages = [{"body": 3, "priority": 1}, {"body": 3, "group": "a", "delay_s": 1}]
        answer = await client.post(f"{T}/messages", json={"messages": messages, "atomic": False})
        assert "priorities" in check(answer, 422, "invalid_message")

    async def test_duplicates_are_not_refused(self, client: httpx.AsyncClient) -> None:
        sent = {"messages": [{"body": 1, "dedup_id": "d"}], "atomic": False}
        assert [(await client.post(f"{T}/messages", json=sent)).status_code for _ in range(2)] == [201, 201]

    async def test_plain_messages_are_taken_so_too(self, client: httpx.AsyncClient) -> None:
        await client.patch(T, json={"max_messages": 1})
        answer = await client.post(f"{T}/messages", json={"messages": [{"body": 1}, {"body": 2}], "atomic": False})
        assert [each.get("code") for each in answer.json()["messages"]] == [None, "topic_full"]


class TestFullTopics:
    async def test_it_says_so_and_when_to_come_again(self, client: httpx.AsyncClient) -> None:
        await client.patch(T, json={"max_messages": 2})
        await publish(client, 1)
        answer = await client.post(f"{T}/messages", json={"messages": [{"body": 2}, {"body": 3}]})
        assert "full" in check(answer, 429, "topic_full")
        assert answer.headers["retry-after"] == "1"
        await publish(client, 2)
        answer = await client.put("/message", json={"topic": "t", "message": "m"})
        assert (answer.status_code, answer.content) == (429, b'{"success": false}')
        assert (answer.headers["rmq-code"], answer.headers["retry-after"]) == ("topic_full", "1")

    async def test_what_never_fits_is_not_to_be_tried_again(self, client: httpx.AsyncClient) -> None:
        """Found by a trial: the client had tried it again for all of its 30 s."""
        await client.patch(T, json={"max_messages": 1, "max_bytes": 10})
        for body in ({"messages": [{"body": 1}, {"body": 2}]}, {"body": "x" * 11}):
            answer = await client.post(f"{T}/messages", json=body)
            assert "has max_messages 1 and max_bytes 10" in check(answer, 422, "invalid_message")
            assert answer.json()["retryable"] is False and "retry-after" not in answer.headers
        answer = await client.put("/message", json={"topic": "t", "message": "x" * 11})
        assert (answer.status_code, answer.headers["rmq-code"]) == (422, "invalid_message")

    async def test_bytes_count_too_and_the_oldest_may_go(self, client: httpx.AsyncClient) -> None:
        await client.patch(T, json={"max_bytes": 10})
        await publish(client, 12345, 12345)
        check(await client.post(f"{T}/messages", json={"body": 1}), 429, "topic_full")
        await client.patch(T, json={"overflow": "drop_oldest"})
        await publish(client, 6)
        assert await take(client, max=5) == [12345, 6]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b'"\xff"', "malformed_json"), (b'"\\ud800"', "malformed_json"), (b"NaN", "malformed_json"),
        (b"[" * 100_000 + b"]" * 100_000, "malformed_json"), (b"1e999", "invalid_body"), (b"9" * 400, "invalid_body"),
    ],
)  # fmt: skip
async def test_a_wrong_value_among_right_ones_is_found(client: httpx.AsyncClient, value: bytes, code: str) -> None:
    for before, after in ((50, 0), (0, 50), (1, 1)):
        for sent in (b'{"body":%s}', b'{"body": %s}', b'{"body":%s,"group":"a"}'):
            messages = [sent % b'"right"'] * before + [sent % value] + [sent % b"1"] * after
            body = b'{"messages":[' + b",".join(messages) + b"]}"
            check(await client.post(f"{T}/messages", content=body, headers=JSON), 400, code)


async def test_a_long_row_of_digits_in_a_text_is_no_huge_number(client: httpx.AsyncClient) -> None:
    for value in ("9" * 400, [0.1, "1" * 5000], {"9" * 400: 1}):
        assert (await client.post(f"{T}/messages", json={"body": value})).status_code == 201
    for number in (b"0." + b"1" * 400, b"-1" + b"7" * 307, b"7" * 308, b"12345678901234567890123456"):
        for body in (b'{"body": ' + number + b"}", b'{"messages":[' + b'{"body":%s},' % number * 99 + b'{"body":1}]}'):
            answer = await client.post(f"{T}/messages", content=body, headers=JSON)
            assert answer.status_code == 201


async def test_a_name_that_stands_twice_in_the_message_itself_is_its_own_affair(client: httpx.AsyncClient) -> None:
    for more in ({}, {"group": "body"}):
        answer = await client.post(f"{T}/messages", json={"body": {"body": {"body": "messages"}, "group": 1}, **more})
        assert answer.status_code == 201
    messages = [{"body": {"group": [{"atomic": 1}, {"atomic": 1}]}, "group": "a"}, {"body": {"body": "messages"}}]
    assert (await client.post(f"{T}/messages", json={"messages": messages})).status_code == 201


async def test_a_thousand_messages_and_one_more(client: httpx.AsyncClient) -> None:
    for message in ({"body": 1}, {"body": 1, "group": "a"}):
        for number in (999, 1000):
            answer = await client.post(f"{T}/messages", json={"messages": [message] * number})
            assert (answer.status_code, len(answer.json()["messages"])) == (201, number)
        answer = await client.post(f"{T}/messages", json={"messages": [message] * 1001})
        check(answer, 400, "invalid_body")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/octet"])
async def test_what_is_neither_json_nor_bytes_is_415(client: httpx.AsyncClient, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = await client.post(f"{T}/messages", content=b'{"body":1}', headers=headers)
    check(answer, 415, "unsupported_media_type")


async def test_a_body_above_the_limit_is_413(client: httpx.AsyncClient) -> None:
    fits = b'{"body":"' + b"x" * ((1 << 20) - 11) + b'"}'
    assert len(fits) == 1 << 20
    for content, headers in ((fits, JSON), (b"x" * (1 << 20), BYTES)):
        assert (await client.post(f"{T}/messages", content=content, headers=headers)).status_code == 201
        answer = await client.post(f"{T}/messages", content=content + b" ", headers=headers)
        check(answer, 413, "body_too_large")


async def test_a_key_makes_a_repetition_safe(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "k"}
    sent = {"messages": [{"body": 1}, {"body": 2}]}
    first = (await client.post(f"{T}/messages", json=sent, headers=key)).json()["messages"]
    again = (await client.post(f"{T}/messages", json=sent, headers=key)).json()["messages"]
    assert again == [{**message, "duplicate": True} for message in first]
    others: list[dict[str, Any]] = [
        {"messages": [{"body": 12}]}, {"messages": [{"body": 2}, {"body": 1}]}, {"body": 1},
        {"messages": [{"body": 1}, {"body": 2, "group": "a"}]}, {**sent, "atomic": False},
    ]  # fmt: skip
    for other in others:
        check(await client.post(f"{T}/messages", json=other, headers=key), 422, "key_reused")
    assert len(await receive(client, max=10)) == 2


async def test_the_order_of_headers_makes_no_difference_to_a_key(client: httpx.AsyncClient) -> None:
    for headers in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}):
        answer = await client.post(
            f"{T}/messages", json={"body": 1, "headers": headers}, headers={"idempotency-key": "k"}
        )
        assert answer.status_code == 201


async def test_an_unknown_topic_is_404(client: httpx.AsyncClient) -> None:
    check(await client.post("/v1/topics/nope/messages", json={"body": 1}), 404, "topic_not_found")


class TestBytes:
    @pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", b'{"body": 1}', bytes(range(256)) * 9])
    async def test_they_are_stored_as_one_message(self, client: httpx.AsyncClient, content: bytes) -> None:
        answer = await client.post(f"{T}/messages", content=content, headers=BYTES)
        assert (answer.status_code, len(answer.json()["messages"])) == (201, 1)
        answer = await client.post(f"{T}/messages", json={"body_base64": base64.b64encode(content).decode()})
        assert answer.status_code == 201
        for message in await receive(client, max=2):
            assert base64.b64decode(message["body_base64"]) == content

    async def test_what_they_carry(self, client: httpx.AsyncClient) -> None:
        headers = {**BYTES, "RMQ-Header-Kind": "order", "rmq-header-a.b_c": "\u00e9".encode(), "rmq-header-e": b""}
        await client.put("/v1/topics/p", json={"priorities": True})
        query = "group=anna&dedup_id=d&ttl_s=5e1"
        answer = await client.post(f"{T}/messages?{query}", content=b"x", headers=headers)
        assert answer.status_code == 201, answer.text
        again = await client.post(f"{T}/messages?{query}", content=b"x", headers=headers)
        assert again.json()["messages"][0]["duplicate"] is True
        (message,) = await receive(client)
        assert message["headers"] == {"kind": "order", "a.b_c": "\u00e9", "e": ""}
        assert message["group"] == "anna"
        await client.post("/v1/topics/p/messages?priority=7&delay_s=0", content=b"x", headers=BYTES)
        assert (await receive(client, topic="/v1/topics/p"))[0]["priority"] == 7

    async def test_the_query_holds_for_json_that_says_nothing_itself(self, client: httpx.AsyncClient) -> None:
        messages: list[dict[str, Any]] = [{"body": 1}, {"body": 2, "group": "berta"}, {"body": 3, "group": None}]
        answer = await client.post(f"{T}/messages?group=anna", json={"messages": messages})
        assert answer.status_code == 201
        assert sorted((m["body"], m["group"]) for m in await receive(client, max=2)) == [(1, "anna"), (2, "berta")]
        assert (await client.post(f"{T}/messages?delay_s=9", json={"body": 4})).status_code == 201
        assert (await counts(client))["delayed"] == 1

    @pytest.mark.parametrize(
        "query",
        [
            "group=", "group=a%20b", f"group={'x' * 129}", "group=%0A", "dedup_id=", "delay_s=-1", "delay_s=31622401",
            "delay_s=x", "delay_s=", "delay_s=1.", "delay_s=inf", "delay_s=nan", "ttl_s=0", "ttl_s=0.0009",
            "ttl_s=31622401", "priority=10", "priority=-1", "priority=1.5", "colour=1", "group=a&group=b",
        ],
    )  # fmt: skip
    async def test_a_wrong_query_is_refused(self, client: httpx.AsyncClient, node: FakeNode, query: str) -> None:
        before = node.submitted
        for kind in (BYTES, JSON):
            answer = await client.post(f"{T}/messages?{query}", content=b'{"body":1}', headers=kind)
            assert query.partition("=")[0] in check(answer, 400, "invalid_parameter")
        assert node.submitted == before

    @pytest.mark.parametrize("query", [f"group={'x' * 128}", "delay_s=31622400", "ttl_s=0.001", "ttl_s=31622400"])
    async def test_a_query_at_its_limits(self, client: httpx.AsyncClient, query: str) -> None:
        assert (await client.post(f"{T}/messages?{query}", content=b"", headers=BYTES)).status_code == 201

    async def test_limits_of_headers(self, client: httpx.AsyncClient) -> None:
        def named(*names: str, value: bytes = b"1") -> list[tuple[bytes, bytes]]:
            pairs = [(f"rmq-header-{name}".encode(), value) for name in names]
            return [(b"content-type", b"application/octet-stream"), *pairs]

        for good in (named("x" * 64), named("a", value=b"x" * 1024), named(*map(str, range(32)))):
            assert (await client.post(f"{T}/messages", content=b"", headers=good)).status_code == 201
        for bad in (
            named("x" * 65), named(""), named("a~b"), named("a", "a"), named("a", "A"), named("a", value=b"\xff"),
            named("a", value=b"x" * 1025), named(*map(str, range(33))),
        ):  # fmt: skip
            check(await client.post(f"{T}/messages", content=b"", headers=bad), 400, "invalid_header")

    async def test_they_are_not_unpacked(self, client: httpx.AsyncClient) -> None:
        headers = {**BYTES, "content-encoding": "gzip"}
        check(await client.post(f"{T}/messages", content=b"x", headers=headers), 415, "unsupported_media_type")

    async def test_the_type_may_have_options(self, client: httpx.AsyncClient) -> None:
        headers = {"content-type": "Application/Octet-Stream; x=y"}
        assert (await client.post(f"{T}/messages", content=b"x", headers=headers)).status_code == 201

    async def test_the_classic_route_hands_them_out_in_base64(self, client: httpx.AsyncClient) -> None:
        await client.post(f"{T}/messages", content=b"\x00\xff", headers=BYTES)
        answer = await client.get("/message/t")
        assert answer.content == b'{"success": true, "message": "AP8="}'
        assert answer.headers["rmq-body-encoding"] == "base64"
