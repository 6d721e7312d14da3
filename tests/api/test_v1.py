"""The routes of /v1: the cluster, problems that any route may end in, health and metrics."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from app.broker import StateFull
from app.node.errors import DiskFull, NodeError, NoQuorum, OutcomeUnknown, Overloaded
from app.node.status import MemberStatus
from tests.api.asking import check
from tests.api.conftest import Live
from tests.api.fake_node import FakeNode

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """With one topic."""
    assert (await client.put("/v1/topics/t")).status_code == 201
    yield client


class TestCluster:
    async def test_members(self, client: httpx.AsyncClient) -> None:
        found = (await client.get("/v1/cluster")).json()
        assert (found["node"], found["leader"], found["term"]) == (0, 0, 1)
        here, there, _ = found["members"]
        assert (here["reachable"], here["role"], here["lag"]) == (True, "Leader", 0)
        assert (there["reachable"], there["role"], there["url"]) == (False, None, "http://127.0.0.1:8002")

    async def test_one_answer_is_of_one_moment(
        self, client: httpx.AsyncClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gathered = await node.cluster()

        async def cluster() -> list[MemberStatus]:
            node.leader = 2
            return gathered

        monkeypatch.setattr(node, "cluster", cluster)
        found = (await client.get("/v1/cluster")).json()
        own = found["members"][0]
        assert (found["node"], found["leader"], found["term"]) == (own["node"], own["leader"], own["term"])

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
                await client.patch("/v1/topics/t", json={}), await client.post("/v1/topics/t:purge"),
                await client.post("/v1/topics/t:redrive"), await client.put("/v1/topics/t/subscriptions/s"),
                await client.put("/v1/topics/t/schedules/s", json={"cron": "* * * * *", "message": {"body": 1}}),
                await client.post("/v1/topics/t/messages:ack", json={"tokens": ["x"]}),
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
            ("POST", "/v1/topics", "GET"), ("POST", "/v1/topics/t", "DELETE, GET, PATCH, PUT"),
            ("PUT", "/v1/topics/t/messages", "GET, POST"), ("GET", "/v1/topics/t/messages:receive", "POST"),
            ("DELETE", "/v1/topics/t/subscriptions", "GET"), ("POST", "/v1/topics/t/schedules/s", "DELETE, GET, PUT"),
            ("GET", "/v1/cluster/transfer", "POST"), ("GET", "/v1/topics/t:purge", "POST"),
            ("PUT", "/v1/topics/t:redrive", "POST"), ("DELETE", "/livez", "GET, HEAD"), ("POST", "/docs", "GET"),
        ],
    )  # fmt: skip
    async def test_methods(self, client: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
        answer = await client.request(method, path)
        check(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed

    @pytest.mark.parametrize("action", ["purg", "receive", "", "purge:redrive:"])
    async def test_a_mistyped_action_is_told_those_there_are(self, client: httpx.AsyncClient, action: str) -> None:
        detail = check(await client.post(f"/v1/topics/t:{action}"), 404, "route_not_found")
        assert ":purge and :redrive" in detail

    async def test_no_room_to_answer_a_question_is_said(
        self, client: httpx.AsyncClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_room(*_: object) -> None:
            raise StateFull("no disk space")

        monkeypatch.setattr(node.machine, "topic", no_room)
        answer = await client.get("/v1/topics/t")
        assert "this node's disk" in check(answer, 507, "disk_full").lower()
        assert answer.headers["retry-after"] == "5"

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

    async def test_a_prober_may_send_head(self, live: Live) -> None:
        ready = b"HEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
        with socket.create_connection(("127.0.0.1", live.port), timeout=5) as connection:
            for is_ready, status in ((False, b"503 Service Unavailable"), (True, b"200 OK")):
                live.node.ready = is_ready
                connection.sendall(ready + b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                answers = b""
                while answers.count(b"\r\n\r\n") < 2:
                    answers += connection.recv(65536)
                first, second, rest = answers.split(b"\r\n\r\n")
                assert first.startswith(b"HTTP/1.1 " + status)
                assert second.startswith(b"HTTP/1.1 200 OK")
                assert rest == b"", "an answer to HEAD has no body"

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
