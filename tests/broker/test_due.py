"""What happens when its time has come: never early, the same at the same entry, a bounded number with each."""

from __future__ import annotations

import pytest

from app.broker import Item, Machine, handlers
from app.broker.commands import DeleteTopic, NewMessage, Publish, Purge
from tests.broker.feed import START_MS, Feed


def test_nothing_ends_early_and_all_that_is_due_ends_with_the_next_entry(feed: Feed) -> None:
    feed.publish(NewMessage(b"leased"), NewMessage(b"back"), NewMessage(b"later", delay_ms=100))
    feed.publish(NewMessage(b"short", ttl_ms=100))
    _, back = feed.lease(2, lease_ms=100)
    feed.nack(back, delay_ms=100)
    feed.tick(99)
    assert (feed.counts(), feed.stored()) == ((1, 1, 2, 0), 4)
    feed.tick(1)
    assert (feed.counts(), feed.stored()) == ((3, 0, 0, 0), 3)
    assert feed.bodies() == [b"leased", b"back", b"later"]


@pytest.mark.parametrize("kind", ["no command", "configuration", "nonsense", "publish elsewhere"])
def test_any_entry_will_do(feed: Feed, kind: str) -> None:
    feed.create("u")
    feed.publish(b"1")
    feed.lease(lease_ms=10)
    command = {"nonsense": b"?", "publish elsewhere": feed.items(Publish("u", [NewMessage(b"")]))[0].command}.get(kind)
    configuration = b"c" if kind == "configuration" else None
    feed.machine.apply([Item(feed.machine.applied_index + 1, 1, START_MS + 10, command, configuration)])
    assert feed.counts() == (1, 0, 0, 0)


def test_time_passes_by_entries_alone(feed: Feed) -> None:
    """A stamp of the past ends nothing, nor does a machine that is opened years later."""
    feed.publish(b"1")
    feed.lease(lease_ms=10)
    feed.tick(-1_000_000)
    later = Machine.deserialize(feed.machine.serialize())
    assert later.topic("t") == feed.machine.topic("t")
    assert feed.counts() == (0, 1, 0, 0)
    later.close()


def test_the_machine_says_when_a_tick_is_wanted(feed: Feed) -> None:
    assert feed.machine.next_due_ms > 1 << 60
    feed.publish(b"1", delay_ms=50)
    feed.publish(b"2", ttl_ms=200)
    assert feed.machine.next_due_ms == feed.now_ms + 50
    feed.tick(50)
    assert feed.machine.next_due_ms == START_MS + 200
    [leased] = feed.lease(lease_ms=30)
    assert feed.machine.next_due_ms == feed.now_ms + 30
    feed.nack(leased, delay_ms=20)
    assert feed.machine.next_due_ms == feed.now_ms + 20
    copy = Machine.deserialize(feed.machine.serialize())
    assert copy.next_due_ms == feed.machine.next_due_ms
    copy.close()
    feed.tick(1000)
    assert feed.machine.next_due_ms > 1 << 60


def test_one_entry_does_only_so_much_of_it_and_a_tick_more(feed: Feed) -> None:
    assert (handlers.ROWS_BESIDE, handlers.ROWS_IN_A_TICK) == (32, 250)
    feed.fill(400)
    feed.lease(200, lease_ms=10)
    feed.lease(150, lease_ms=10)
    feed.now_ms += 10
    feed.one(DeleteTopic("none"))
    assert feed.counts()[1] == 350 - 32
    assert feed.machine.next_due_ms <= feed.now_ms
    feed.tick()
    assert feed.counts()[1] == 350 - 32 - 250
    feed.tick()
    assert feed.counts() == (400, 0, 0, 0)
    assert feed.machine.next_due_ms > feed.now_ms
    assert [int(body.split(b":")[0]) for body in feed.bodies()] == [*range(400)]


def test_a_lease_whose_end_waits_for_the_next_entry_is_still_good(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 1)
    feed.publish(b"1", b"2", b"3")
    leased = feed.lease(3, lease_ms=10)
    feed.now_ms += 10
    assert feed.nack(*leased, delay_ms=5) == ["lease_lost", None, None]
    assert feed.bodies() == [b"1"]


def test_what_belongs_to_nobody_any_more_is_passed_over(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 2)
    feed.create("u", lease_ms=10)
    feed.publish(*[b""] * 4, topic="u", delay_ms=10)
    feed.publish(*[b""] * 9, topic="u")
    feed.lease(3, "u")
    feed.nack(*feed.lease(3, "u"), topic="u", delay_ms=10)
    feed.publish(b"1")
    feed.lease(lease_ms=10)
    feed.one(DeleteTopic("u") if feed.machine.applied_index % 2 else Purge("u"))
    feed.now_ms += 10
    for _ in range(20):
        feed.one(DeleteTopic("none"))
    assert feed.counts() == (1, 0, 0, 0)
    assert feed.machine.next_due_ms > feed.now_ms
    assert feed.machine.audit() == feed.machine.state_hash()[1]


def test_whoever_waits_is_told(feed: Feed) -> None:
    heard: list[str] = []
    feed.machine.watch("t", heard.append)
    feed.publish(NewMessage(b"later", delay_ms=10))
    assert heard == []
    feed.tick(10)
    assert len(heard) == 1
    [leased] = feed.lease(lease_ms=10)
    feed.tick(10)
    assert len(heard) == 2
    [leased] = feed.lease()
    feed.nack(leased, delay_ms=10)
    assert len(heard) == 2
    feed.tick(10)
    assert len(heard) == 3
    feed.publish(NewMessage(b"short", ttl_ms=10))
    feed.tick(10)
    assert len(heard) == 4, "that a message is over is no news"
