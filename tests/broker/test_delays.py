"""Messages that come later, and messages whose time is over."""

from __future__ import annotations

import pytest

from app.broker import choice, handlers
from app.broker.commands import SPAN_MS_MAX, NewMessage, Publish, Receive
from app.broker.results import LEASE_LOST, Received
from tests.broker.feed import Feed


def test_a_delayed_message_is_not_handed_out_before(feed: Feed) -> None:
    feed.publish(b"late", delay_ms=100)
    assert feed.counts() == (0, 0, 1, 0)
    feed.now_ms += 99
    assert feed.receive() == []
    feed.now_ms += 1
    [message] = feed.receive()
    assert (message.body, message.deliveries) == (b"late", 1)
    assert message.published_ms == feed.now_ms - 100


def test_the_delay_is_the_topics_where_the_message_says_none(feed: Feed) -> None:
    feed.create("u", delay_ms=100)
    feed.publish(NewMessage(b"1"), NewMessage(b"2", delay_ms=50), NewMessage(b"3", delay_ms=0), topic="u")
    assert feed.bodies(topic="u") == [b"3"]
    feed.tick(50)
    assert feed.bodies(topic="u") == [b"2"]
    feed.tick(50)
    assert feed.bodies(topic="u") == [b"1"]


def test_then_it_takes_its_place_by_its_sequence(feed: Feed) -> None:
    feed.publish(NewMessage(b"1"), NewMessage(b"2", delay_ms=10), NewMessage(b"3"), NewMessage(b"4"))
    assert feed.bodies(2) == [b"1", b"3"]
    feed.tick(10)
    assert feed.bodies() == [b"2", b"4"]


def test_one_that_arrives_before_its_turn_waits_in_order(feed: Feed) -> None:
    feed.publish(NewMessage(b"1"), NewMessage(b"2"), NewMessage(b"3", delay_ms=10), NewMessage(b"4"))
    feed.bodies(1)
    feed.tick(10)
    assert feed.bodies() == [b"2", b"3", b"4"]


def test_a_message_with_a_group_has_no_delay_of_its_own(feed: Feed) -> None:
    assert feed.refused(Publish("t", [NewMessage(b"", group="g", delay_ms=1)])) == "invalid_message"
    feed.publish(NewMessage(b"1", group="g", delay_ms=0))
    assert feed.bodies() == [b"1"]


@pytest.mark.parametrize("field", ["delay_ms", "ttl_ms"])
def test_a_year_is_the_longest(feed: Feed, field: str) -> None:
    feed.publish(b"1", **{field: SPAN_MS_MAX})
    least = {"delay_ms": 0, "ttl_ms": 1}[field]
    feed.publish(b"2", **{field: least})
    for value in (SPAN_MS_MAX + 1, least - 1):
        assert feed.refused(Publish("t", [NewMessage(b"", **{field: value})])) == "bad_command"


def test_a_message_whose_time_is_over_is_gone(feed: Feed) -> None:
    feed.publish(b"short", ttl_ms=100)
    feed.publish(b"long", ttl_ms=101)
    feed.tick(99)
    assert feed.stored() == 2
    feed.tick(1)
    assert (feed.stored(), feed.bodies()) == (1, [b"long"])


def test_the_time_to_live_is_the_topics_where_the_message_says_none(feed: Feed) -> None:
    feed.create("u", ttl_ms=100)
    feed.publish(NewMessage(b"1"), NewMessage(b"2", ttl_ms=200), topic="u")
    feed.tick(100)
    assert feed.bodies(topic="u") == [b"2"]


def test_it_counts_from_the_publish_whatever_the_delay(feed: Feed) -> None:
    feed.publish(NewMessage(b"1", delay_ms=50, ttl_ms=50), NewMessage(b"2", delay_ms=50, ttl_ms=51))
    feed.tick(50)
    assert feed.bodies() == [b"2"]


def test_one_that_is_leased_then_is_gone_when_its_lease_ends(feed: Feed) -> None:
    feed.publish(b"1", b"2", b"3", ttl_ms=100)
    acked, given_back, kept = feed.lease(3)
    feed.tick(100)
    assert feed.counts() == (0, 3, 0, 0)
    assert feed.extend(kept, lease_ms=1000) == [None]
    assert feed.ack(acked) == [None]
    assert feed.nack(given_back) == [None]
    assert (feed.nack(given_back), feed.ack(given_back)) == ([None], [LEASE_LOST])
    feed.tick(999)
    assert feed.stored() == 1
    feed.tick(1)
    assert (feed.stored(), feed.ack(kept)) == (0, [LEASE_LOST])


def test_one_that_was_given_back_or_is_dead_is_gone_in_time_too(feed: Feed) -> None:
    feed.create("u", max_deliveries=2, ttl_ms=100)
    feed.publish(b"dead", b"delayed", b"ready", topic="u")
    feed.nack(*feed.lease(topic="u"), topic="u")
    feed.nack(*feed.lease(topic="u"), topic="u")
    delayed, ready = feed.lease(2, "u")
    feed.nack(delayed, topic="u", delay_ms=1000)
    feed.nack(ready, topic="u")
    assert feed.counts("u") == (1, 0, 1, 1)
    feed.tick(100)
    assert (feed.counts("u"), feed.stored("u")) == ((0, 0, 0, 0), 0)
    assert feed.ack(ready, topic="u") == [LEASE_LOST]


def test_it_is_never_handed_out_even_while_it_is_not_cleared_away(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 1)
    feed.publish(*[NewMessage(b"", ttl_ms=10)] * 9, NewMessage(b"last"))
    feed.now_ms += 10
    assert feed.bodies() == [b"last"]
    assert feed.stored() == 0


def test_who_meets_too_many_of_them_is_told_to_ask_again(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 1)
    monkeypatch.setattr(choice, "SKIPS_MAX", 3)
    feed.publish(*[NewMessage(b"", ttl_ms=10)] * 9, NewMessage(b"last"))
    feed.now_ms += 10
    assert [feed.one(Receive("t", max=9)) for _ in range(2)] == [Received([], more=True)] * 2
    assert feed.stored() == 2
    assert feed.bodies() == [b"last"]


def test_so_is_who_meets_too_many_that_came_back(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 0)
    monkeypatch.setattr(choice, "SKIPS_MAX", 2)
    feed.publish(*[NewMessage(b"", ttl_ms=10)] * 3, NewMessage(b"last"))
    feed.nack(*feed.lease(3))
    feed.now_ms += 10
    assert feed.one(Receive("t", max=3)) == Received([], more=True)
    assert feed.stored() == 2
    assert feed.bodies() == [b"last"]


def test_such_an_answer_is_not_the_answer_to_a_key(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks again under his key would get it for ever."""
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 1)
    monkeypatch.setattr(choice, "SKIPS_MAX", 2)
    feed.publish(*[NewMessage(b"", ttl_ms=10)] * 5, NewMessage(b"last"))
    feed.now_ms += 10
    asked = Receive("t", key="k", final=True)
    first, second = feed.one(asked), feed.one(asked)
    assert first == Received([], more=True)
    assert isinstance(second, Received) and [message.body for message in second.messages] == [b"last"]
    assert feed.one(asked) == second
