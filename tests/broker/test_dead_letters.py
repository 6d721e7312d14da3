"""Messages that were handed out too often: where they go, what they carry, how they come back."""

from __future__ import annotations

import pytest

from app.broker import handlers
from app.broker.commands import (
    ChangeTopic,
    CreateSubscription,
    DeleteSubscription,
    DeleteTopic,
    NewMessage,
    Purge,
    Redrive,
    SettingsChange,
)
from app.broker.dead_letters import RETRY_MS
from app.broker.results import LEASE_LOST, DeadLetter, ReceivedMessage, Redriven
from tests.broker.feed import Feed


@pytest.fixture
def mortal(feed: Feed) -> Feed:
    """Two tries in "u", then "dead"."""
    feed.create("dead")
    feed.create("u", max_deliveries=2, dead_letter_topic="dead")
    return feed


def kill(feed: Feed, topic: str = "u", times: int = 1, subscription: str = "default") -> list[ReceivedMessage]:
    """Hand out all that is there, and give it back, that often. -> the last deliveries."""
    leased: list[ReceivedMessage] = []
    for _ in range(times):
        leased = feed.lease(1000, topic, subscription)
        feed.nack(*leased, topic=topic)
    return leased


def test_after_so_many_deliveries_without_an_ack_it_is_dead(mortal: Feed) -> None:
    mortal.publish(b"1", topic="u")
    kill(mortal)
    assert (mortal.counts("u"), mortal.stored("dead")) == ((1, 0, 0, 0), 0)
    kill(mortal)
    assert (mortal.stored("u"), mortal.stored("dead")) == (0, 1)


@pytest.mark.parametrize("last", ["nack", "nack with a delay", "time"])
def test_however_its_last_delivery_ended(mortal: Feed, last: str) -> None:
    mortal.publish(b"1", topic="u")
    kill(mortal)
    [message] = mortal.lease(topic="u", lease_ms=10)
    if last == "time":
        mortal.tick(10)
    else:
        mortal.nack(message, topic="u", delay_ms=5 if last == "nack with a delay" else 0)
    assert (mortal.stored("u"), mortal.stored("dead")) == (0, 1)
    repeated = None if last != "time" else LEASE_LOST
    assert (mortal.nack(message, topic="u"), mortal.ack(message, topic="u")) == ([repeated], [LEASE_LOST])


def test_an_ack_at_the_last_try_saves_it(mortal: Feed) -> None:
    mortal.publish(b"1", topic="u")
    kill(mortal)
    mortal.ack(*mortal.lease(topic="u"), topic="u")
    assert (mortal.stored("u"), mortal.stored("dead")) == (0, 0)


def test_without_a_limit_none_dies(feed: Feed) -> None:
    feed.publish(b"1")
    kill(feed, "t", 20)
    assert feed.lease()[0].deliveries == 21


def test_it_arrives_as_it_was_and_says_where_it_comes_from(mortal: Feed) -> None:
    published_ms = mortal.now_ms
    mortal.publish(b"other", topic="u")
    mortal.receive(topic="u")
    mortal.now_ms += 5
    [sent] = mortal.publish(NewMessage(b"\xff", True, {"h": "1"}, "g"), topic="u")
    kill(mortal, times=2)
    [letter] = mortal.lease(topic="dead")
    assert (letter.id, letter.sequence, letter.body, letter.binary) == (sent.id, 1, b"\xff", True)
    assert (letter.headers, letter.group, letter.published_ms) == ({"h": "1"}, "g", published_ms + 5)
    assert letter.deliveries == 1
    assert letter.dead_letter == DeadLetter("u", "default", 2, 2, mortal.now_ms)


def test_a_priority_goes_along(feed: Feed) -> None:
    feed.create("plain")
    feed.create("u", max_deliveries=1, dead_letter_topic="plain", priorities=True)
    feed.publish(NewMessage(b"0"), NewMessage(b"9", priority=9), topic="u")
    kill(feed)
    assert [(letter.body, letter.priority) for letter in feed.lease(9, "plain")] == [(b"9", 9), (b"0", 0)]
    feed.tick(30_000)
    feed.one(Redrive("plain"))
    assert feed.bodies(topic="u") == [b"9", b"0"]


