"""Messages a second, as this node saw them."""

from __future__ import annotations

import httpx
import pytest

from app.api import metrics
from app.api.metrics import Rates
from tests.api.asking import T, publish, receive, take


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.25

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> Rates:
    return Rates(clock)


def test_what_came_within_ten_seconds_counts(rates: Rates, clock: Clock) -> None:
    assert rates.of("t") == (0, 0)
    rates.add("t", published=41)
    assert rates.of("t") == (4, 0), "41 in the 10.25 s up to now"
    clock.now_s += 5.75
    rates.add("t", delivered=20)
    assert rates.of("t") == (4.1, 2)
    clock.now_s += 4.999
    assert rates.of("t")[0] == pytest.approx(41 / 10.999)
    clock.now_s += 0.001
    assert rates.of("t") == (0, 2)
    clock.now_s += 1000
    assert rates.of("t") == (0, 0)


def test_a_steady_stream_has_its_rate(rates: Rates, clock: Clock) -> None:
    for _ in range(300):
        clock.now_s += 0.1
        rates.add("t", published=2, delivered=1)
    assert rates.of("t") == (pytest.approx(20, rel=0.02), pytest.approx(10, rel=0.02))


def test_the_topic_that_was_idle_longest_is_forgotten(
    rates: Rates, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "RATED_TOPICS", 3)
    for name in "abca":
        rates.add(name, published=41)
    rates.add("d", delivered=41)
    assert len(rates._topics) == 3
    assert [rates.of(name) for name in "abcd"] == [(8, 0), (0, 0), (4, 0), (0, 4)]
    rates.add("b", published=41)
    assert [rates.of(name) for name in "abcd"] == [(8, 0), (4, 0), (0, 0), (0, 4)], "its rate began anew"


def test_a_topic_more_than_are_rated_looks_at_no_other_one(rates: Rates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 10,000 topics in turn: to look for the idle ones had held up the leader until it lost the leadership."""
    monkeypatch.setattr(metrics, "RATED_TOPICS", 3)
    monkeypatch.delattr(metrics.Rate, "per_second")
    for name in "abcdabcd":
        rates.add(name, published=1)


@pytest.mark.anyio
async def test_every_way_in_and_out_counts(client: httpx.AsyncClient) -> None:
    await client.put(T)
    await client.put("/message", json={"topic": "t", "message": "m"})
    await publish(client, 1, 2)
    await publish(client, 1, dedup_id="d")
    await publish(client, 1, dedup_id="d")
    await client.get("/message/t")
    await take(client, max=2)
    await receive(client)
    await receive(client)
    rates = (await client.get(T)).json()["rates"]
    assert rates["published_per_s"] == rates["delivered_per_s"] == pytest.approx(4 / 10.5, abs=0.03)
    lines = (await client.get("/metrics")).text.splitlines()
    assert "rmq_published_messages_total 4.0" in lines and "rmq_consumed_messages_total 4.0" in lines
