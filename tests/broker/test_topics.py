"""Create, change, delete, purge, list."""

from __future__ import annotations

import msgspec
import pytest

from app.broker import Item
from app.broker.commands import (
    DAY_MS,
    LEASE_MS_MAX,
    SPAN_MS_MAX,
    ChangeTopic,
    CreateTopic,
    DeleteTopic,
    NewMessage,
    Publish,
    Purge,
    Receive,
    SettingsChange,
    TopicSettings,
)
from app.broker.results import (
    Purged,
    Refused,
    TopicChanged,
    TopicCreated,
    TopicDeleted,
    TopicExists,
    decode,
)
from tests.broker.feed import START_MS, Feed


def test_of_concurrent_creates_exactly_one_makes_the_topic(feed: Feed) -> None:
    answers = feed.all(*[CreateTopic("new")] * 3)
    assert answers == [TopicCreated(), TopicExists(True), TopicExists(True)]


def test_a_create_with_other_settings_says_so(feed: Feed) -> None:
    assert feed.create("t", dedup_window_ms=1000) == TopicExists(False)
    assert feed.create("u", dedup_window_ms=1000) == TopicCreated()
    assert feed.create("u", dedup_window_ms=1000) == TopicExists(True)
    assert feed.machine.topic("u").settings.dedup_window_ms == 1000


def test_every_setting_counts_when_creates_are_compared(feed: Feed) -> None:
    others = {
        "lease_ms": 1, "delay_ms": 1, "ttl_ms": 1, "max_messages": 1, "max_bytes": 1, "overflow": "drop_oldest",
        "max_deliveries": 1, "dead_letter_topic": "d", "dedup_window_ms": 1000, "priorities": True,
    }  # fmt: skip
    assert set(others) == set(TopicSettings.__struct_fields__)
    for name, value in others.items():
        assert feed.create("t", **{name: value}) == TopicExists(False)
    assert feed.create("all", **others) == TopicCreated()
    assert feed.create("all", **others) == TopicExists(True)


LIMITS = [
    ("lease_ms", 1, LEASE_MS_MAX), ("delay_ms", 0, SPAN_MS_MAX), ("ttl_ms", 1, SPAN_MS_MAX),
    ("max_messages", 1, 1 << 62), ("max_bytes", 1, 1 << 62), ("max_deliveries", 1, 1000),
    ("dedup_window_ms", 1000, DAY_MS),
]  # fmt: skip


@pytest.mark.parametrize(("name", "least", "most"), LIMITS)
def test_settings_at_below_and_above_their_limits(feed: Feed, name: str, least: int, most: int) -> None:
    for number, value in enumerate((least, most)):
        assert feed.create(f"u{number}", **{name: value}) == TopicCreated()
        assert isinstance(feed.one(ChangeTopic("t", SettingsChange(**{name: value}))), TopicChanged)
    for value in (least - 1, most + 1):
        assert feed.refused(CreateTopic("v", TopicSettings(**{name: value}))) == "bad_command"
        assert feed.refused(ChangeTopic("t", SettingsChange(**{name: value}))) == "bad_command"


def test_a_change_is_of_what_it_names(feed: Feed) -> None:
    feed.create("u", lease_ms=5, ttl_ms=7)
    assert feed.one(ChangeTopic("u", SettingsChange(ttl_ms=None, max_messages=3))) == TopicChanged(2)
    assert feed.machine.topic("u").settings == TopicSettings(lease_ms=5, max_messages=3)
    assert feed.one(ChangeTopic("u", SettingsChange(max_messages=3))) == TopicChanged(2), "nothing changed"
    assert feed.create("u", lease_ms=5, max_messages=3) == TopicExists(True)


def test_a_change_may_ask_for_the_version_that_it_knows(feed: Feed) -> None:
    change = SettingsChange(lease_ms=5)
    assert feed.refused(ChangeTopic("t", change, 2)) == "version_conflict"
    assert feed.one(ChangeTopic("t", change, 1)) == TopicChanged(2)
    assert feed.refused(ChangeTopic("t", SettingsChange(lease_ms=6), 1)) == "version_conflict"
    assert feed.refused(ChangeTopic("no", change)) == "topic_not_found"
    assert feed.machine.topic("t").version == 2


