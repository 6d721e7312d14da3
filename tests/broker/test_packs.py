"""Messages that share a row: which do, and that nobody can tell."""

from __future__ import annotations

import random
from contextlib import closing
from itertools import pairwise

import pytest

from app.broker import Machine, append, chores, packs
from app.broker.commands import CreateSubscription, DeleteSubscription, DeleteTopic, NewMessage, Publish, Purge, Tick
from app.broker.packs import BYTES, LEAST, MESSAGES, TOGETHER
from tests.broker.feed import START_MS, Feed


def bodies(start: int, end: int) -> list[bytes]:
    return [b"%d" % n for n in range(start, end)]


def sizes(feed: Feed) -> list[int]:
    """How many messages the rows of `pack` hold, in order."""
    feed.machine.audit()
    connection = feed.machine._connection
    return [size for (size,) in connection.execute("SELECT count FROM pack ORDER BY store, first")]


def loose(feed: Feed) -> int:
    """Messages with a row of their own."""
    return int(feed.machine._connection.execute("SELECT count(*) FROM message").fetchall()[0][0])


def test_a_batch_is_cut_into_packs_and_a_small_rest(feed: Feed) -> None:
    published = feed.publish(*bodies(0, 2 * MESSAGES + LEAST - 1))
    assert sizes(feed) == [MESSAGES, MESSAGES]
    assert loose(feed) == LEAST - 1
    assert [(each.id, each.sequence) for each in published] == [(str(n), n) for n in range(1, len(published) + 1)]
    assert feed.bodies() == bodies(0, len(published))
    assert (sizes(feed), loose(feed), feed.stored()) == ([], 0, 0)


