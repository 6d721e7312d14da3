"""Create, delete, list; and what a deleted topic leaves behind."""

from __future__ import annotations

import pytest

from app.broker import topics
from app.broker.commands import CreateTopic, DeleteTopic, NewMessage, Publish, Receive, TopicSettings
from app.broker.results import Refused, TopicCreated, TopicDeleted, TopicExists
from tests.broker.feed import START_MS, Feed


def rows(feed: Feed) -> int:
    """Messages that lie in the table, reachable or not."""
    connection = feed.machine._connection
    return connection.execute("SELECT count(*) FROM message").fetchall()[0][0]


def test_of_concurrent_creates_exactly_one_makes_the_topic(feed: Feed) -> None:
    answers = feed.all(*[CreateTopic("new")] * 3)
    assert answers == [TopicCreated(), TopicExists(True), TopicExists(True)]


def test_a_create_with_other_settings_says_so(feed: Feed) -> None:
    assert feed.create("t", dedup_window_ms=1000) == TopicExists(False)
    assert feed.create("u", dedup_window_ms=1000) == TopicCreated()
    assert feed.create("u", dedup_window_ms=1000) == TopicExists(True)
    assert feed.machine.topic("u").settings.dedup_window_ms == 1000


def test_settings_that_do_not_work_yet_are_refused(feed: Feed) -> None:
    answer = feed.one(CreateTopic("u", TopicSettings(max_messages=5)))
    assert isinstance(answer, Refused) and answer.code == "not_supported"
    assert feed.machine.topic("u") is None


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
    counts = feed.machine.counts()
    assert (counts.topics, counts.messages, counts.size_bytes, counts.claims) == (2, 1, 3, 0)


def test_an_unknown_topic_is_refused_by_every_command(feed: Feed) -> None:
    for command in (DeleteTopic("no"), Publish("no", [NewMessage(b"")]), Receive("no")):
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


def test_what_a_deleted_topic_left_goes_a_little_with_every_apply(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "REAP_ROWS", 10)
    for name in ("big", "small"):
        feed.create(name)
    feed.fill(35, topic="big")
    feed.fill(5, topic="small")
    feed.publish(b"stays")
    feed.all(DeleteTopic("big"), DeleteTopic("small"))
    left = [rows(feed)]
    for _ in range(6):
        feed.machine.apply([feed.items(DeleteTopic("none"))[0]])
        left.append(rows(feed))
        assert feed.machine.audit() == feed.machine.state_hash()[1]
    assert left == [31, 21, 11, 6, 1, 1, 1]
    assert [message.body for message in feed.receive(9)] == [b"stays"]


def test_large_bodies_are_swept_in_smaller_portions(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "REAP_BYTES", 250_000)
    feed.create("u")
    feed.fill(10, size_bytes=100_000, topic="u")
    feed.one(DeleteTopic("u"))
    left = [rows(feed)]
    for _ in range(4):
        feed.one(DeleteTopic("none"))
        left.append(rows(feed))
    assert left == [8, 6, 4, 2, 0]
    feed.one(DeleteTopic("none"))
    assert feed.machine._state.dead_topic is None
