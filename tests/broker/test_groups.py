"""Groups: strictly in order, one at a time, in turn."""

from __future__ import annotations

import pytest

from app.broker import choice, handlers
from app.broker.commands import NewMessage, Publish, Purge, Receive, Redrive
from app.broker.results import Redriven
from tests.broker.feed import Feed


def grouped(text: str) -> list[NewMessage]:
    """Messages "a1 b1 - …" as they come: the first letter is the group, - for none."""
    return [NewMessage(word.encode(), group=None if word[0] == "-" else word[0]) for word in text.split()]


def take(feed: Feed, count: int = 1000, subscription: str = "default") -> str:
    """What is handed out now, and done with it."""
    return " ".join(body.decode() for body in feed.bodies(count, subscription=subscription))


def test_a_group_waits_while_one_of_its_messages_is_leased(feed: Feed) -> None:
    feed.publish(*grouped("a1 a2 a3"))
    [first] = feed.lease(9)
    assert (first.body, first.group) == (b"a1", "a")
    assert feed.lease(9) == feed.receive(9) == []
    feed.ack(first)
    [second] = feed.lease(9)
    assert second.body == b"a2"


def test_it_waits_for_one_that_was_given_back_with_a_delay(feed: Feed) -> None:
    feed.publish(*grouped("a1 a2 b1"))
    first, other = feed.lease(9)
    feed.ack(other)
    feed.nack(first, delay_ms=100)
    assert feed.lease() == []
    feed.tick(99)
    assert feed.lease() == []
    feed.tick(1)
    assert [message.body for message in feed.lease()] == [b"a1"]


def test_what_comes_back_at_once_is_the_next_again(feed: Feed) -> None:
    feed.publish(*grouped("a1 a2"))
    [first] = feed.lease()
    feed.nack(first)
    assert take(feed) == "a1 a2"


def test_a_lease_that_ends_lets_the_group_go_on_with_the_same_message(feed: Feed) -> None:
    feed.publish(*grouped("a1 a2"))
    feed.lease(lease_ms=10)
    feed.tick(10)
    assert take(feed) == "a1 a2"


def test_a_group_that_waits_does_not_hold_up_others(feed: Feed) -> None:
    feed.publish(*grouped("a1 a2 b1 b2 -1"))
    assert [message.body for message in feed.lease(9)] == [b"-1", b"a1", b"b1"]
    feed.publish(*grouped("a3 c1 -2"))
    assert [message.body for message in feed.lease(9)] == [b"-2", b"c1"]


def test_groups_take_turns(feed: Feed) -> None:
    feed.publish(*grouped("a1 a2 a3 a4 b1 b2 c1"))
    assert take(feed, 3) == "a1 b1 c1"
    assert take(feed, 3) == "a2 b2 a3"
    assert take(feed, 3) == "a4"


def test_whoever_was_served_goes_to_the_end_of_the_line(feed: Feed) -> None:
    feed.publish(*grouped("a1 a2"))
    [first] = feed.lease()
    feed.publish(*grouped("b1 b2"))
    feed.ack(first)
    assert take(feed) == "b1 a2 b2"


def test_messages_without_a_group_are_one_more_in_the_line(feed: Feed) -> None:
    feed.publish(*grouped("-1 -2 -3 a1 a2 b1"))
    assert take(feed) == "-1 a1 b1 -2 a2 -3"


