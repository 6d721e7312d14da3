"""Receive with leases, ack, nack, extend: who has a message, until when, and what his token is worth afterwards."""

from __future__ import annotations

import pytest

from app.broker import dedup
from app.broker.commands import (
    LEASE_MS_MAX,
    MESSAGES_MAX,
    Ack,
    DeleteTopic,
    Extend,
    Nack,
    NewMessage,
    Publish,
    Purge,
    Receive,
)
from app.broker.results import BAD_TOKEN, LEASE_LOST
from tests.broker.feed import Feed

LEASE_MS = 30_000
WINDOW_MS = 300_000


def test_a_leased_message_comes_with_all_that_is_needed(feed: Feed) -> None:
    [published] = feed.publish(b"1", headers={"h": "1"}, priority=0)
    [message] = feed.lease()
    assert (message.id, message.sequence, message.body, message.headers) == (published.id, 1, b"1", {"h": "1"})
    assert message.token and message.deliveries == 1
    assert message.lease_expires_ms == feed.now_ms + LEASE_MS
    assert feed.counts() == (0, 1, 0, 0)


def test_the_lease_is_the_topics_where_nobody_says_another(feed: Feed) -> None:
    feed.create("u", lease_ms=5)
    feed.publish(b"1", b"2", topic="u")
    first, second = feed.lease(topic="u"), feed.lease(topic="u", lease_ms=7)
    assert [each[0].lease_expires_ms for each in (first, second)] == [feed.now_ms + 5, feed.now_ms + 7]


def test_a_leased_message_does_not_hold_up_those_behind_it(feed: Feed) -> None:
    feed.publish(b"1", b"2", b"3")
    assert [message.body for message in feed.lease()] == [b"1"]
    assert [message.body for message in feed.lease(2)] == [b"2", b"3"]
    assert feed.lease() == []


def test_a_lease_ends_in_time_and_not_before(feed: Feed) -> None:
    feed.publish(b"1")
    [first] = feed.lease()
    feed.now_ms += LEASE_MS - 1
    assert feed.lease() == []
    feed.now_ms += 1
    [second] = feed.lease()
    assert (second.id, second.deliveries) == (first.id, 2)
    assert second.token != first.token


def test_what_comes_back_is_handed_out_before_all_that_never_were(feed: Feed) -> None:
    feed.publish(b"1", b"2", b"3", b"4")
    one, two, three = feed.lease(3)
    assert feed.nack(three, one) == [None, None]
    assert feed.ack(two) == [None]
    assert feed.bodies() == [b"1", b"3", b"4"]


def test_an_acked_message_is_gone_for_good(feed: Feed) -> None:
    feed.publish(b"1")
    [message] = feed.lease()
    assert feed.ack(message) == [None]
    assert feed.stored() == 0
    feed.tick(LEASE_MS)
    assert feed.lease() == []


def test_each_token_has_a_result_of_its_own(feed: Feed) -> None:
    feed.publish(b"1", b"2", b"3")
    [lost] = feed.lease(lease_ms=1)
    feed.tick(1)
    [_, good] = feed.lease(2)
    tokens = [lost.token or "", "nonsense", good.token or "", good.token or ""]
    assert feed.settled(Ack("t", tokens)) == [LEASE_LOST, BAD_TOKEN, None, None]


