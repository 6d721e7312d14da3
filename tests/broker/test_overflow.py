"""Limits of a topic: what is refused, what goes to make room."""

from __future__ import annotations

import pytest

from app.broker import overflow
from app.broker.commands import ChangeTopic, CreateSubscription, NewMessage, Publish, Publishes, SettingsChange
from app.broker.results import LEASE_LOST, Published, Refused
from tests.broker.feed import Feed


def sent(feed: Feed, *bodies: bytes, topic: str, atomic: bool = True) -> str | list[str | None]:
    """The code of a refusal, or those of the messages."""
    command = Publish(topic, [NewMessage(body) for body in bodies], atomic=atomic)
    answer = feed.one(command)
    return [message.code for message in answer.messages] if isinstance(answer, Published) else answer.code


def test_what_does_not_fit_is_refused(feed: Feed) -> None:
    feed.create("u", max_messages=2)
    assert sent(feed, b"1", b"2", b"3", topic="u") == "invalid_message"
    assert sent(feed, b"1", b"2", topic="u") == [None, None]
    assert sent(feed, b"3", topic="u") == "topic_full"
    feed.receive(topic="u")
    assert sent(feed, b"3", topic="u") == [None]
    assert feed.bodies(topic="u") == [b"2", b"3"]


def test_bytes_are_bodies_with_headers(feed: Feed) -> None:
    feed.create("u", max_bytes=100)
    assert sent(feed, b"x" * 101, topic="u") == "invalid_message"
    assert sent(feed, b"x" * 60, b"x" * 40, topic="u") == [None, None]
    assert sent(feed, b"x", topic="u") == "topic_full"
    assert sent(feed, b"", topic="u") == [None]
    feed.receive(9, "u")
    feed.publish(NewMessage(b"x" * 10, headers={"h": "y" * 60}), topic="u")
    info = feed.machine.topic("u")
    assert info is not None and 72 <= info.size_bytes <= 90
    assert sent(feed, b"x" * 29, topic="u") == "topic_full"


def test_refused_one_by_one_where_not_all_or_none(feed: Feed) -> None:
    feed.create("u", max_messages=2)
    assert sent(feed, b"1", b"2", b"3", topic="u", atomic=False) == [None, None, "topic_full"]


def test_a_refusal_changes_nothing(feed: Feed) -> None:
    feed.create("u", max_messages=2, overflow="drop_oldest")
    feed.publish(b"1", b"2", topic="u")
    leased = feed.lease(1, "u")
    assert sent(feed, b"3", b"4", topic="u") == "topic_full"
    assert feed.nack(*leased, topic="u") == [None]
    assert feed.bodies(topic="u") == [b"1", b"2"]


def test_what_is_known_already_needs_no_room(feed: Feed) -> None:
    feed.create("u")
    first = feed.publish(NewMessage(b"1", dedup_id="d"), b"2", topic="u")
    feed.one(ChangeTopic("u", SettingsChange(max_messages=1)))
    again = feed.publish(NewMessage(b"1", dedup_id="d"), topic="u")
    assert (again[0].id, again[0].duplicate) == (first[0].id, True)
    assert sent(feed, b"3", topic="u") == "topic_full"


def test_the_oldest_go_first_and_no_more_than_needed(feed: Feed) -> None:
    feed.create("u", max_messages=3, overflow="drop_oldest")
    feed.publish(b"1", b"2", b"3", topic="u")
    feed.publish(b"4", b"5", topic="u")
    assert feed.bodies(topic="u") == [b"3", b"4", b"5"]


def test_by_bytes_too(feed: Feed) -> None:
    feed.create("u", max_bytes=100, overflow="drop_oldest")
    feed.publish(b"a" * 30, b"b" * 30, b"c" * 30, topic="u")
    feed.publish(b"d" * 41, topic="u")
    assert [body[:1] for body in feed.bodies(topic="u")] == [b"c", b"d"]


def test_leased_ones_stay(feed: Feed) -> None:
    feed.create("u", max_messages=3, overflow="drop_oldest")
    feed.publish(b"1", b"2", b"3", topic="u")
    [leased] = feed.lease(topic="u")
    feed.publish(b"4", topic="u")
    assert feed.bodies(topic="u") == [b"3", b"4"]
    assert feed.ack(leased, topic="u") == [None]
    feed.publish(b"5", b"6", b"7", topic="u")
    feed.lease(3, "u")
    assert sent(feed, b"8", topic="u") == "topic_full"


def test_those_that_one_of_several_has_leased_stay_for_all(feed: Feed) -> None:
    feed.create("u", "s", max_messages=2, overflow="drop_oldest")
    feed.publish(b"1", b"2", topic="u")
    feed.lease(topic="u", subscription="s")
    feed.publish(b"3", topic="u")
    assert feed.bodies(topic="u") == [b"1", b"3"]


