"""Acks that come after their lease ran out: good as long as the message waits to be handed out again, and no longer."""

from __future__ import annotations

import pytest

from app.broker import handlers
from app.broker.commands import Ack, NewMessage, Redrive
from app.broker.results import LEASE_LOST, ReceivedMessage
from tests.broker.feed import Feed

LEASE_MS = 10


def late(feed: Feed, topic: str = "t", subscription: str = "default") -> ReceivedMessage:
    """The next message is handed out, and its lease runs out."""
    [message] = feed.lease(topic=topic, subscription=subscription, lease_ms=LEASE_MS)
    feed.tick(LEASE_MS)
    return message


def turns(feed: Feed) -> int:
    """How many groups stand in line, or wait for one of their messages."""
    [(count,)] = feed.machine._connection.execute("SELECT count(*) FROM turn").fetchall()
    return int(count)


def test_an_ack_that_is_late_succeeds_while_the_message_waits(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    message = late(feed)
    assert feed.counts() == (2, 0, 0, 0)
    assert feed.ack(message) == [None]
    assert (feed.counts(), feed.stored()) == ((1, 0, 0, 0), 1)
    assert feed.bodies() == [b"2"]


def test_it_may_be_repeated_and_is_final(feed: Feed) -> None:
    feed.publish(b"1")
    late(feed)
    message = late(feed)
    assert message.deliveries == 2
    assert [feed.ack(message) for _ in range(3)] == [[None]] * 3
    assert (feed.nack(message), feed.extend(message, lease_ms=5)) == ([LEASE_LOST], [LEASE_LOST])
    assert (feed.stored(), feed.lease()) == (0, [])


def test_it_may_stand_twice_in_one_request(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    late(feed)
    messages = [late(feed), *feed.lease(2)]
    feed.tick(30_000)
    assert [each.deliveries for each in messages] == [2, 3, 1]
    tokens = [each.token or "" for each in messages]
    assert feed.settled(Ack("t", [*tokens, *tokens])) == [LEASE_LOST, None, None] * 2
    assert feed.stored() == 0


@pytest.mark.parametrize("auto_ack", [False, True])
def test_once_the_message_was_handed_out_again_it_is_too_late(feed: Feed, auto_ack: bool) -> None:
    feed.publish(b"1")
    message = late(feed)
    if auto_ack:
        feed.receive()
        assert feed.ack(message) == [LEASE_LOST]
        return
    again = late(feed)
    assert feed.ack(message) == [LEASE_LOST]
    assert feed.ack(again) == [None]
    assert feed.ack(message) == [LEASE_LOST]


@pytest.mark.parametrize("delay_ms", [0, 50])
def test_an_ack_after_a_nack_stays_too_late(feed: Feed, delay_ms: int) -> None:
    feed.publish(b"1")
    [message] = feed.lease()
    feed.nack(message, delay_ms=delay_ms)
    assert feed.ack(message) == [LEASE_LOST]
    feed.tick(delay_ms)
    assert feed.counts() == (1, 0, 0, 0)
    assert feed.ack(message) == [LEASE_LOST]


def test_a_nack_of_an_earlier_delivery_does_not_count(feed: Feed) -> None:
    feed.publish(b"1")
    [first] = feed.lease()
    feed.nack(first)
    second = late(feed)
    assert feed.ack(first, second) == [LEASE_LOST, None]


def test_a_late_nack_or_extend_is_refused_and_takes_nothing_from_the_ack(feed: Feed) -> None:
    feed.publish(b"1")
    message = late(feed)
    assert (feed.nack(message), feed.extend(message, lease_ms=5)) == ([LEASE_LOST], [LEASE_LOST])
    assert feed.counts() == (1, 0, 0, 0)
    assert feed.ack(message) == [None]


@pytest.mark.parametrize("grave", ["nowhere", "dead", None])
def test_a_dead_letter_cannot_be_acked(feed: Feed, grave: str | None) -> None:
    feed.create("dead")
    feed.create("u", max_deliveries=1, dead_letter_topic=grave)
    feed.publish(b"1", topic="u")
    message = late(feed, "u")
    assert feed.ack(message, topic="u") == [LEASE_LOST]
    assert feed.stored("dead" if grave == "dead" else "u") == 1


def test_one_that_was_redriven_waits_like_any_other(feed: Feed) -> None:
    """It is ready again, and still nobody was given it since."""
    feed.create("u", max_deliveries=1)
    feed.publish(b"in time", b"nacked", topic="u")
    in_time = late(feed, "u")
    [nacked] = feed.lease(topic="u")
    feed.nack(nacked, topic="u")
    feed.one(Redrive("u"))
    assert feed.counts("u") == (2, 0, 0, 0)
    assert feed.ack(in_time, nacked, topic="u") == [None, LEASE_LOST]
    assert feed.nack(nacked, topic="u") == [None], "that was done, and is told again"
    assert feed.bodies(topic="u") == [b"nacked"]


def test_a_message_whose_time_is_over_cannot_be_acked(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor while it is stored for want of an entry that clears it away."""
    feed.publish(b"1", ttl_ms=50)
    message = late(feed)
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 0)
    feed.now_ms += 50
    assert feed.ack(message) == [LEASE_LOST]
    assert feed.stored() == 1
    feed.tick()
    assert feed.stored() == 0
    assert feed.ack(message) == [LEASE_LOST]


def test_the_next_of_its_group_follows_in_the_same_turn(feed: Feed) -> None:
    feed.publish(*(NewMessage(body, group=body[:1].decode()) for body in (b"a1", b"a2", b"b1", b"b2")))
    message = late(feed)
    assert message.body == b"a1"
    feed.publish(NewMessage(b"c1", group="c"))
    assert feed.ack(message) == [None]
    assert feed.bodies() == [b"b1", b"a2", b"c1", b"b2"]


def test_a_group_leaves_the_line_with_its_last_message(feed: Feed) -> None:
    feed.publish(NewMessage(b"a1", group="a"))
    message = late(feed)
    assert turns(feed) == 1
    assert feed.ack(message) == [None]
    assert turns(feed) == 0
    feed.publish(NewMessage(b"a2", group="a"))
    assert feed.bodies() == [b"a2"]


def test_a_group_goes_on_waiting_for_another_of_its_messages(feed: Feed) -> None:
    feed.create("u", max_deliveries=1)
    feed.publish(*(NewMessage(body, group="a") for body in (b"a1", b"a2", b"a3")), topic="u")
    message = late(feed, "u")
    [leased] = feed.lease(topic="u")
    feed.one(Redrive("u"))
    assert feed.ack(message, topic="u") == [None]
    assert (leased.body, feed.lease(topic="u")) == (b"a2", [])
    assert feed.ack(leased, topic="u") == [None]
    assert feed.bodies(topic="u") == [b"a3"]
    assert turns(feed) == 0


def test_it_is_for_one_subscription_alone(feed: Feed) -> None:
    feed.create("u", "s")
    feed.publish(b"1", topic="u")
    ours, theirs = late(feed, "u"), late(feed, "u", "s")
    assert feed.ack(ours, topic="u") == [None]
    assert (feed.counts("u"), feed.counts("u", "s"), feed.stored("u")) == ((0, 0, 0, 0), (1, 0, 0, 0), 1)
    assert feed.ack(ours, topic="u") == [None]
    assert feed.lease(topic="u") == []
    assert feed.ack(theirs, topic="u") == [None]
    assert feed.stored("u") == 0


def test_a_message_that_was_never_handed_out_has_no_token(feed: Feed) -> None:
    """One that arrived behind the cursor is ready as those are that came back."""
    feed.publish(NewMessage(b"later", delay_ms=50), NewMessage(b"now"))
    [leased] = feed.lease()
    feed.tick(50)
    parts = (leased.token or "").split("-")
    forged = "-".join([*parts[:3], "1", "0"])
    assert feed.settled(Ack("t", [forged])) == [LEASE_LOST]
    assert feed.bodies() == [b"later"]