def test_new_settings_hold_for_what_comes(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    [before] = feed.lease()
    change = SettingsChange(lease_ms=5, ttl_ms=50, delay_ms=10, dedup_window_ms=1000)
    feed.one(ChangeTopic("t", change))
    [after] = feed.lease()
    assert (before.lease_expires_ms, after.lease_expires_ms) == (feed.now_ms + 30_000, feed.now_ms + 5)
    feed.publish(b"3")
    assert feed.counts() == (0, 2, 1, 0)
    feed.tick(50)
    assert feed.counts() == (1, 1, 0, 0), "the new message is over, the old ones are not"


def test_priorities_cannot_be_changed(feed: Feed) -> None:
    assert "priorities" not in SettingsChange.__struct_fields__
    data = msgspec.msgpack.encode([8, "t", {"priorities": True}, None])
    [answer] = feed.machine.apply([Item(feed.machine.applied_index + 1, 1, 0, data)])
    assert answer is not None and decode(answer).code == "bad_command"


def test_names_are_case_sensitive_and_may_be_anything(feed: Feed) -> None:
    for name in ("T", "t ", "ü/€?", "名前", "'; DROP TABLE topic; --", "x" * 512):
        assert feed.create(name) == TopicCreated()
        feed.publish(name.encode(), topic=name)
    assert [message.body for message in feed.receive(topic="T")] == [b"T"]
    assert feed.receive(topic="t") == []


def test_topics_are_listed_in_the_order_of_creation_by_pages(feed: Feed) -> None:
    names = [f"n{i * 7 % 10}" for i in range(10)]
    for name in names:
        feed.create(name)
    feed.one(DeleteTopic("n7"))
    feed.create("n7")
    names.remove("n7")
    expected = ["t", *names, "n7"]
    assert [info.name for info in feed.machine.topics()] == expected
    listed, after = [], 0
    while page := feed.machine.topics(limit=3, after=after):
        assert len(page) <= 3
        listed += [info.name for info in page]
        after = page[-1].id
    assert listed == expected
    assert [info.name for info in feed.machine.topics(prefix="n", limit=2)] == names[:2]
    assert feed.machine.topics(prefix="n%") == []


def test_info_tells_what_a_topic_holds(feed: Feed) -> None:
    feed.now_ms += 5
    feed.create("u")
    feed.publish(b"12", b"345", topic="u")
    feed.receive(topic="u")
    info = feed.machine.topic("u")
    assert (info.created_ms, info.messages, info.size_bytes, info.next_sequence) == (START_MS + 5, 1, 3, 3)
    assert (info.oldest_ms, info.version, info.ready) == (START_MS + 5, 1, 1)
    counts = feed.machine.counts()
    assert (counts.topics, counts.messages, counts.size_bytes, counts.claims) == (2, 1, 3, 0)


def test_an_unknown_topic_is_refused_by_every_command(feed: Feed) -> None:
    for command in (DeleteTopic("no"), Publish("no", [NewMessage(b"")]), Receive("no"), Purge("no")):
        answer = feed.one(command)
        assert isinstance(answer, Refused) and answer.code == "topic_not_found"
    assert feed.machine.topic("no") is None


def test_a_deleted_topic_takes_its_messages_along(feed: Feed) -> None:
    feed.publish(b"old")
    assert feed.one(DeleteTopic("t")) == TopicDeleted()
    assert feed.machine.topic("t") is None
    feed.create()
    assert feed.receive() == []
    [message] = feed.publish(b"new")
    assert message.sequence == 1
    assert [message.body for message in feed.receive(9)] == [b"new"]


def test_delete_and_create_in_one_batch(feed: Feed) -> None:
    publish = Publish("t", [NewMessage(b"1")])
    feed.all(publish, DeleteTopic("t"), CreateTopic("t"), publish, DeleteTopic("t"), CreateTopic("t"), publish)
    assert feed.machine.topic("t").messages == 1
    assert len(feed.receive(9)) == 1


def test_a_purge_takes_all_messages_and_sequences_go_on(feed: Feed) -> None:
    feed.publish(b"1", b"2", b"3")
    feed.publish(b"later", delay_ms=10)
    feed.lease()
    feed.receive()
    assert feed.one(Purge("t")) == Purged(3)
    assert (feed.stored(), feed.machine.topic("t").size_bytes, feed.counts()) == (0, 0, (0, 0, 0, 0))
    assert feed.one(Purge("t")) == Purged(0)
    feed.tick(60_000)
    [message] = feed.publish(b"new")
    assert message.sequence == 5
    assert feed.bodies() == [b"new"]
