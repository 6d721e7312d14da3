"""Priorities: higher ones first, equal ones in order."""

from __future__ import annotations

import pytest

from app.broker.commands import CreateTopic, NewMessage, Publish, TopicSettings
from app.broker.results import TopicExists
from tests.broker.feed import Feed


@pytest.fixture
def ranked(feed: Feed) -> Feed:
    """Its topic "p" has priorities."""
    feed.create("p", priorities=True)
    return feed


def ranks(text: str) -> list[NewMessage]:
    """Messages "3a 0b …": the digit is the priority."""
    return [NewMessage(word.encode(), priority=int(word[0])) for word in text.split()]


def test_higher_ones_first_and_equal_ones_in_order(ranked: Feed) -> None:
    ranked.publish(*ranks("0a 9b 5c 9d 0e 1f 5g"), topic="p")
    assert [body.decode() for body in ranked.bodies(topic="p")] == ["9b", "9d", "5c", "5g", "1f", "0a", "0e"]


def test_all_ten_are_told_apart(ranked: Feed) -> None:
    ranked.publish(*(NewMessage(b"%d" % i, priority=i) for i in range(10)), topic="p")
    received = ranked.receive(99, "p")
    assert [message.priority for message in received] == list(range(9, -1, -1))


def test_a_higher_one_goes_before_one_that_came_back(ranked: Feed) -> None:
    ranked.publish(*ranks("1a 1b"), topic="p")
    ranked.nack(*ranked.lease(topic="p"), topic="p")
    ranked.publish(*ranks("2c"), topic="p")
    assert ranked.bodies(topic="p") == [b"2c", b"1a", b"1b"]


def test_a_delayed_one_takes_its_place_among_its_equals(ranked: Feed) -> None:
    ranked.publish(NewMessage(b"late", priority=3, delay_ms=10), *ranks("3a 3b 0c"), topic="p")
    assert ranked.bodies(1, "p") == [b"3a"]
    ranked.tick(10)
    assert ranked.bodies(topic="p") == [b"late", b"3b", b"0c"]


def test_a_message_has_a_group_or_a_priority(ranked: Feed) -> None:
    assert ranked.refused(Publish("p", [NewMessage(b"", group="g", priority=1)])) == "invalid_message"
    ranked.publish(*ranks("1a"), NewMessage(b"g", group="g"), *ranks("2b"), topic="p")
    assert ranked.bodies(topic="p") == [b"2b", b"g", b"1a"]


def test_only_topics_created_with_priorities_take_them(feed: Feed) -> None:
    assert feed.refused(Publish("t", [NewMessage(b""), NewMessage(b"", priority=1)])) == "invalid_message"
    assert feed.stored() == 0


@pytest.mark.parametrize("priority", [-1, 10])
def test_there_are_ten(ranked: Feed, priority: int) -> None:
    assert ranked.refused(Publish("p", [NewMessage(b"", priority=priority)])) == "bad_command"


def test_topics_with_and_without_are_not_the_same(ranked: Feed) -> None:
    assert ranked.one(CreateTopic("p")) == TopicExists(False)
    assert ranked.one(CreateTopic("p", TopicSettings(priorities=True))) == TopicExists(True)
