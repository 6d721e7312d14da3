"""Topics: settings, counts, versions, pages."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.node.errors import NoQuorum
from tests.api.asking import JSON, T, check, publish, receive, settle
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio

DEFAULTS: dict[str, Any] = {
    "lease_s": 30, "delay_s": 0, "ttl_s": None, "max_messages": None, "max_bytes": None, "overflow": "reject",
    "max_deliveries": None, "dead_letter_topic": None, "dedup_window_s": 300, "priorities": False,
}  # fmt: skip
OTHERS: dict[str, Any] = {
    "lease_s": 0.001, "delay_s": 1.5, "ttl_s": 60, "max_messages": 7, "max_bytes": 700, "overflow": "drop_oldest",
    "max_deliveries": 3, "dead_letter_topic": "dead", "dedup_window_s": 1.25, "priorities": True,
}  # fmt: skip
LIMITS: list[tuple[str, list[object], list[object]]] = [
    ("lease_s", [0.001, 43200], [0, 0.0009, 43200.001, "1", True]),
    ("delay_s", [0, 0.001, 31_622_400], [-0.001, 31_622_400.001, "1"]),
    ("ttl_s", [0.001, 31_622_400], [0, 0.0009, 31_622_400.001, "1"]),
    ("max_messages", [1, 1.0, 2**53 - 1], [0, -1, 1.5, 2**53, "1"]),
    ("max_bytes", [1, 2**53 - 1], [0, 1.5, 2**53, "1"]),
    ("overflow", ["reject", "drop_oldest"], ["", "drop", 1]),
    ("max_deliveries", [1, 1000], [0, 1001, 1.5, "1"]),
    ("dead_letter_topic", ["a", "x" * 128, "..."], ["", "x" * 129, "a b", "a\n", 1, ".", ".."]),
    ("dedup_window_s", [1, 86400], [0.999, 86400.001, "1"]),
]


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic."""
    assert (await client.put(T)).status_code == 201
    yield client


class TestCreation:
    async def test_it_is_idempotent(self, client: httpx.AsyncClient) -> None:
        for status, body in ((201, {}), (200, {}), (200, {"dedup_window_s": 300}), (200, dict.fromkeys(DEFAULTS))):
            answer = await client.put("/v1/topics/new", json=body)
            assert (answer.status_code, answer.headers["location"]) == (status, "/v1/topics/new")
            assert answer.json() == {"name": "new", "settings": DEFAULTS}
        check(await client.put("/v1/topics/new", json={"dedup_window_s": 7}), 409, "topic_exists")
        assert (await client.put("/v1/topics/new")).status_code == 200

    async def test_all_settings_are_as_they_were_sent(self, client: httpx.AsyncClient) -> None:
        answer = await client.put("/v1/topics/new", json=OTHERS)
        assert answer.json() == {"name": "new", "settings": OTHERS}
        assert (await client.get("/v1/topics/new")).json()["settings"] == OTHERS
        assert b'"lease_s":0.001,' in answer.content and b'"ttl_s":60,' in answer.content

    @pytest.mark.parametrize(
        ("path", "field", "value", "says"),
        [
            ("/v1/topics/never", "overflow", "drop", "Expected 'reject' or 'drop_oldest', got 'drop'"),
            (f"{T}/subscriptions/never", "start", "last", "Expected 'earliest', 'latest' or a sequence, got 'last'"),
        ],
    )
    async def test_another_word_is_answered_by_the_choices(
        self, client: httpx.AsyncClient, path: str, field: str, value: str, says: str
    ) -> None:
        answer = await client.put(path, json={field: value})
        assert check(answer, 400, "invalid_body") == f"{says} - at `$.{field}`."

    @pytest.mark.parametrize(("field", "takes", "refuses"), LIMITS, ids=[row[0] for row in LIMITS])
    async def test_limits(
        self, client: httpx.AsyncClient, field: str, takes: list[object], refuses: list[object]
    ) -> None:
        for number, value in enumerate(takes):
            for answer in (
                await client.put(f"/v1/topics/n{number}", json={field: value}),
                await client.patch(T, json={field: value}),
            ):
                assert answer.status_code in (200, 201), answer.text
            assert (await client.get(T)).json()["settings"][field] == value
        for value in refuses:
            for answer in (
                await client.put("/v1/topics/never", json={field: value}),
                await client.patch(T, json={field: value}),
            ):
                assert f"$.{field}" in check(answer, 400, "invalid_body")

    async def test_what_nobody_knows_is_refused(self, client: httpx.AsyncClient) -> None:
        assert "`colour`" in check(await client.put("/v1/topics/new", json={"colour": 1}), 400, "invalid_body")
        check(await client.put("/v1/topics/new", content=b"{}"), 415, "unsupported_media_type")
        answer = await client.put("/v1/topics/new", content=b'{"ttl_s": 1, "ttl_s": 2}', headers=JSON)
        assert "twice" in check(answer, 400, "invalid_body")

    async def test_no_topic_is_its_own_dead_letter_topic(self, client: httpx.AsyncClient) -> None:
        for answer in (
            await client.put("/v1/topics/new", json={"dead_letter_topic": "new"}),
            await client.patch(T, json={"dead_letter_topic": "t"}),
        ):
            check(answer, 422, "invalid_settings")

    @pytest.mark.parametrize("name", ["a b", "%00", "%C3%A9", "x" * 129, "a%0A", "a:b", "%2E", "%2E%2E"])
    async def test_names_that_no_topic_has(self, client: httpx.AsyncClient, name: str, node: FakeNode) -> None:
        before = node.submitted
        for answer in (
            await client.put(f"/v1/topics/{name}"), await client.get(f"/v1/topics/{name}"),
            await client.post(f"/v1/topics/{name}/messages", json={"body": 1}),
            await client.get(f"/v1/topics/{name}/subscriptions/s"),
        ):  # fmt: skip
            check(answer, 400, "invalid_topic")
        assert node.submitted == before

    async def test_the_longest_name(self, client: httpx.AsyncClient) -> None:
        assert (await client.put(f"/v1/topics/{'x' * 128}")).status_code == 201


