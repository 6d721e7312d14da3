"""/metrics: what an operator alarms on. Counters and rates are tested beside what they count."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
import pytest

from app.api import metrics
from app.broker import StateFull
from tests.api.asking import T, publish, receive, settle
from tests.api.fake_node import FakeNode

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.anyio


async def lines(client: httpx.AsyncClient, *beginnings: str) -> list[str]:
    """The samples whose names begin so."""
    return [line for line in (await client.get("/metrics")).text.splitlines() if line.startswith(beginnings)]


async def test_the_leader_tells_of_the_others(client: httpx.AsyncClient, node: FakeNode) -> None:
    told = [
        'rmq_peer_lag_entries{peer="1"} 3.0', 'rmq_peer_reachable{peer="1"} 1.0', 'rmq_peer_reachable{peer="2"} 0.0',
    ]  # fmt: skip
    assert await lines(client, "rmq_peer") == told, "there is no lag where none is known"
    node.leader = 1
    assert await lines(client, "rmq_peer") == []


async def test_the_disk(client: httpx.AsyncClient, node: FakeNode) -> None:
    sizes = "rmq_disk_", "rmq_log_", "rmq_state_"
    assert await lines(client, *sizes) == [
        "rmq_disk_full 0.0", "rmq_disk_free_bytes 1000.0", "rmq_disk_owed_bytes 20.0", "rmq_disk_reserve_bytes 30.0",
        "rmq_log_size_bytes 40.0", "rmq_state_size_bytes 50.0",
    ]  # fmt: skip
    node.free_bytes = None
    assert "rmq_disk_owed_bytes 20.0" in await lines(client, *sizes)
    assert await lines(client, "rmq_disk_free_bytes") == [], "before it has looked"


async def test_the_age_of_the_oldest_message(
    client: httpx.AsyncClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for topic in ("t", "empty", "ahead"):
        await client.put(f"/v1/topics/{topic}")
    await publish(client, 1)
    node.ahead_ms = 3_600_000
    await publish(client, 1, topic="/v1/topics/ahead")
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 7_000_000_000)
    ages = dict(line.split() for line in await lines(client, "rmq_topic_oldest_message_age_seconds"))
    assert set(ages) == {f'rmq_topic_oldest_message_age_seconds{{topic="{topic}"}}' for topic in ("t", "ahead")}
    assert 7 <= float(ages['rmq_topic_oldest_message_age_seconds{topic="t"}']) < 9
    assert float(ages['rmq_topic_oldest_message_age_seconds{topic="ahead"}']) == 0, "the leader's clock is ahead"


async def test_messages_by_topic_subscription_and_state(client: httpx.AsyncClient) -> None:
    await client.put(T, json={"max_deliveries": 1})
    await client.put(f"{T}/subscriptions/s")
    await publish(client, *range(3))
    await publish(client, "later", delay_s=100)
    dead, *_ = await receive(client, max=2)
    await settle(client, "nack", dead["token"])
    counts = {"default": (1, 1, 1, 1), "s": (3, 0, 1, 0)}
    assert await lines(client, "rmq_subscription_messages") == [
        f'rmq_subscription_messages{{state="{state}",subscription="{name}",topic="t"}} {count:.1f}'
        for name, found in counts.items()
        for state, count in zip(("ready", "leased", "delayed", "dead"), found, strict=True)
    ]


async def test_topics_and_subscriptions_are_listed_up_to_a_bound(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "LISTED_TOPICS", 3)
    monkeypatch.setattr(metrics, "LISTED_SUBSCRIPTIONS", 4)
    for name in "abcd":
        await client.put(f"/v1/topics/{name}")
        await client.put(f"/v1/topics/{name}/subscriptions/s")
        await publish(client, 1, topic=f"/v1/topics/{name}")
    assert len(await lines(client, "rmq_topic_messages")) == 3
    assert len(await lines(client, "rmq_topic_oldest_message_age_seconds")) == 3
    assert len(await lines(client, "rmq_subscription_messages")) == 4 * 4


async def test_a_full_disk_hides_no_other_figure(
    client: httpx.AsyncClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.put(T)

    def full(*_: object, **__: object) -> None:
        raise StateFull("no disk space for the state")

    monkeypatch.setattr(node.machine, "topics", full)
    assert await lines(client, "rmq_disk_free_bytes", "rmq_topic") == ["rmq_disk_free_bytes 1000.0"]


async def test_names_are_as_prometheus_wants_them(client: httpx.AsyncClient) -> None:
    await client.put(T)
    await publish(client, 1)
    kinds = dict(line.split()[2:4] for line in await lines(client, "# TYPE rmq_"))
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items()), kinds
    helped = {line.split()[2] for line in await lines(client, "# HELP rmq_")}
    assert helped == set(kinds)
    told = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [name for name in kinds if not re.search(rf"`{name}(\{{\w+(,\w+)*\}})?`", told)] == [], "not in the table"
