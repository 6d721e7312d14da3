"""Commands under a key: done once, answered as often as asked."""

from __future__ import annotations

import pytest

from app.broker import dedup
from app.broker.commands import (
    Ack,
    ChangeTopic,
    Command,
    CreateSubscription,
    CreateTopic,
    DeleteTopic,
    Nack,
    NewMessage,
    Once,
    Publish,
    Purge,
    PutSchedule,
    Receive,
    Redrive,
    SettingsChange,
    encode,
)
from app.broker.dedup import ONCE_WINDOW_MS
from app.broker.results import (
    Purged,
    Redriven,
    ScheduleCreated,
    Settled,
    SubscriptionCreated,
    TopicChanged,
    TopicCreated,
    TopicDeleted,
)
from tests.broker.feed import Feed


def once(command: Command | bytes, key: str = "k", fingerprint: bytes = b"f") -> Once:
    return Once(key, fingerprint, command if isinstance(command, bytes) else encode(command))


def test_every_change_is_answered_as_it_was_the_first_time(feed: Feed) -> None:
    feed.create("dead")
    feed.create("u", max_deliveries=1)
    feed.publish(b"1", b"2", topic="u")
    feed.nack(*feed.lease(topic="u"), topic="u")
    [leased] = feed.lease(topic="u")
    expected = [
        (CreateTopic("new"), TopicCreated()),
        (ChangeTopic("new", SettingsChange(lease_ms=5), 1), TopicChanged(2)),
        (CreateSubscription("new", "s"), SubscriptionCreated(1)),
        (PutSchedule("new", "s", "* * * * *", "UTC", NewMessage(b""), 5), ScheduleCreated()),
        (DeleteTopic("new"), TopicDeleted()),
        (Redrive("u"), Redriven(1, 0, None)),
        (Ack("u", [leased.token or ""]), Settled([None])),
        (Purge("u"), Purged(1)),
    ]
    for number, (command, answer) in enumerate(expected):
        assert feed.one(once(command, f"k{number}")) == answer
    after = feed.machine.topics()
    for number, (command, answer) in enumerate(expected):
        assert feed.one(once(command, f"k{number}")) == answer
    assert feed.machine.topics() == after


def test_a_repeated_nack_is_safe_even_when_the_message_was_handed_out_again(feed: Feed) -> None:
    feed.publish(b"1")
    [message] = feed.lease()
    command = once(Nack("t", [message.token or ""]))
    assert feed.one(command) == Settled([None])
    feed.lease()
    assert feed.one(command) == Settled([None])
    assert feed.counts() == (0, 1, 0, 0)


def test_the_same_key_for_something_else_is_refused(feed: Feed) -> None:
    feed.one(once(CreateTopic("u")))
    assert feed.refused(once(CreateTopic("v"), fingerprint=b"other")) == "key_reused"
    assert feed.machine.topic("v") is None


def test_it_is_kept_for_five_minutes(feed: Feed) -> None:
    assert ONCE_WINDOW_MS == 5 * 60_000
    feed.one(once(CreateTopic("u")))
    feed.now_ms += ONCE_WINDOW_MS - 1
    assert feed.one(once(CreateTopic("u"))) == TopicCreated()
    feed.now_ms += 1
    assert feed.one(once(DeleteTopic("u"), fingerprint=b"other")) == TopicDeleted()


def test_a_refusal_does_not_use_up_the_key(feed: Feed) -> None:
    assert feed.refused(once(Purge("u"))) == "topic_not_found"
    assert feed.machine.counts().claims == 0
    feed.create("u")
    assert feed.one(once(Purge("u"))) == Purged(0)


def test_keys_are_of_the_whole_queue(feed: Feed) -> None:
    feed.create("u")
    assert feed.one(once(Purge("t"), fingerprint=b"1")) == Purged(0)
    assert feed.refused(once(Purge("u"), fingerprint=b"2")) == "key_reused"
    feed.publish(b"1", key="k")
    feed.receive(key="k")


def test_it_outlives_its_topic(feed: Feed) -> None:
    feed.one(once(DeleteTopic("t")))
    feed.create()
    assert feed.one(once(DeleteTopic("t"))) == TopicDeleted()
    assert feed.machine.topic("t") is not None


@pytest.mark.parametrize("inner", [Publish("t", [NewMessage(b"")]), Receive("t"), once(Purge("t")), b"", b"?"])
def test_what_cannot_be_inside(feed: Feed, inner: Command | bytes) -> None:
    assert feed.refused(once(inner)) == "bad_command"
    assert (feed.stored(), feed.machine.counts().claims) == (0, 0)


@pytest.mark.parametrize("wrong", [once(Purge("t"), ""), once(Purge("t"), "x" * 513), once(Purge("t"), "k", b"x" * 65)])
def test_keys_that_cannot_be(feed: Feed, wrong: Once) -> None:
    assert feed.refused(wrong) == "bad_command"
    assert feed.one(once(Purge("t"), "x" * 512, b"x" * 64)) == Purged(0)


def test_in_one_batch_too(feed: Feed) -> None:
    feed.publish(b"1")
    command = once(Purge("t"))
    answers = feed.all(command, Publish("t", [NewMessage(b"2")]), command)
    assert (answers[0], answers[2]) == (Purged(1), Purged(1))
    assert feed.bodies() == [b"2"]


def test_beyond_the_bound_the_oldest_goes(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "CLAIMS_MAX", 2)
    for name in ("a", "b", "c"):
        feed.one(once(CreateTopic(name), name))
    assert feed.machine.counts().claims == 2
    assert feed.one(once(CreateTopic("c"), "c")) == TopicCreated()
    assert feed.one(once(DeleteTopic("a"), "a")) == TopicDeleted()