def test_a_copy_goes_where_others_still_need_it(mortal: Feed) -> None:
    mortal.one(CreateSubscription("u", "s"))
    [sent] = mortal.publish(b"1", topic="u")
    kill(mortal, times=2)
    [letter] = mortal.receive(topic="dead")
    assert letter.id != sent.id
    [kept] = mortal.receive(topic="u", subscription="s")
    assert kept.id == sent.id


def test_who_is_the_last_to_need_it_sends_the_message_itself(mortal: Feed) -> None:
    mortal.one(CreateSubscription("u", "s"))
    [sent] = mortal.publish(b"1", topic="u")
    mortal.receive(topic="u", subscription="s")
    kill(mortal, times=2)
    assert [letter.id for letter in mortal.receive(topic="dead")] == [sent.id]
    assert mortal.stored("u") == 0


def test_each_subscription_has_its_own_dead(mortal: Feed) -> None:
    mortal.one(CreateSubscription("u", "s"))
    mortal.publish(b"1", topic="u")
    kill(mortal, times=2)
    kill(mortal, times=2, subscription="s")
    letters = mortal.receive(9, "dead")
    assert [letter.dead_letter and letter.dead_letter.subscription for letter in letters] == ["default", "s"]
    assert mortal.stored("u") == 0


@pytest.mark.parametrize("settings", [{}, {"dead_letter_topic": "missing"}, {"dead_letter_topic": "u"}])
def test_without_a_place_to_go_it_stands_still_and_is_kept(feed: Feed, settings: dict[str, str]) -> None:
    feed.create("u", max_deliveries=1, **settings)
    feed.publish(b"1", b"2", topic="u")
    [dead] = feed.lease(topic="u")
    feed.nack(dead, topic="u")
    assert feed.counts("u") == (1, 0, 0, 1)
    assert feed.nack(dead, topic="u") == [None]
    assert feed.ack(dead, topic="u") == [LEASE_LOST]
    feed.tick(10 * RETRY_MS)
    assert feed.bodies(topic="u") == [b"2"]
    assert feed.counts("u") == (0, 0, 0, 1)


def test_the_move_is_tried_again_now_and_then(feed: Feed) -> None:
    feed.create("u", max_deliveries=1, dead_letter_topic="dead")
    feed.publish(b"1", topic="u")
    kill(feed)
    feed.create("dead")
    feed.tick(RETRY_MS - 1)
    assert feed.stored("u") == 1
    feed.tick(1)
    assert (feed.stored("u"), feed.stored("dead")) == (0, 1)
    assert RETRY_MS == 5 * 60_000


def test_a_full_dead_letter_topic_is_like_a_missing_one(feed: Feed) -> None:
    feed.create("dead", max_messages=1)
    feed.create("u", max_deliveries=1, dead_letter_topic="dead")
    feed.publish(b"1", b"2", topic="u")
    kill(feed)
    assert (feed.counts("u"), feed.stored("dead")) == ((0, 0, 0, 1), 1)
    feed.tick(RETRY_MS)
    assert feed.counts("u") == (0, 0, 0, 1)
    feed.receive(topic="dead")
    feed.tick(RETRY_MS)
    assert feed.bodies(topic="dead") == [b"2"]


def test_a_dead_letter_topic_that_drops_the_oldest_makes_room(feed: Feed) -> None:
    feed.create("dead", max_messages=1, overflow="drop_oldest")
    feed.create("u", max_deliveries=1, dead_letter_topic="dead")
    feed.publish(b"1", b"2", topic="u")
    kill(feed)
    assert feed.bodies(topic="dead") == [b"2"]


def test_a_dead_letter_lives_as_long_as_its_new_topic_says(feed: Feed) -> None:
    feed.create("dead", ttl_ms=500)
    feed.create("u", max_deliveries=1, dead_letter_topic="dead", ttl_ms=100)
    feed.publish(b"1", topic="u")
    feed.now_ms += 90
    kill(feed)
    feed.tick(499)
    assert feed.stored("dead") == 1
    feed.tick(1)
    assert feed.stored("dead") == 0


def test_a_new_dead_letter_topic_holds_for_those_that_die_from_then_on(feed: Feed) -> None:
    feed.create("u", max_deliveries=1)
    feed.publish(b"1", topic="u")
    kill(feed)
    feed.create("dead")
    feed.one(ChangeTopic("u", SettingsChange(dead_letter_topic="dead")))
    feed.tick(RETRY_MS)
    assert feed.counts("u") == (0, 0, 0, 1)
    feed.one(Redrive("u"))
    kill(feed)
    assert feed.bodies(topic="dead") == [b"1"]


