"""Several groups of consumers over the same messages, each as if it were alone."""

from __future__ import annotations

import pytest

from app.broker import choice, handlers
from app.broker.commands import (
    ChangeTopic,
    CreateSubscription,
    DeleteSubscription,
    NewMessage,
    Purge,
    Receive,
    Redrive,
    SettingsChange,
)
from app.broker.results import (
    LEASE_LOST,
    Received,
    SubscriptionCreated,
    SubscriptionDeleted,
    SubscriptionExists,
)
from app.broker.subscriptions import SLOTS
from tests.broker.feed import Feed


def subscribe(feed: Feed, name: str, start: str | int = "latest") -> object:
    return feed.one(CreateSubscription("t", name, start))  # type: ignore[arg-type]


def test_default_is_there_from_the_start(feed: Feed) -> None:
    info = feed.machine.topic("t")
    assert info is not None
    assert [(each.name, each.start) for each in info.subscriptions] == [("default", 1)]


def test_each_gets_every_message_with_its_own_leases_and_deliveries(feed: Feed) -> None:
    subscribe(feed, "s")
    feed.publish(b"1", b"2")
    feed.nack(*feed.lease())
    assert [message.deliveries for message in feed.lease(2)] == [2, 1]
    assert [message.deliveries for message in feed.lease(2, subscription="s")] == [1, 1]
    assert (feed.counts(), feed.counts(subscription="s")) == ((0, 2, 0, 0), (0, 2, 0, 0))


def test_a_message_is_stored_until_every_subscription_is_done_with_it(feed: Feed) -> None:
    for name in ("s", "r"):
        subscribe(feed, name)
    feed.publish(b"1")
    feed.receive()
    feed.ack(*feed.lease(subscription="r"))
    assert feed.stored() == 1
    feed.receive(subscription="s")
    assert feed.stored() == 0


def test_one_token_is_not_anothers(feed: Feed) -> None:
    subscribe(feed, "s")
    feed.publish(b"1")
    [own], [other] = feed.lease(), feed.lease(subscription="s")
    assert own.token != other.token
    assert feed.ack(own) == [None]
    assert feed.counts(subscription="s") == (0, 1, 0, 0)


def test_a_repeated_ack_succeeds_while_others_still_need_the_message(feed: Feed) -> None:
    subscribe(feed, "s")
    feed.publish(b"1")
    [message] = feed.lease()
    assert feed.ack(message) == feed.ack(message) == [None]
    assert feed.nack(message) == [LEASE_LOST]


def test_where_a_new_one_begins(feed: Feed) -> None:
    feed.publish(b"1", b"2", b"3", b"4")
    feed.receive()
    assert subscribe(feed, "all", "earliest") == SubscriptionCreated(1)
    assert subscribe(feed, "some", 3) == SubscriptionCreated(3)
    assert subscribe(feed, "none", "latest") == SubscriptionCreated(5)
    assert subscribe(feed, "future", 1 << 62) == SubscriptionCreated(5)
    feed.publish(b"5")
    got = {name: feed.bodies(subscription=name) for name in ("all", "some", "none", "future")}
    assert got == {"all": [b"2", b"3", b"4", b"5"], "some": [b"3", b"4", b"5"], "none": [b"5"], "future": [b"5"]}
    assert feed.bodies() == [b"2", b"3", b"4", b"5"]
    assert feed.stored() == 0


def test_a_new_one_finds_what_is_leased_delayed_and_in_groups(feed: Feed) -> None:
    feed.publish(NewMessage(b"leased"), NewMessage(b"later", delay_ms=10), NewMessage(b"g1", group="g"))
    feed.publish(NewMessage(b"g2", group="g"), NewMessage(b"h1", group="h"))
    feed.lease()
    subscribe(feed, "s", "earliest")
    assert feed.counts(subscription="s") == (4, 0, 1, 0)
    assert [message.body for message in feed.lease(9, subscription="s")] == [b"leased", b"g1", b"h1"]
    feed.tick(10)
    assert [message.body for message in feed.lease(9, subscription="s")] == [b"later"]


def test_groups_that_lie_before_its_start_are_not_in_its_line(feed: Feed) -> None:
    feed.publish(NewMessage(b"g1", group="g"), NewMessage(b"h1", group="h"))
    subscribe(feed, "s", 2)
    feed.publish(NewMessage(b"g2", group="g"))
    assert feed.bodies(subscription="s") == [b"h1", b"g2"]


def test_one_that_is_there_is_told_from_a_new_one(feed: Feed) -> None:
    feed.publish(b"1")
    assert subscribe(feed, "s", "latest") == SubscriptionCreated(2)
    assert subscribe(feed, "s", "earliest") == SubscriptionExists(2)
    assert subscribe(feed, "default", "latest") == SubscriptionExists(1)


def test_a_deleted_one_keeps_nothing(feed: Feed) -> None:
    subscribe(feed, "s")
    feed.publish(b"1", b"2")
    feed.receive()
    [lost] = feed.lease(subscription="s")
    assert feed.one(DeleteSubscription("t", "s")) == SubscriptionDeleted()
    feed.tick()
    assert (feed.stored(), feed.ack(lost)) == (1, [LEASE_LOST])
    assert feed.refused(Receive("t", "s")) == "subscription_not_found"
    assert feed.bodies() == [b"2"]
    assert feed.stored() == 0