class TestLooking:
    async def test_counts(self, client: httpx.AsyncClient, node: FakeNode) -> None:
        assert (await client.get(T)).json()["oldest_age_s"] is None
        await client.patch(T, json={"max_deliveries": 1})
        await publish(client, *range(6))
        node.ahead_ms += 5000
        await publish(client, "later", delay_s=100)
        done, dead, *_ = await receive(client, max=4)
        await settle(client, "ack", done["token"])
        await settle(client, "nack", dead["token"])
        found = (await client.get(T)).json()
        assert found["name"] == "t" and found["version"] == 2
        assert found["created_at"].endswith("Z")
        assert (found["messages"], found["bytes"]) == (6, 5 + len('"later"'))
        assert found["subscriptions"] == [
            {"name": "default", "start": 1, "ready": 2, "leased": 2, "delayed": 1, "dead": 1}
        ]
        assert 0 <= found["oldest_age_s"] < 5

    async def test_the_age_of_the_oldest(self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
        await publish(client, 1)
        now_ns = time.time_ns()
        monkeypatch.setattr(time, "time_ns", lambda: now_ns + 7_000_000_000)
        assert 7 <= (await client.get(T)).json()["oldest_age_s"] < 9
        monkeypatch.setattr(time, "time_ns", lambda: now_ns - 7_000_000_000)
        assert (await client.get(T)).json()["oldest_age_s"] == 0

    async def test_delete(self, client: httpx.AsyncClient) -> None:
        answer = await client.delete(T)
        assert (answer.status_code, answer.content) == (204, b"")
        check(await client.delete(T), 404, "topic_not_found")
        check(await client.get(T), 404, "topic_not_found")
        check(await client.patch(T, json={}), 404, "topic_not_found")


class TestVersions:
    async def test_a_change_is_another_version(self, client: httpx.AsyncClient) -> None:
        assert (await client.get(T)).headers["etag"] == '"1"'
        answer = await client.patch(T, json={"lease_s": 7, "ttl_s": 9})
        assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, {"name": "t", "version": 2}, '"2"')
        found = await client.get(T)
        assert (found.headers["etag"], found.json()["settings"]) == ('"2"', {**DEFAULTS, "lease_s": 7, "ttl_s": 9})
        assert (await client.patch(T, json={"lease_s": 7})).headers["etag"] == '"2"', "nothing has changed"

    async def test_null_takes_a_setting_away(self, client: httpx.AsyncClient) -> None:
        nullable = [name for name, value in DEFAULTS.items() if value is None]
        await client.patch(T, json={name: OTHERS[name] for name in nullable})
        assert (await client.get(T)).json()["settings"] == {**DEFAULTS, **{name: OTHERS[name] for name in nullable}}
        await client.patch(T, json=dict.fromkeys(nullable))
        assert (await client.get(T)).json()["settings"] == DEFAULTS
        for name in ("lease_s", "delay_s", "overflow", "dedup_window_s"):
            assert f"$.{name}" in check(await client.patch(T, json={name: None}), 400, "invalid_body")

    async def test_only_the_version_that_was_seen(self, client: httpx.AsyncClient) -> None:
        for etag, status in (('"1"', 200), ('"1"', 412), ('"2"', 200), ("*", 200), (' "4" ', 200)):
            lease_s = (await client.get(T)).json()["settings"]["lease_s"] + 1
            answer = await client.patch(T, json={"lease_s": lease_s}, headers={"if-match": etag})
            if status == 412:
                assert "version 2" in check(answer, 412, "version_conflict")
            else:
                assert answer.status_code == status, answer.text
        assert (await client.get(T)).headers["etag"] == '"5"'

    @pytest.mark.parametrize("etag", ['"0"', '"x"', '""', 'W/"1"', '"01"', '"-1"', '"' + "9" * 40 + '"'])
    async def test_an_etag_that_no_version_has(self, client: httpx.AsyncClient, etag: str, node: FakeNode) -> None:
        before = node.submitted
        check(await client.patch(T, json={}, headers={"if-match": etag}), 412, "version_conflict")
        assert node.submitted == before

    @pytest.mark.parametrize("etag", ["1", "", '"1', '"1", "2"', "W/1", '"a b"'])
    async def test_what_is_no_etag(self, client: httpx.AsyncClient, etag: str) -> None:
        assert "If-Match" in check(await client.patch(T, json={}, headers={"if-match": etag}), 400, "invalid_header")

    async def test_priorities_cannot_be_changed(self, client: httpx.AsyncClient) -> None:
        assert "`priorities`" in check(await client.patch(T, json={"priorities": True}), 400, "invalid_body")

    async def test_a_body_is_needed(self, client: httpx.AsyncClient) -> None:
        check(await client.patch(T), 415, "unsupported_media_type")
        check(await client.patch(T, content=b"", headers=JSON), 400, "malformed_json")
        merge = {"content-type": "application/merge-patch+json"}
        assert (await client.patch(T, content=b"{}", headers=merge)).status_code == 200


class TestPages:
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
        assert page["items"][0] == (await client.get("/v1/topics/p0")).json()
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

    @pytest.mark.parametrize("query", ["limit=1", "limit=1000", "prefix=" + "x" * 128, "prefix="])
    async def test_a_query_at_its_limits(self, client: httpx.AsyncClient, query: str) -> None:
        assert (await client.get(f"/v1/topics?{query}")).status_code == 200

    async def test_only_a_stale_read_asks_nobody(self, client: httpx.AsyncClient, node: FakeNode) -> None:
        paths = ("/v1/topics", T, f"{T}/messages", f"{T}/subscriptions", f"{T}/subscriptions/default", f"{T}/schedules")
        for path in paths:
            before = node.barriers
            assert (await client.get(f"{path}?consistency=stale")).status_code == 200
            assert node.barriers == before
            assert (await client.get(path)).status_code == 200
            assert (await client.get(f"{path}?consistency=linearizable")).status_code == 200
            assert node.barriers == before + 2
            with node.failing(NoQuorum()):
                check(await client.get(path), 503, "no_quorum")