@pytest.mark.parametrize("how", ["given back", "given back with a delay", "dead", "not yet come"])
def test_whatever_nobody_has_leased_may_go(feed: Feed, how: str) -> None:
    feed.create("u", max_messages=1, overflow="drop_oldest", max_deliveries=1 if how == "dead" else 9)
    feed.publish(NewMessage(b"old", delay_ms=50 if how == "not yet come" else None), topic="u")
    leased = feed.lease(topic="u")
    if leased:
        feed.nack(*leased, topic="u", delay_ms=50 if "delay" in how else 0)
    feed.publish(b"new", topic="u")
    assert feed.counts("u") == (1, 0, 0, 0)
    feed.tick(100)
    assert feed.bodies(topic="u") == [b"new"]
    if leased:
        assert feed.ack(*leased, topic="u") == [LEASE_LOST]


def test_they_go_for_all_subscriptions(feed: Feed) -> None:
    feed.create("u", "s", max_messages=2, overflow="drop_oldest")
    feed.publish(b"1", b"2", topic="u")
    feed.receive(topic="u")
    feed.publish(b"3", b"4", topic="u")
    assert feed.stored("u") == 2
    assert feed.bodies(topic="u") == feed.bodies(topic="u", subscription="s") == [b"3", b"4"]


def test_a_group_goes_on_behind_those_that_went(feed: Feed) -> None:
    feed.create("u", max_messages=2, overflow="drop_oldest")
    feed.publish(NewMessage(b"g1", group="g"), NewMessage(b"g2", group="g"), topic="u")
    [leased] = feed.lease(topic="u")
    feed.nack(leased, topic="u", delay_ms=50)
    feed.publish(NewMessage(b"g3", group="g"), topic="u")
    assert feed.bodies(topic="u") == [b"g2", b"g3"]