def test_a_turn_is_not_lost_for_want_of_room(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a busy group of large messages would keep those without a group waiting for ever."""
    monkeypatch.setattr(choice, "RECEIVE_BYTES", 10)
    feed.publish(*grouped("-1234567 a1234567 a2345678 a3456789 -7654321 a4567890"))
    assert [take(feed, 9) for _ in range(4)] == ["-1234567", "a1234567", "-7654321", "a2345678"]


def test_a_group_leaves_the_line_with_its_last_message_and_comes_back_at_its_end(feed: Feed) -> None:
    feed.publish(*grouped("a1 b1 b2 b3"))
    assert take(feed, 2) == "a1 b1"
    feed.publish(*grouped("c1 a2"))
    assert take(feed) == "b2 c1 a2 b3"


def test_one_batch_hands_out_nothing_twice(feed: Feed) -> None:
    answers = feed.all(
        Publish("t", grouped("a1 a2 b1")), Receive("t", auto_ack=False), Receive("t", auto_ack=False, max=9),
        Receive("t", auto_ack=False),
    )  # fmt: skip
    assert [[message.body for message in answer.messages] for answer in answers[1:]] == [[b"a1"], [b"b1"], []]


def test_a_group_is_in_order_where_its_topic_delays(feed: Feed) -> None:
    feed.create("u", delay_ms=100)
    feed.publish(NewMessage(b"1", group="a"), topic="u")
    feed.now_ms += 60
    feed.publish(NewMessage(b"2", group="a", delay_ms=0), topic="u")
    assert feed.counts("u") == (0, 0, 2, 0)
    feed.tick(40)
    assert feed.bodies(topic="u") == [b"1", b"2"]
    feed.publish(NewMessage(b"3", group="a", delay_ms=0), topic="u")
    assert feed.bodies(topic="u") == [b"3"]


def test_none_overtakes_those_that_are_due_and_have_not_arrived(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry lets only so many arrive. Whoever came past the others would have made them unreachable."""
    feed.create("u", delay_ms=100)
    feed.publish(*[NewMessage(b"%d" % i, group="a") for i in range(5)], topic="u")
    feed.now_ms += 100
    for budget in (0, 1):
        monkeypatch.setattr(handlers, "ROWS_BESIDE", budget)
        feed.publish(NewMessage(b"%d" % (5 + budget), group="a", delay_ms=0), topic="u")
    assert [feed.bodies(1, "u")[0] for _ in range(7)] == [b"%d" % i for i in range(7)]


def test_a_purge_forgets_for_whom_a_group_waited(feed: Feed) -> None:
    feed.create("u", delay_ms=1000)
    feed.publish(NewMessage(b"1", group="a"), topic="u")
    feed.one(Purge("u"))
    feed.publish(NewMessage(b"2", group="a", delay_ms=0), topic="u")
    assert feed.bodies(topic="u") == [b"2"]


def test_a_dead_letter_of_a_group_does_not_arrive_before_an_older_one(feed: Feed) -> None:
    """It brings a small id along, and arrives at the same time as who waits there already."""
    feed.create("dead", delay_ms=100)
    feed.create("u", max_deliveries=1, dead_letter_topic="dead")
    feed.publish(*grouped("a1"), topic="u")
    feed.publish(*grouped("a2"), topic="dead")
    feed.nack(*feed.lease(topic="u"), topic="u")
    feed.tick(100)
    assert feed.bodies(topic="dead") == [b"a2", b"a1"]


def test_dead_ones_do_not_hold_up_their_group_and_come_back_before_the_others(feed: Feed) -> None:
    feed.create("u", max_deliveries=1)
    feed.publish(*grouped("a1 a2 a3"), topic="u")
    feed.nack(*feed.lease(topic="u"), topic="u")
    assert feed.bodies(1, "u") == [b"a2"]
    assert feed.one(Redrive("u")) == Redriven(1, 0, None)
    assert feed.bodies(topic="u") == [b"a1", b"a3"]


def test_reviving_one_does_not_pass_by_those_on_their_way(feed: Feed) -> None:
    feed.create("u", max_deliveries=1, delay_ms=100)
    feed.publish(*grouped("a1"), topic="u")
    feed.tick(100)
    feed.nack(*feed.lease(topic="u"), topic="u")
    feed.publish(*grouped("a2"), topic="u")
    feed.one(Redrive("u"))
    feed.tick(100)
    assert feed.bodies(topic="u") == [b"a1", b"a2"]


def test_reviving_some_leaves_the_others_dead(feed: Feed) -> None:
    feed.create("u", max_deliveries=1)
    feed.publish(*grouped("a1 a2"), topic="u")
    for _ in range(2):
        feed.nack(*feed.lease(topic="u"), topic="u")
    assert feed.one(Redrive("u", max=1)).moved == 1
    assert feed.counts("u") == (1, 0, 0, 1)
    assert feed.bodies(topic="u") == [b"a1"]


def test_each_subscription_has_its_own_line(feed: Feed) -> None:
    feed.create("u", "s")
    feed.publish(*grouped("a1 a2 b1"), topic="u")
    feed.lease(topic="u")
    assert [message.body for message in feed.lease(9, "u", "s")] == [b"a1", b"b1"]
    assert [message.body for message in feed.lease(9, "u")] == [b"b1"]


def test_groups_whose_messages_are_over_leave_nothing_behind(feed: Feed) -> None:
    feed.publish(*(NewMessage(b"", group=f"g{i}", ttl_ms=10) for i in range(20)), *grouped("a1"))
    feed.tick(10)
    rows = feed.machine._connection.execute("SELECT count(*) FROM turn").fetchall()
    assert rows == [(1,)]
    assert take(feed) == "a1"