def test_a_token_that_nobody_can_have_been_given_is_a_bad_one(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    [acked] = feed.lease()
    assert feed.ack(acked) == [None]
    subscription, lease, lane, sequence, deliveries = (acked.token or "").split("-")
    no_such_message = f"{subscription}-{lease}-{lane}-3-1"
    no_such_lease = f"{subscription}-2-{lane}-{sequence}-{deliveries}"
    for command in (Ack("t", [no_such_message, no_such_lease]), Nack("t", [no_such_message, no_such_lease])):
        assert feed.settled(command) == [BAD_TOKEN] * 2
    assert feed.bodies() == [b"2"]


def test_part_of_what_was_handed_out_together_may_be_acked(feed: Feed) -> None:
    feed.publish(*(b"%d" % i for i in range(5)))
    leased = feed.lease(5)
    assert feed.ack(leased[1], leased[3]) == [None, None]
    assert feed.counts() == (0, 3, 0, 0)
    feed.tick(LEASE_MS)
    assert feed.bodies() == [b"0", b"2", b"4"]


def test_a_repeated_ack_succeeds_again(feed: Feed) -> None:
    feed.publish(b"1")
    [message] = feed.lease()
    assert [feed.ack(message) for _ in range(3)] == [[None]] * 3


def test_a_repeated_ack_of_a_later_delivery_succeeds_within_the_window(feed: Feed) -> None:
    feed.publish(b"1")
    [first] = feed.lease(lease_ms=1)
    feed.tick(1)
    [second] = feed.lease()
    assert feed.ack(second) == [None]
    feed.now_ms += WINDOW_MS - 1
    assert (feed.ack(second), feed.ack(first)) == ([None], [LEASE_LOST])
    feed.now_ms += 1
    assert feed.ack(second) == [LEASE_LOST]


def test_after_the_window_what_became_of_a_first_delivery_is_forgotten(feed: Feed) -> None:
    """That it did not end with an ack was noted for so long; a message that is gone now seems to have been acked."""
    feed.create("u", ttl_ms=10)
    feed.publish(b"1", topic="u")
    [message] = feed.lease(topic="u", lease_ms=10)
    feed.tick(10)
    feed.now_ms += WINDOW_MS - 1
    assert feed.ack(message, topic="u") == [LEASE_LOST]
    feed.now_ms += 1
    assert feed.ack(message, topic="u") == [None]


def test_a_repeated_nack_succeeds_until_the_message_is_handed_out_again(feed: Feed) -> None:
    feed.publish(b"1")
    [message] = feed.lease()
    assert feed.nack(message, delay_ms=5) == feed.nack(message, delay_ms=9) == [None]
    assert feed.counts() == (0, 0, 1, 0)
    feed.tick(5)
    assert feed.nack(message) == [None], "the delay is that of the first"
    [again] = feed.lease()
    assert feed.nack(message) == [LEASE_LOST]
    assert feed.ack(message) == [LEASE_LOST]
    assert again.deliveries == 2


def test_an_ack_after_a_nack_comes_too_late_and_the_other_way_round(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    first, second = feed.lease(2)
    feed.nack(first)
    feed.ack(second)
    assert (feed.ack(first), feed.nack(second)) == ([LEASE_LOST], [LEASE_LOST])


@pytest.mark.parametrize("again", [False, True])
def test_after_its_end_a_lease_is_lost(feed: Feed, again: bool) -> None:
    feed.publish(b"1")
    [message] = feed.lease(lease_ms=10)
    feed.tick(10)
    if again:
        feed.lease()
    assert (feed.nack(message), feed.extend(message, lease_ms=5)) == ([LEASE_LOST], [LEASE_LOST])
    if again:
        assert feed.ack(message) == [LEASE_LOST]


def test_a_token_of_a_first_delivery_is_lost_when_a_second_one_was_acked(feed: Feed) -> None:
    feed.publish(b"1")
    [first] = feed.lease(lease_ms=1)
    feed.tick(1)
    feed.ack(*feed.lease())
    assert feed.ack(first) == [LEASE_LOST]


def test_after_a_purge_every_token_is_lost(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    acked, leased = feed.lease(2)
    feed.ack(acked)
    feed.one(Purge("t"))
    assert feed.ack(acked, leased) == [LEASE_LOST] * 2
    assert feed.nack(leased) == [LEASE_LOST]
    assert feed.extend(leased, lease_ms=1) == [LEASE_LOST]


def test_a_token_of_another_topic_is_lost(feed: Feed) -> None:
    feed.create("u")
    feed.publish(b"1")
    [message] = feed.lease()
    assert feed.ack(message, topic="u") == [LEASE_LOST]
    feed.one(DeleteTopic("t"))
    feed.create()
    assert feed.ack(message) == [LEASE_LOST]


NO_TOKENS = [
    "", "x", "1-2-3-4", "1-2-3-4-5-6", "1-2-3-4-g", "A-1-1-1-1", "-1-1-1-1-1", " 1-1-1-1-1", "1-1-1-1-1\n",
    "１-1-1-1-1",
]  # fmt: skip


@pytest.mark.parametrize("text", [*NO_TOKENS, "1" * 16 + "-1-1-1-1", "1" * 512])
def test_what_is_no_token_says_so(feed: Feed, text: str) -> None:
    for command in (Ack("t", [text]), Nack("t", [text]), Extend("t", [text], 1)):
        assert feed.settled(command) == [BAD_TOKEN]


def test_a_token_that_was_never_given_does_no_harm(feed: Feed) -> None:
    """It reads like one; nothing that is there can be reached by it."""
    feed.publish(b"1", b"2")
    [message] = feed.lease()
    parts = (message.token or "").split("-")
    for place in range(5):
        for value in ("0", "7", "f" * 15):
            if value != parts[place]:
                forged = "-".join([*parts[:place], value, *parts[place + 1 :]])
                for command in (Ack("t", [forged]), Nack("t", [forged]), Extend("t", [forged], 1)):
                    feed.settled(command)
    assert feed.counts() == (1, 1, 0, 0)
    assert feed.ack(message) == [None]


def test_nack_gives_back_at_once(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    [message] = feed.lease()
    assert feed.nack(message) == [None]
    [again] = feed.lease()
    assert (again.id, again.deliveries) == (message.id, 2)


def test_nack_gives_back_after_a_delay(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    [message] = feed.lease()
    assert feed.nack(message, delay_ms=100) == [None]
    assert feed.counts() == (1, 0, 1, 0)
    feed.now_ms += 99
    assert feed.bodies() == [b"2"]
    feed.now_ms += 1
    [again] = feed.lease()
    assert (again.body, again.deliveries) == (b"1", 2)


def test_extend_sets_the_end_anew_later_or_earlier(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    longer, shorter = feed.lease(2)
    feed.now_ms += 10_000
    assert feed.extend(longer, lease_ms=LEASE_MS) == [None]
    assert feed.extend(shorter, lease_ms=1) == [None]
    feed.tick(1)
    assert feed.counts() == (1, 1, 0, 0)
    feed.tick(LEASE_MS - 2)
    assert feed.counts() == (1, 1, 0, 0)
    feed.tick(1)
    assert feed.counts() == (2, 0, 0, 0)


def test_the_longest_lease_is_twelve_hours(feed: Feed) -> None:
    feed.publish(b"1")
    [message] = feed.lease(lease_ms=LEASE_MS_MAX)
    assert feed.extend(message, lease_ms=LEASE_MS_MAX) == [None]
    token = message.token or ""
    assert LEASE_MS_MAX == 12 * 60 * 60 * 1000
    for command in (
        Extend("t", [token], LEASE_MS_MAX + 1), Extend("t", [token], 0), Receive("t", lease_ms=LEASE_MS_MAX + 1),
        Receive("t", lease_ms=0), Nack("t", [token], LEASE_MS_MAX + 1), Nack("t", [token], -1),
    ):  # fmt: skip
        assert feed.refused(command) == "bad_command"
    assert feed.nack(message, delay_ms=LEASE_MS_MAX) == [None]


def test_so_many_tokens_at_once(feed: Feed) -> None:
    feed.publish(*[b""] * MESSAGES_MAX)
    leased = feed.lease(MESSAGES_MAX)
    assert len({message.token for message in leased}) == MESSAGES_MAX
    token = leased[0].token or ""
    assert feed.refused(Ack("t", [token] * (MESSAGES_MAX + 1))) == feed.refused(Ack("t", [])) == "bad_command"
    assert feed.refused(Ack("t", ["x" * 513])) == "bad_command"
    assert feed.ack(*leased) == [None] * MESSAGES_MAX
    assert feed.stored() == 0


def test_an_unknown_topic_is_refused(feed: Feed) -> None:
    for command in (Ack("no", ["x"]), Nack("no", ["x"]), Extend("no", ["x"], 1)):
        assert feed.refused(command) == "topic_not_found"


def test_with_auto_ack_a_message_is_done_when_it_is_handed_out(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    [message] = feed.receive()
    assert (message.token, message.lease_expires_ms, message.deliveries) == (None, None, 1)
    assert feed.stored() == 1
    feed.tick(WINDOW_MS)
    assert feed.bodies() == [b"2"]


def test_a_message_that_came_back_may_be_taken_with_auto_ack(feed: Feed) -> None:
    feed.publish(b"1")
    [leased] = feed.lease()
    feed.nack(leased)
    assert feed.receive()[0].deliveries == 2
    assert feed.stored() == 0
    assert feed.ack(leased) == feed.nack(leased) == [LEASE_LOST]


def test_leases_in_one_batch(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    first, second = feed.all(Receive("t", auto_ack=False), Receive("t", auto_ack=False))
    assert (first.messages[0].body, second.messages[0].body) == (b"1", b"2")
    tokens = [answer.messages[0].token for answer in (first, second)]
    feed.all(Ack("t", tokens[:1]), Publish("t", [NewMessage(b"3")]), Ack("t", tokens[1:]))
    assert feed.bodies() == [b"3"]


def test_an_ack_costs_no_note(feed: Feed) -> None:
    """What a first delivery's ack did is known from the message being gone."""
    feed.publish(*[b""] * 100)
    feed.ack(*feed.lease(100))
    assert feed.machine.counts().claims == 0


def test_beyond_the_bound_of_kept_answers_a_repeated_ack_may_be_told_that_it_was_late(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedup, "CLAIMS_MAX", 1)
    feed.publish(b"1", b"2")
    feed.nack(*feed.lease(2))
    first, second = feed.lease(2)
    assert feed.ack(first, second) == [None, None]
    assert (feed.ack(first), feed.ack(second)) == ([LEASE_LOST], [None])