def test_a_pack_is_bounded_in_bytes(feed: Feed) -> None:
    size_bytes = BYTES // (2 * LEAST)
    feed.publish(*[b"x" * size_bytes] * (2 * LEAST + 1))
    assert (sizes(feed), loose(feed)) == ([2 * LEAST], 1)
    feed.publish(*[b"x" * (BYTES // LEAST + 1)] * LEAST)
    assert (sizes(feed), loose(feed)) == ([2 * LEAST], 1 + LEAST)


@pytest.mark.parametrize("most_bytes", [10, BYTES // MESSAGES, BYTES // LEAST, BYTES, 2 * BYTES])
def test_packs_are_as_large_as_their_bounds_allow(most_bytes: int) -> None:
    sizes_bytes = [random.Random(n).randrange(most_bytes) for n in range(1000)]
    expected: list[list[int]] = []
    for size_bytes in sizes_bytes:
        if not expected or len(expected[-1]) == MESSAGES or sum(expected[-1]) + size_bytes > BYTES:
            expected.append([])
        expected[-1].append(size_bytes)
    assert [sizes_bytes[start:end] for start, end in packs._cuts(sizes_bytes)] == expected


@pytest.mark.parametrize("seed", range(20))
def test_bodies_alone_are_stored_as_if_each_had_been_looked_at(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    most_bytes = rng.choice([10, BYTES // MESSAGES, BYTES // LEAST, 2 * BYTES])
    batches = [[rng.randbytes(rng.randrange(most_bytes)) for _ in range(rng.randrange(1, 300))] for _ in range(5)]

    def stored() -> tuple[list[int], int, str]:
        with closing(Machine.open(":memory:")) as machine:
            feed = Feed(machine)
            feed.create(max_messages=1000, overflow="drop_oldest")
            for batch in batches:
                feed.publish(*batch)
            return sizes(feed), loose(feed), machine.state_hash()[1]

    at_once = stored()
    monkeypatch.setattr(append, "_are_bodies", lambda topic, new: False)
    assert stored() == at_once


@pytest.mark.parametrize(
    "apart", [{"group": "g"}, {"priority": 1}, {"ttl_ms": 1000}, {"delay_ms": 1000}], ids=lambda each: next(iter(each))
)
def test_what_has_a_place_or_a_time_of_its_own_has_a_row_of_its_own(feed: Feed, apart: dict[str, object]) -> None:
    feed.create("p", priorities=True)
    feed.publish(*bodies(0, MESSAGES), topic="p", **apart)
    assert (sizes(feed), loose(feed)) == ([], MESSAGES)
    one = NewMessage(b"apart", **apart)  # type: ignore[arg-type]
    feed.publish(*bodies(0, LEAST), one, *bodies(LEAST, 2 * LEAST), one, *bodies(0, LEAST - 1), topic="p")
    assert (sizes(feed), loose(feed)) == ([LEAST, LEAST], MESSAGES + 2 + LEAST - 1)


def test_headers_and_bytes_come_back_as_they_were(feed: Feed) -> None:
    new = [NewMessage(b"%d" % n, n % 2 == 0, {"n": str(n)} if n % 3 else None) for n in range(LEAST)]
    feed.publish(*new)
    assert sizes(feed) == [LEAST]
    found = [NewMessage(each.body, each.binary, each.headers) for each in feed.receive(LEAST)]
    assert found == new


def test_a_receive_reads_on_over_packs_and_rows(feed: Feed) -> None:
    for start, end in pairwise([0, 3, 3 + MESSAGES, 5 + MESSAGES, 5 + 3 * MESSAGES, 6 + 3 * MESSAGES]):
        feed.publish(*bodies(start, end))
    assert (sizes(feed), loose(feed)) == ([MESSAGES] * 3, 6)
    found = [message.body for size in (1, 5, 200, 2, 1000) for message in feed.lease(size)]
    assert found == bodies(0, 6 + 3 * MESSAGES)
    assert feed.lease() == []


def test_who_is_done_with_a_good_part_leaves_smaller_packs(feed: Feed) -> None:
    feed.publish(*bodies(0, MESSAGES))
    held = feed.lease(MESSAGES)
    middle = held[LEAST : LEAST + TOGETHER]
    assert feed.ack(*middle) == [None] * TOGETHER
    assert (sizes(feed), loose(feed)) == ([LEAST, MESSAGES - LEAST - TOGETHER], 0)
    assert feed.ack(*middle, *held[1:TOGETHER]) == [None] * (2 * TOGETHER - 1), "again, and a few more"
    assert (sizes(feed), loose(feed)) == ([MESSAGES - LEAST - TOGETHER], LEAST - TOGETHER + 1)
    feed.nack(held[0], *held[TOGETHER:LEAST], *held[LEAST + TOGETHER :])
    assert feed.bodies() == [b"0", *bodies(TOGETHER, LEAST), *bodies(LEAST + TOGETHER, MESSAGES)]
    assert (sizes(feed), loose(feed), feed.stored()) == ([], 0, 0)


def test_one_by_one_a_pack_is_taken_apart_once(feed: Feed) -> None:
    feed.publish(*bodies(0, MESSAGES))
    for left in range(MESSAGES - 1, -1, -1):
        feed.ack(*feed.lease())
        assert (sizes(feed), loose(feed)) == ([], left)


def test_an_ack_over_many_packs_packs_what_it_leaves(feed: Feed) -> None:
    """Else it would write a row for each of them."""
    feed.publish(*bodies(0, TOGETHER * MESSAGES))
    held = feed.lease(TOGETHER * MESSAGES)
    feed.ack(*held[::MESSAGES])
    assert (sizes(feed), loose(feed)) == ([MESSAGES - 1] * TOGETHER, 0)
    feed.ack(*held[1 :: 2 * MESSAGES])
    assert (sizes(feed), loose(feed)) == ([MESSAGES - 1] * (TOGETHER // 2), (MESSAGES - 2) * TOGETHER // 2)


def test_a_pack_that_was_read_before_part_of_it_went_is_read_again(feed: Feed) -> None:
    feed.publish(*bodies(0, MESSAGES))
    held = feed.lease(MESSAGES)
    feed.nack(held[-1])
    feed.ack(*held[:TOGETHER])
    feed.nack(*held[TOGETHER:-1])
    assert feed.bodies() == bodies(TOGETHER, MESSAGES)


def test_a_subscription_that_goes_takes_along_what_it_alone_had_kept(feed: Feed) -> None:
    feed.one(CreateSubscription("t", "slow"))
    feed.publish(*bodies(0, 3 * MESSAGES))
    assert feed.bodies(MESSAGES + TOGETHER) == bodies(0, MESSAGES + TOGETHER)
    assert sizes(feed) == [MESSAGES] * 3
    feed.one(DeleteSubscription("t", "slow"))
    while feed.machine.next_due_ms <= feed.now_ms:
        feed.tick()
    assert feed.stored() == 2 * MESSAGES - TOGETHER
    assert feed.bodies() == bodies(MESSAGES + TOGETHER, 3 * MESSAGES)


def test_a_dead_letter_leaves_its_pack(feed: Feed) -> None:
    feed.create("dead")
    feed.create("u", max_deliveries=1, dead_letter_topic="dead")
    feed.publish(*bodies(0, LEAST), topic="u")
    [first] = feed.lease(topic="u")
    feed.nack(first, topic="u")
    [letter] = feed.receive(topic="dead")
    assert (letter.id, letter.body, letter.published_ms) == (first.id, b"0", first.published_ms)
    assert feed.bodies(topic="u") == bodies(1, LEAST)


def test_a_subscription_may_begin_inside_of_a_pack(feed: Feed) -> None:
    feed.publish(*bodies(0, 2 * MESSAGES))
    feed.one(CreateSubscription("t", "late", MESSAGES // 2 + 1))
    assert feed.counts(subscription="late")[0] == 3 * MESSAGES // 2
    assert feed.bodies() == bodies(0, 2 * MESSAGES)
    assert (sizes(feed), loose(feed)) == ([MESSAGES // 2, MESSAGES], 0), "what only the first one needed is gone"
    assert feed.bodies(subscription="late") == bodies(MESSAGES // 2, 2 * MESSAGES)
    assert (sizes(feed), feed.stored()) == ([], 0)


def test_the_oldest_goes_out_of_its_pack_when_the_topic_is_full(feed: Feed) -> None:
    feed.create("full", max_messages=2 * LEAST, overflow="drop_oldest")
    feed.publish(*bodies(0, 2 * LEAST), topic="full")
    feed.publish(*bodies(2 * LEAST, 3 * LEAST), topic="full")
    assert (sizes(feed), loose(feed)) == ([LEAST], LEAST), "each for itself makes room"
    feed.publish(b"last", topic="full")
    assert feed.bodies(topic="full") == [*bodies(LEAST + 1, 3 * LEAST), b"last"]


def test_looking_does_not_touch(feed: Feed) -> None:
    feed.publish(*bodies(0, MESSAGES), headers={"a": "b"})
    before = feed.machine.state_hash()
    page = feed.machine.peek("t", "default", 10, 3, {"a": "b"})
    assert page is not None and [each.message.body for each in page.items] == bodies(9, 12)
    info = feed.machine.topic("t")
    assert info is not None and info.oldest_ms == START_MS
    assert feed.machine.state_hash() == before and sizes(feed) == [MESSAGES]


@pytest.mark.parametrize("command", [DeleteTopic("t"), Purge("t")], ids=["delete", "purge"])
def test_the_packs_of_what_is_gone_go_a_few_bytes_at_a_time(
    feed: Feed, command: DeleteTopic | Purge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "REAP_BYTES", 3 * LEAST * 50)
    for _ in range(4):
        feed.publish(*[b"x" * 40] * LEAST)
    feed.one(command)
    left = []
    while packs_left := len(sizes(feed)):
        left.append(packs_left)
        feed.one(Tick())
    assert left == [4, 1], "the first ones with the command that follows"


def test_a_publish_that_is_refused_leaves_no_pack(feed: Feed) -> None:
    feed.create("small", max_messages=LEAST)
    assert feed.refused(Publish("small", [NewMessage(b"")] * (LEAST + 1))) == "invalid_message"
    assert sizes(feed) == []


def test_the_bounds_go_together() -> None:
    assert 1 < TOGETHER <= LEAST <= MESSAGES
