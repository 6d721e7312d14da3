"""Publishes of one command to many topics: each is answered as it would be alone, whatever is stored together."""

from __future__ import annotations

import pytest

from app.broker import Item, Machine
from app.broker.commands import Command, CreateTopic, Keyed, NewMessage, Publish, Publishes, PublishKeyed, encode
from app.broker.results import Published, PublishedEach, PublishedMessage, Refused
from tests.broker.feed import Feed

Part = Publish | PublishKeyed
TOPICS = [f"t{n}" for n in range(5)]


@pytest.fixture
def feed(feed: Feed) -> Feed:
    for topic in TOPICS:
        feed.create(topic)
    return feed


def each(feed: Feed, *publishes: Part) -> list[PublishedMessage | str]:
    """Of each message where it is, or why not."""
    answer = feed.one(Publishes(list(publishes)))
    assert isinstance(answer, PublishedEach)
    told: list[PublishedMessage | str] = []
    for one in answer.answers:
        told += [one.code] if isinstance(one, Refused) else one.messages if isinstance(one, Published) else []
    return told


def keyed(topic: str, *keys: str, print_: bytes = b"f") -> PublishKeyed:
    return PublishKeyed(topic, [Keyed(NewMessage(key.encode()), key, print_) for key in keys])


def plain(topic: str, *bodies: bytes) -> Publish:
    return Publish(topic, [NewMessage(body) for body in bodies], None, b"", False)


def rows(feed: Feed, table: str) -> int:
    found = feed.machine._connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(found[0][0])


def places(told: list[PublishedMessage | str]) -> list[tuple[str, int, bool]]:
    assert not any(isinstance(one, str) for one in told), told
    return [(one.id, one.sequence, one.duplicate) for one in told if isinstance(one, PublishedMessage)]


def test_ids_count_over_all_topics_in_the_order_of_the_parts(feed: Feed) -> None:
    told = each(feed, plain("t0", b"a", b"b"), keyed("t1", "c"), plain("t0", b"d"), keyed("t2", "e", "f"))
    assert places(told) == [(str(n), sequence, False) for n, sequence in enumerate([1, 2, 1, 3, 1, 2], 1)]
    assert [feed.bodies(topic=topic) for topic in TOPICS[:3]] == [[b"a", b"b", b"d"], [b"c"], [b"e", b"f"]]


def test_keys_of_many_topics_share_a_row_and_each_is_told_again(feed: Feed) -> None:
    parts = [keyed(topic, "same", topic) for topic in TOPICS]
    first = places(each(feed, *parts))
    assert (rows(feed, "claim"), feed.machine.counts().claims) == (1, 10)
    assert places(each(feed, *parts)) == [(id, sequence, True) for id, sequence, _ in first]
    assert feed.machine.counts().messages == 10


def test_keys_are_kept_for_the_window_of_their_own_topic(feed: Feed) -> None:
    feed.create("short", dedup_window_ms=1000)
    parts = [keyed("t0", "a"), keyed("short", "a"), keyed("t1", "a")]
    each(feed, *parts)
    assert rows(feed, "claim") == 2
    feed.now_ms += 1000
    assert [duplicate for *_, duplicate in places(each(feed, *parts))] == [True, False, True]


def test_a_key_that_comes_twice_is_told_of_its_first_message(feed: Feed) -> None:
    told = places(each(feed, keyed("t0", "k"), plain("t1", b"x"), keyed("t0", "k"), keyed("t1", "k")))
    assert told == [("1", 1, False), ("2", 1, False), ("1", 1, True), ("3", 2, False)]
    refused = each(feed, keyed("t2", "k"), keyed("t2", "k", print_=b"other"))
    assert isinstance(refused[1], PublishedMessage) and refused[1].code == "key_reused"
    assert places(each(feed, keyed("t3", "k", "k"))) == [("5", 1, False), ("5", 1, True)]
    assert feed.bodies(topic="t2") == feed.bodies(topic="t3") == [b"k"]