# --- redrive


def test_those_that_stand_still_are_ready_again_and_die_again_at_a_multiple(feed: Feed) -> None:
    feed.create("u", max_deliveries=2)
    feed.publish(b"1", b"2", topic="u")
    kill(feed, times=2)
    assert feed.counts("u") == (0, 0, 0, 2)
    assert feed.one(Redrive("u")) == Redriven(2, 0, None)
    [first, _] = feed.lease(2, "u")
    assert (first.body, first.deliveries) == (b"1", 3)
    feed.nack(first, topic="u")
    assert feed.counts("u") == (1, 1, 0, 0)
    kill(feed)
    assert feed.counts("u") == (0, 1, 0, 1)


def test_dead_letters_go_back_to_the_end_of_where_they_came_from(mortal: Feed) -> None:
    [sent] = mortal.publish(b"1", topic="u")
    kill(mortal, times=2)
    mortal.publish(b"2", topic="u")
    assert mortal.one(Redrive("dead")) == Redriven(1, 0, None)
    received = mortal.lease(9, "u")
    assert [(message.body, message.sequence, message.deliveries) for message in received] == [
        (b"2", 2, 1), (b"1", 3, 1),
    ]  # fmt: skip
    assert (received[1].id, received[1].dead_letter) == (sent.id, None)
    assert mortal.stored("dead") == 0


def test_they_go_back_for_the_subscription_in_which_they_had_died(mortal: Feed) -> None:
    mortal.one(CreateSubscription("u", "s"))
    mortal.publish(b"1", topic="u")
    mortal.receive(topic="u")
    kill(mortal, times=2, subscription="s")
    mortal.one(Redrive("dead"))
    assert (mortal.counts("u"), mortal.counts("u", "s")) == ((0, 0, 0, 0), (1, 0, 0, 0))
    assert mortal.receive(topic="u") == []
    assert [message.body for message in mortal.receive(topic="u", subscription="s")] == [b"1"]
    assert mortal.stored("u") == 0


def test_one_that_went_back_for_one_subscription_goes_like_any_other(feed: Feed) -> None:
    """It is withdrawn while another subscription, which does not get it, stands before it."""
    feed.create("dead")
    feed.create("u", "s", max_deliveries=1, dead_letter_topic="dead", ttl_ms=100)
    feed.publish(b"1", topic="u")
    kill(feed)
    feed.receive(topic="u", subscription="s")
    feed.one(Redrive("dead"))
    assert (feed.counts("u"), feed.counts("u", "s")) == ((1, 0, 0, 0), (0, 0, 0, 0))
    feed.tick(100)
    assert feed.stored("u") == 0


def test_they_may_go_to_another_topic_for_all_its_subscriptions(mortal: Feed) -> None:
    mortal.create("v", "s")
    mortal.publish(b"1", topic="u")
    kill(mortal, times=2)
    assert mortal.one(Redrive("dead", to="v")) == Redriven(1, 0, None)
    assert mortal.bodies(topic="v") == mortal.bodies(topic="v", subscription="s") == [b"1"]


def test_with_another_topic_those_that_stand_still_stay(feed: Feed) -> None:
    feed.create("v")
    feed.create("u", max_deliveries=1)
    feed.publish(b"1", topic="u")
    kill(feed)
    assert feed.one(Redrive("u", to="v")) == Redriven(0, 0, None)
    assert feed.counts("u") == (0, 0, 0, 1)


def test_what_finds_no_place_stays(mortal: Feed) -> None:
    mortal.publish(b"1", b"2", topic="u")
    kill(mortal, times=2)
    mortal.one(ChangeTopic("u", SettingsChange(max_messages=1)))
    assert mortal.one(Redrive("dead")) == Redriven(1, 1, None)
    mortal.one(DeleteTopic("u"))
    assert mortal.one(Redrive("dead")) == Redriven(0, 1, None)
    assert mortal.one(Redrive("dead", to="dead")) == Redriven(0, 1, None)
    assert mortal.bodies(topic="dead") == [b"2"]


def test_it_fits_as_it_will_be_there(feed: Feed) -> None:
    """A dead letter carries where it comes from, which a message that went back does not."""
    feed.create("dead")
    feed.create("u", max_bytes=10, max_deliveries=1, dead_letter_topic="dead")
    feed.publish(b"x" * 10, topic="u")
    kill(feed)
    assert feed.one(Redrive("dead")) == Redriven(1, 0, None)


