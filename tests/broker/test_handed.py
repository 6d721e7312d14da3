"""What is remembered of leases shows in nothing but time: each case with the memory, and without."""

from __future__ import annotations

import pytest

from app.broker import handed
from app.broker.commands import Ack, Receive
from app.broker.handed import Handed, Item, Lease
from app.broker.results import LEASE_LOST
from tests.broker.feed import Feed, tokens


@pytest.fixture(params=[10_000, 0], ids=["remembered", "forgotten"])
def fed(request: pytest.FixtureRequest, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> Feed:
    monkeypatch.setattr(handed, "MESSAGES_MAX", request.param)
    return feed


def statements(feed: Feed, command: Ack) -> list[str]:
    """What SQLite is asked for it."""
    asked: list[str] = []
    feed.machine._connection.set_trace_callback(asked.append)
    assert set(feed.settled(command)) == {None}
    feed.machine._connection.set_trace_callback(None)
    return asked


def test_an_ack_of_what_was_just_received_reads_no_message_and_no_lease(feed: Feed) -> None:
    feed.publish(b"1", b"2", b"3")
    first, others = feed.lease(1), feed.lease(2)
    for leased in (first, others):
        asked = statements(feed, Ack("t", tokens(*leased)))
        assert not [each for each in asked if each.startswith("SELECT")], asked


def test_whole_leases_parts_of_them_and_the_same_twice(fed: Feed) -> None:
    fed.publish(*[b"%d" % i for i in range(60)])
    one, two, three, four = (fed.lease(15) for _ in range(4))
    assert fed.ack(*one, *two) == [None] * 30
    assert fed.ack(*reversed(three)) == [None] * 15
    assert fed.ack(*four[:5], *four[:5]) == [None] * 10
    assert fed.ack(*four[4:], *one) == [None] * 26
    assert fed.stored() == 0


def test_an_extended_lease_is_as_long_as_was_said(fed: Feed) -> None:
    fed.publish(*[b""] * 20)
    leased = fed.lease(20, lease_ms=1000)
    assert fed.extend(*leased, lease_ms=5000) == [None] * 20
    assert fed.extend(*leased[:3], lease_ms=100) == [None] * 3
    fed.tick(2000)
    assert fed.counts() == (3, 17, 0, 0)
    assert fed.ack(*leased[3:]) == [None] * 17
    fed.tick(10_000)
    assert fed.counts() == (3, 0, 0, 0)


def test_a_message_whose_time_is_over_while_it_is_leased(fed: Feed) -> None:
    """Its row changes then, behind the lease."""
    fed.publish(*[b""] * 20, ttl_ms=1000)
    leased = fed.lease(20)
    fed.tick(5000)
    assert fed.ack(*leased[:10]) == fed.nack(*leased[10:]) == [None] * 10
    assert fed.stored() == 0


def test_a_lease_that_ends_gives_all_of_it_back_and_its_tokens_with_it(fed: Feed) -> None:
    fed.publish(*[b"%d" % i for i in range(20)])
    leased = fed.lease(20, lease_ms=1000)
    fed.tick(1000)
    again = fed.lease(20)
    assert [each.deliveries for each in again] == [2] * 20
    assert fed.ack(*leased) == [LEASE_LOST] * 20
    assert fed.ack(*again) == [None] * 20


def test_a_token_for_another_topic_or_one_made_anew_is_lost(fed: Feed) -> None:
    fed.create("u")
    fed.publish(b"1", b"2")
    leased = fed.lease(2)
    assert fed.ack(*leased, topic="u") == [LEASE_LOST] * 2
    fed.one(Receive("t"))
    assert fed.ack(*leased) == [None] * 2


def lease(id: int, messages: int) -> Lease:
    items = [Item(0, 10 * id + n, 1, 0) for n in range(messages)]
    return Lease((id, 1, 0, b""), items, {(0, item.sequence): () for item in items})


def test_the_memory_is_bounded_and_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handed, "MESSAGES_MAX", 5)
    monkeypatch.setattr(handed, "BYTES_MAX", 100)
    memory = Handed()

    def there() -> list[int]:
        return [each.row[0] for each in memory.all()]

    for id in (1, 2, 3):
        memory.remember(lease(id, 2), 10)
    assert there() == [2, 3], "six messages are too many"
    memory.remember(lease(4, 1), 90)
    assert there() == [3, 4], "and so are 110 bytes"
    memory.changed(*lease(3, 1)[:2])
    assert [len(each.items) for each in memory.all()] == [1, 1]
    memory.forget(3)
    memory.forget(3)
    memory.remember(lease(5, 1), 101)
    assert there() == [], "what is too large alone is not remembered"
    memory.remember(lease(6, 5), 100)
    assert there() == [6]
    memory.forget_all()
    memory.remember(lease(7, 5), 100)
    assert there() == [7]