def test_at_most_so_many_go_for_one_request(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (overflow.DROPS_MAX, overflow.DROPS_BYTES) == (2000, 16 << 20)
    monkeypatch.setattr(overflow, "DROPS_MAX", 3)
    feed.create("u", max_messages=5, overflow="drop_oldest")
    feed.publish(*[b"old"] * 5, topic="u")
    assert sent(feed, *[b"new"] * 4, topic="u") == "topic_full"
    assert sent(feed, *[b"new"] * 3, topic="u") == [None] * 3
    assert feed.bodies(topic="u") == [b"old"] * 2 + [b"new"] * 3


def lowered(feed: Feed, count: int, body: bytes = b"x", **limits: int) -> None:
    """A topic "u" that drops the oldest, and holds more than its limits, which are new."""
    feed.create("u", overflow="drop_oldest")
    feed.publish(*[body] * count, topic="u")
    feed.one(ChangeTopic("u", SettingsChange(**limits)))


@pytest.mark.parametrize(("limit", "left"), [(8, [8, 8]), (7, [7, 7]), (6, [7, 6]), (5, [7, 5])])
def test_a_lowered_limit_is_reached_by_and_by(
    feed: Feed, monkeypatch: pytest.MonkeyPatch, limit: int, left: list[int]
) -> None:
    """Below, at and above the bound of what goes for one request."""
    monkeypatch.setattr(overflow, "DROPS_MAX", 4)
    lowered(feed, 10, max_messages=limit)
    for stored in left:
        assert sent(feed, b"new", topic="u") == [None]
        assert feed.stored("u") == stored


def test_a_topic_far_over_its_limit_comes_nearer_with_each_publish(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "DROPS_MAX", 10)
    lowered(feed, 100, max_messages=5)
    stored = []
    for i in range(13):
        assert sent(feed, b"%d" % i, topic="u") == [None]
        stored.append(feed.stored("u"))
    assert stored == [91, 82, 73, 64, 55, 46, 37, 28, 19, 10, 5, 5, 5]
    assert feed.bodies(topic="u") == [b"8", b"9", b"10", b"11", b"12"]


def test_each_of_several_topics_comes_nearer(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "DROPS_MAX", 10)
    lowered(feed, 100, max_messages=5)
    feed.create("v", overflow="drop_oldest")
    feed.publish(*[b"old"] * 100, topic="v")
    feed.one(ChangeTopic("v", SettingsChange(max_messages=5)))
    feed.one(Publishes([Publish(topic, [NewMessage(b"new")]) for topic in ("u", "v")]))
    assert (feed.stored("u"), feed.stored("v")) == (91, 91)


def test_also_with_as_many_as_may_go(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic does not grow, and keeps to that."""
    monkeypatch.setattr(overflow, "DROPS_MAX", 3)
    lowered(feed, 10, max_messages=4)
    assert sent(feed, *[b"new"] * 4, topic="u") == "topic_full"
    assert sent(feed, *[b"new"] * 3, topic="u") == [None] * 3
    assert feed.stored("u") == 10


def test_also_in_bytes(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "DROPS_MAX", 3)
    lowered(feed, 10, b"x" * 10, max_bytes=50)
    stored = []
    for _ in range(4):
        assert sent(feed, b"y" * 10, topic="u") == [None]
        stored.append(feed.stored("u"))
    assert stored == [8, 6, 5, 5]


def test_a_topic_over_its_limit_does_not_grow_in_bytes(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "DROPS_MAX", 3)
    lowered(feed, 20, max_bytes=10)
    assert sent(feed, b"y" * 4, topic="u") == "topic_full"
    assert feed.stored("u") == 20
    assert sent(feed, b"y" * 3, topic="u") == [None]
    assert feed.stored("u") == 18
    assert sent(feed, b"", topic="u") == [None], "what has no size needs no room"
    assert feed.stored("u") == 16


def test_over_one_limit_the_other_still_holds(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "DROPS_MAX", 3)
    lowered(feed, 10, b"x" * 10, max_messages=2, max_bytes=100)
    assert sent(feed, b"y" * 31, topic="u") == "topic_full"
    assert feed.stored("u") == 10
    assert sent(feed, b"y" * 30, topic="u") == [None]
    assert feed.stored("u") == 8


def test_what_is_over_the_limit_by_itself_never_fits(feed: Feed) -> None:
    """Though as much could go: the topic would not reach its limit by that."""
    lowered(feed, 10, b"x" * 10, max_messages=2, max_bytes=30)
    assert sent(feed, b"", b"", b"", topic="u") == "invalid_message"
    assert sent(feed, b"y" * 31, topic="u") == "invalid_message"
    answer = feed.one(Publish("u", [NewMessage(b"y" * 20)] * 2))
    assert isinstance(answer, Refused) and answer.detail == (
        "the topic 'u' has max_messages 2 and max_bytes 30, and these are 2 of 40 bytes: "
        "send less, or raise its limits"
    )
    assert feed.stored("u") == 10
    assert sent(feed, b"y" * 15, b"z" * 15, topic="u") == [None, None]
    assert feed.stored("u") == 2


def test_where_less_can_go_than_comes_it_is_refused(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leased ones stand in the way."""
    lowered(feed, 8, max_messages=4)
    leased = feed.lease(5, "u")
    assert sent(feed, *[b"new"] * 4, topic="u") == "topic_full"
    assert feed.counts("u") == (3, 5, 0, 0)
    assert sent(feed, *[b"new"] * 3, topic="u") == [None] * 3
    assert feed.counts("u") == (3, 5, 0, 0)
    monkeypatch.setattr(overflow, "DROPS_MAX", 5)
    assert sent(feed, b"new", topic="u") == "topic_full", "of so many that were looked at all are leased"
    assert feed.ack(*leased, topic="u") == [None] * 5
    assert feed.bodies(topic="u") == [b"new"] * 3


def test_more_than_comes_goes_once_for_one_request(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many messages would drop as many as a request may, else."""
    monkeypatch.setattr(overflow, "DROPS_MAX", 4)
    lowered(feed, 30, max_messages=5)
    assert sent(feed, *[b"new"] * 5, topic="u", atomic=False) == [None] * 5
    assert feed.stored("u") == 30 - 4 - 4 + 5
    assert sent(feed, b"new", topic="u") == [None]
    assert feed.stored("u") == 27 - 4 + 1
    feed.create("v", max_deliveries=1, dead_letter_topic="u")
    feed.publish(b"1", b"2", b"3", topic="v")
    assert feed.nack(*feed.lease(3, "v"), topic="v") == [None] * 3
    assert feed.stored("u") == 24 - 4 - 2 + 3


def test_so_it_is_with_bytes(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "DROPS_MAX", 4)
    lowered(feed, 10, b"x" * 10, max_bytes=50)
    assert sent(feed, *[b"y" * 10] * 3, topic="u", atomic=False) == [None] * 3
    assert feed.stored("u") == 10 - 4 - 2 + 3


def test_more_than_comes_is_bounded_in_bytes(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "DROPS_BYTES", 25)
    lowered(feed, 20, b"x" * 10, max_messages=6)
    assert sent(feed, b"new", topic="u") == [None]
    assert feed.stored("u") == 20 - 1 - 3 + 1
    assert sent(feed, *[b"new"] * 5, topic="u") == [None] * 5
    assert feed.stored("u") == 17 - 5 - 3 + 5


def test_few_are_looked_at_where_few_must_go(feed: Feed) -> None:
    feed.create("u", max_messages=500, overflow="drop_oldest")
    feed.publish(*[b""] * 500, topic="u")
    statements: list[str] = []
    feed.machine._connection.set_trace_callback(statements.append)
    feed.publish(b"1", topic="u")
    feed.machine._connection.set_trace_callback(None)
    limits = [int(each.rsplit("LIMIT ", 1)[1]) for each in statements if "LIMIT" in each]
    assert limits and max(limits) < 10


def test_new_limits_hold_for_what_comes(feed: Feed) -> None:
    feed.publish(*[b""] * 5)
    feed.one(ChangeTopic("t", SettingsChange(max_messages=2)))
    assert feed.stored() == 5
    assert sent(feed, b"", topic="t") == "topic_full"
    feed.one(ChangeTopic("t", SettingsChange(max_messages=None)))
    assert sent(feed, b"", topic="t") == [None]


def test_a_new_subscription_brings_nothing_back(feed: Feed) -> None:
    feed.create("u", max_messages=1, overflow="drop_oldest")
    feed.publish(b"1", topic="u")
    feed.publish(b"2", topic="u")
    feed.one(CreateSubscription("u", "s", "earliest"))
    assert feed.bodies(topic="u", subscription="s") == [b"2"]