def test_without_their_subscription_they_stay(mortal: Feed) -> None:
    for name in ("s", "x"):
        mortal.one(CreateSubscription("u", name))
    mortal.publish(b"1", topic="u")
    kill(mortal, times=2, subscription="s")
    mortal.one(DeleteSubscription("u", "s"))
    assert mortal.one(Redrive("dead")) == Redriven(0, 1, None)
    mortal.one(DeleteSubscription("u", "x"))
    assert mortal.one(Redrive("dead")) == Redriven(1, 0, None), "only one can be meant now"


def test_leased_dead_letters_stay(mortal: Feed) -> None:
    mortal.publish(b"1", b"2", topic="u")
    kill(mortal, times=2)
    [leased] = mortal.lease(topic="dead")
    assert mortal.one(Redrive("dead")) == Redriven(1, 1, None)
    assert mortal.ack(leased, topic="dead") == [None]


def test_one_that_a_deleted_subscription_alone_had_kept_goes_back_too(
    mortal: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not swept away yet, and brings its id along."""
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 0)
    mortal.publish(b"1", topic="u")
    mortal.one(CreateSubscription("dead", "s"))
    kill(mortal, times=2)
    mortal.receive(topic="dead")
    mortal.one(DeleteSubscription("dead", "s"))
    assert mortal.stored("dead") == 1
    assert mortal.one(Redrive("dead")) == Redriven(1, 0, None)
    assert (mortal.stored("dead"), mortal.bodies(topic="u")) == (0, [b"1"])


def test_going_back_the_time_to_live_is_that_topics_from_then_on(feed: Feed) -> None:
    feed.create("dead", ttl_ms=1000)
    feed.create("u", max_deliveries=1, dead_letter_topic="dead")
    feed.publish(b"1", topic="u")
    kill(feed)
    feed.one(Redrive("dead"))
    feed.tick(1000)
    assert feed.bodies(topic="u") == [b"1"]


def test_it_goes_page_by_page(mortal: Feed) -> None:
    mortal.publish(*(b"%d" % i for i in range(5)), topic="u")
    kill(mortal, times=2)
    mortal.publish(b"no dead letter", topic="dead")
    assert mortal.one(Redrive("dead", max=2)) == Redriven(2, 0, 3)
    assert mortal.one(Redrive("dead", max=2, start=3)) == Redriven(2, 0, 5)
    assert mortal.one(Redrive("dead", max=2, start=5)) == Redriven(1, 0, 7)
    assert mortal.one(Redrive("dead", max=2, start=7)) == Redriven(0, 0, None)
    assert mortal.bodies(topic="dead") == [b"no dead letter"]


def test_the_end_is_known_when_it_is_seen(mortal: Feed) -> None:
    mortal.publish(b"1", topic="u")
    kill(mortal, times=2)
    assert mortal.one(Redrive("dead", max=2)) == Redriven(1, 0, None)


def test_so_many_at_once(feed: Feed) -> None:
    feed.create("u", max_deliveries=1)
    feed.fill(1001, 1, "u")
    kill(feed)
    kill(feed)
    assert feed.one(Redrive("u")) == Redriven(1000, 0, 0)
    assert feed.one(Redrive("u")) == Redriven(1, 0, 1000), "it has looked at 999 messages that are none"
    assert feed.one(Redrive("u", start=1000)) == Redriven(0, 0, None)
    for wrong in (Redrive("u", max=0), Redrive("u", max=1001), Redrive("u", start=-1)):
        assert feed.refused(wrong) == "bad_command"


def test_an_unknown_topic_is_refused(feed: Feed) -> None:
    assert feed.refused(Redrive("no")) == feed.refused(Redrive("t", to="no")) == "topic_not_found"


def test_a_circle_of_topics_goes_round_and_loses_nothing(feed: Feed) -> None:
    feed.create("u", max_deliveries=1, dead_letter_topic="v")
    feed.create("v", max_deliveries=1, dead_letter_topic="u")
    [sent] = feed.publish(b"1", topic="u")
    for topic in ("u", "v", "u"):
        assert [message.id for message in kill(feed, topic)] == [sent.id]
    feed.one(Purge("u"))
    assert (feed.stored("u"), feed.stored("v")) == (0, 1)