def test_dedup_ids_share_a_row_with_keys_and_are_told_again_each_for_itself(feed: Feed) -> None:
    new = [NewMessage(b"%d" % n, dedup_id=f"d{n}") for n in range(3)]
    batch = Publish("t0", [*new, NewMessage(b"3")], "d1", b"f")
    one = PublishKeyed("t1", [Keyed(new[0], "d0", b"f"), Keyed(new[1], "k", b"f")])
    first = places(each(feed, batch, one, Publish("t2", new, None, b"", False)))
    assert [sequence for _, sequence, _ in first] == [1, 2, 3, 4, 1, 2, 1, 2, 3]
    assert (rows(feed, "claim"), feed.machine.counts().claims) == (1, 3 + 1 + 4 + 3)
    again = [(id, sequence, True) for id, sequence, _ in first]
    assert places(each(feed, batch, one)) == again[:6]
    assert places(each(feed, Publish("t0", new[1:2]), Publish("t1", new[1:2]), Publish("t2", new))) == [
        again[1], again[5], *again[6:],
    ]  # fmt: skip
    half_new = Publish("t2", [new[2], NewMessage(b"new", dedup_id="d3")])
    assert places(each(feed, half_new)) == [again[8], ("10", 4, False)]
    (other,) = each(feed, Publish("t2", [NewMessage(b"other", dedup_id="d1")], None, b"", False))
    assert isinstance(other, PublishedMessage) and (other.code, other.id) == ("key_reused", first[7][0])
    twice = Publish("t3", [new[0], new[0]])
    assert [duplicate for *_, duplicate in places(each(feed, twice))] == [False, True]
    assert feed.machine.counts().messages == 11


def test_what_is_not_plain_is_done_in_its_place(feed: Feed) -> None:
    feed.create("small", max_messages=1)
    feed.create("drops", max_messages=1, overflow="drop_oldest")
    told = each(
        feed, plain("t0", b"1"), plain("none", b"x"), plain("small", b"2"), plain("small", b"y"), plain("drops", b"3"),
        Publish("t1", [NewMessage(b"4", dedup_id="d")]), plain("drops", b"5"), keyed("t1", "6"),
        Publish("t1", [NewMessage(b"7", group="g"), NewMessage(b"8", priority=1)]),
        Publish("t1", [NewMessage(b"9", headers={"a": "b"}), NewMessage(b"10", group="g")], "batch", b"f"),
    )  # fmt: skip
    codes = [one if isinstance(one, str) else one.code for one in told]
    assert codes == [None, "topic_not_found", None, "topic_full", *[None] * 4, "invalid_message", None, None]
    assert [one.id for one in told if isinstance(one, PublishedMessage) and one.code is None] == list("12345678")
    found = {topic: feed.bodies(topic=topic) for topic in ("t0", "small", "drops", "t1")}
    assert found == {"t0": [b"1"], "small": [b"2"], "drops": [b"5"], "t1": [b"4", b"10", b"6", b"9"]}
    again = places(each(feed, Publish("t1", [NewMessage(b"?")] * 2, "batch", b"f")))
    assert [(id, duplicate) for id, _, duplicate in again] == [("7", True), ("8", True)]


def test_batches_of_many_topics_are_in_packs(feed: Feed) -> None:
    bodies = [b"%d" % n for n in range(100)]
    each(feed, plain("t0", *bodies), plain("t1", b"x"), plain("t2", *bodies))
    assert (rows(feed, "pack"), rows(feed, "message")) == (4, 1)
    assert [feed.bodies(100, topic=topic) for topic in TOPICS[:3]] == [bodies, [b"x"], bodies]
    assert feed.machine.audit() == feed.machine.state_hash()[1]


@pytest.mark.parametrize("parts", [1, 3, 8])
def test_without_keys_the_state_is_as_after_one_by_one(parts: int) -> None:
    """To the last digit of its hash."""
    publishes: list[Command] = [plain(TOPICS[n % 5], b"%d" % n, b"%d again" % n) for n in range(parts)]
    creates: list[Command] = [CreateTopic(topic) for topic in TOPICS]

    def hash_of(*commands: Command | None) -> str:
        machine = Machine.open(":memory:")
        several = enumerate([*creates, *commands], 1)
        machine.apply([Item(n, 1, 1000, None if each is None else encode(each)) for n, each in several])
        return machine.state_hash()[1]

    at_once = Publishes([each for each in publishes if isinstance(each, Publish)])
    assert hash_of(at_once, *[None] * (parts - 1)) == hash_of(*publishes)
