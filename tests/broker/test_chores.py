"""Work too long for one command: it goes on with each, a little at a time, and nobody notices."""

from __future__ import annotations

import pytest

from app.broker import chores, handlers, packs
from app.broker.commands import CreateSubscription, DeleteSubscription, DeleteTopic, NewMessage, Purge, Tick
from tests.broker.feed import Feed

TABLES = ("message", "pack", "message_group", "lease", "aside", "turn", "shared", "owner", "chore")


def rows(feed: Feed, *tables: str) -> int:
    """How many there are, reachable or not."""
    connection = feed.machine._connection
    return sum(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in tables)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows with an entry, and a row for each message."""
    monkeypatch.setattr(packs, "LEAST", 1000)
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 10)
    monkeypatch.setattr(handlers, "ROWS_IN_A_TICK", 20)


def test_a_little_goes_with_every_entry_and_more_with_a_tick(slow: None, feed: Feed) -> None:
    for name in ("big", "small"):
        feed.create(name)
    feed.fill(45, topic="big")
    feed.fill(5, topic="small")
    feed.publish(b"stays")
    feed.all(DeleteTopic("big"), DeleteTopic("small"))
    left = [rows(feed, "message")]
    for command in (DeleteTopic("none"), Tick(), DeleteTopic("none"), Tick(), Tick()):
        feed.all(command)
        left.append(rows(feed, "message"))
        assert feed.machine.audit() == feed.machine.state_hash()[1]
    assert left == [41, 31, 11, 3, 1, 1]
    assert feed.bodies() == [b"stays"]


def test_ticks_are_wanted_until_all_is_done(slow: None, feed: Feed) -> None:
    never_ms = feed.machine.next_due_ms
    assert never_ms > 1 << 60
    feed.create("u")
    feed.fill(45, topic="u")
    feed.one(DeleteTopic("u"))
    ticks = 0
    while feed.machine.next_due_ms <= feed.now_ms:
        feed.tick()
        ticks += 1
    assert (ticks, feed.machine.next_due_ms) == (3, never_ms)


@pytest.mark.parametrize("way", ["delete", "purge"])
def test_nothing_is_left_of_what_is_gone(feed: Feed, way: str) -> None:
    before = rows(feed, *TABLES)
    feed.create("u", "s", lease_ms=1, max_deliveries=2)
    feed.publish(*(NewMessage(b"", group=f"g{i % 3}") for i in range(20)), topic="u")
    feed.publish(*[b""] * 20, topic="u", delay_ms=1000)
    feed.publish(*[b""] * 20, topic="u")
    feed.receive(5, "u", "s")
    for _ in range(2):
        feed.nack(*feed.lease(10, "u"), topic="u")
    feed.lease(10, "u")
    assert all(rows(feed, table) for table in TABLES[:-1])
    if way == "purge":
        assert feed.one(Purge("u")).messages == feed.stored("u") + 60
        assert (feed.counts("u"), feed.counts("u", "s")) == ((0, 0, 0, 0), (0, 0, 0, 0))
    feed.one(DeleteTopic("u"))
    for _ in range(10):
        feed.tick(1)
    assert rows(feed, *TABLES) == before
    assert feed.machine.audit() == feed.machine.state_hash()[1]


def test_large_bodies_go_in_smaller_portions(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "REAP_BYTES", 250_000)
    feed.create("u")
    feed.fill(9, size_bytes=100_000, topic="u")
    feed.publish(b"x" * 300_000, topic="u")
    feed.one(DeleteTopic("u"))
    left = []
    while feed.machine.next_due_ms == 0:
        feed.one(DeleteTopic("none"))
        left.append(rows(feed, "message"))
    assert left[:5] == [8, 6, 4, 2, 1]
    assert left[-1] == 0


def test_a_topic_made_anew_while_the_old_one_is_cleared_away_shares_nothing(slow: None, feed: Feed) -> None:
    feed.create("u")
    feed.fill(45, topic="u")
    feed.one(DeleteTopic("u"))
    feed.create("u")
    feed.publish(b"new", topic="u")
    for _ in range(9):
        feed.tick()
    assert feed.bodies(topic="u") == [b"new"]


def test_what_a_deleted_subscription_alone_had_kept_is_swept_away(slow: None, feed: Feed) -> None:
    feed.one(CreateSubscription("t", "s"))
    feed.publish(*(b"%d" % i for i in range(50)))
    feed.receive(35)
    feed.one(DeleteSubscription("t", "s"))
    feed.publish(b"new")
    left = [feed.stored()]
    while feed.machine.next_due_ms == 0:
        feed.tick()
        left.append(feed.stored())
        assert feed.machine.audit() == feed.machine.state_hash()[1]
    assert left[-1] == 16
    assert left == sorted(left, reverse=True) and len(left) > 2
    assert feed.bodies() == [*(b"%d" % i for i in range(35, 50)), b"new"]


def test_a_subscription_made_before_all_is_swept_keeps_what_it_finds(slow: None, feed: Feed) -> None:
    feed.one(CreateSubscription("t", "s"))
    feed.publish(*[b""] * 50)
    feed.receive(50)
    feed.one(DeleteSubscription("t", "s"))
    feed.one(CreateSubscription("t", "late", "earliest"))
    found = feed.counts(subscription="late")[0]
    for _ in range(5):
        feed.tick()
    assert found == feed.counts(subscription="late")[0] == feed.stored() == len(feed.bodies(subscription="late"))


def test_several_deletions_and_a_purge_in_between(slow: None, feed: Feed) -> None:
    for name in ("r", "s"):
        feed.one(CreateSubscription("t", name))
    feed.publish(*[b""] * 30)
    feed.receive(10)
    feed.all(DeleteSubscription("t", "r"), DeleteSubscription("t", "s"), Purge("t"))
    feed.publish(*[b""] * 3)
    for _ in range(20):
        feed.tick()
    assert feed.machine.next_due_ms > feed.now_ms
    assert (feed.stored(), len(feed.bodies())) == (3, 3)


def test_chores_of_a_topic_that_is_deleted_meanwhile_end(slow: None, feed: Feed) -> None:
    feed.create("u", "s")
    feed.fill(30, topic="u")
    feed.all(DeleteSubscription("u", "s"), DeleteTopic("u"))
    for _ in range(9):
        feed.tick()
    assert (feed.machine.next_due_ms > feed.now_ms, rows(feed, "message")) == (True, 0)