def test_one_made_anew_begins_anew(feed: Feed) -> None:
    """It may have the place of the former one, and must not have its memory."""
    subscribe(feed, "s")
    feed.publish(b"1", b"2")
    [lost] = feed.lease(2, subscription="s")[:1]
    feed.ack(lost)
    feed.one(DeleteSubscription("t", "s"))
    feed.tick()
    subscribe(feed, "s", "earliest")
    assert feed.ack(lost) == [LEASE_LOST]
    assert [(message.body, message.deliveries) for message in feed.lease(9, subscription="s")] == [
        (b"1", 1), (b"2", 1),
    ]  # fmt: skip


def test_the_last_one_stays(feed: Feed) -> None:
    assert feed.refused(DeleteSubscription("t", "default")) == "last_subscription"
    subscribe(feed, "s")
    assert feed.one(DeleteSubscription("t", "default")) == SubscriptionDeleted()
    assert feed.refused(DeleteSubscription("t", "s")) == "last_subscription"


def test_there_are_at_most_63(feed: Feed) -> None:
    assert SLOTS == 63
    for i in range(SLOTS - 1):
        assert isinstance(subscribe(feed, f"s{i}"), SubscriptionCreated)
    assert feed.refused(CreateSubscription("t", "one more")) == "too_many"
    feed.publish(b"1")
    for i in range(SLOTS - 1):
        assert feed.bodies(subscription=f"s{i}") == [b"1"]
    assert feed.stored() == 1
    feed.one(DeleteSubscription("t", "s0"))
    assert isinstance(subscribe(feed, "one more"), SubscriptionCreated)
    assert feed.bodies() == [b"1"]
    assert feed.stored() == 0


def test_while_a_deleted_one_is_cleared_up_its_place_is_taken(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 1)
    for i in range(SLOTS - 1):
        subscribe(feed, f"s{i}")
    feed.publish(*[b""] * 5)
    feed.one(DeleteSubscription("t", "s0"))
    assert feed.refused(CreateSubscription("t", "one more")) == "too_many"
    feed.tick()
    assert isinstance(subscribe(feed, "one more"), SubscriptionCreated)


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 513])
def test_names_that_cannot_be(feed: Feed, name: str) -> None:
    assert feed.refused(CreateSubscription("t", name)) == "bad_command"
    assert isinstance(subscribe(feed, "x" * 512), SubscriptionCreated)


@pytest.mark.parametrize("start", ["first", 0, -1, (1 << 62) + 1])
def test_starts_that_cannot_be(feed: Feed, start: str | int) -> None:
    assert feed.refused(CreateSubscription("t", "s", start)) == "bad_command"  # type: ignore[arg-type]


def test_what_is_not_there_is_refused(feed: Feed) -> None:
    assert feed.refused(CreateSubscription("no", "s")) == feed.refused(DeleteSubscription("no", "s"))
    assert feed.refused(DeleteSubscription("no", "s")) == "topic_not_found"
    assert feed.refused(DeleteSubscription("t", "s")) == feed.refused(Receive("t", "s")) == "subscription_not_found"


def test_a_purge_is_for_all_and_they_go_on(feed: Feed) -> None:
    subscribe(feed, "s")
    feed.publish(b"1", b"2")
    feed.lease()
    feed.receive(subscription="s")
    assert feed.one(Purge("t")).messages == 2
    feed.publish(b"3")
    assert (feed.bodies(), feed.bodies(subscription="s")) == ([b"3"], [b"3"])


def test_who_passes_by_what_is_for_others_is_told_to_ask_again(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead letters that came back for another subscription lie in its way."""
    monkeypatch.setattr(choice, "PASSES_MAX", 3)
    feed.create("dead")
    feed.create("u", "s", max_deliveries=1, dead_letter_topic="dead")
    feed.publish(*[b""] * 7, topic="u")
    feed.receive(9, "u", "s")
    feed.nack(*feed.lease(9, "u"), topic="u")
    feed.one(Redrive("dead"))
    feed.publish(b"last", topic="u")
    asked = Receive("u", "s", 9)
    assert [feed.one(asked) for _ in range(2)] == [Received([], more=True)] * 2
    assert feed.bodies(topic="u", subscription="s") == [b"last"]
    assert len(feed.bodies(topic="u")) == 8


def test_what_comes_back_for_one_and_has_to_wait_arrives_for_that_one(feed: Feed) -> None:
    """A dead letter of a group may not overtake those of groups that have not arrived."""
    feed.create("dead")
    feed.create("u", "s", max_deliveries=1, dead_letter_topic="dead")
    feed.publish(NewMessage(b"1", group="g"), topic="u")
    feed.receive(topic="u", subscription="s")
    feed.nack(*feed.lease(topic="u"), topic="u")
    feed.one(ChangeTopic("u", SettingsChange(delay_ms=100)))
    feed.publish(NewMessage(b"2", group="g"), topic="u")
    feed.one(Redrive("dead"))
    assert (feed.counts("u"), feed.counts("u", "s")) == ((0, 0, 2, 0), (0, 0, 1, 0))
    feed.tick(100)
    assert (feed.counts("u"), feed.counts("u", "s")) == ((2, 0, 0, 0), (1, 0, 0, 0))
    assert (feed.bodies(topic="u"), feed.bodies(topic="u", subscription="s")) == ([b"2", b"1"], [b"2"])
