"""Keys: a retry gets the first answer again, for as long as was promised."""

from __future__ import annotations

import pytest

from app.broker import dedup
from app.broker.commands import DeleteTopic, NewMessage, Publish, Receive
from app.broker.results import Published, Received, Refused
from tests.broker.feed import Feed

WINDOW_MS = 300_000


def publish(feed: Feed, key: str, fingerprint: bytes = b"f", count: int = 1, topic: str = "t") -> Published | Refused:
    answer = feed.one(Publish(topic, [NewMessage(b"x")] * count, key, fingerprint))
    assert isinstance(answer, Published | Refused)
    return answer


def test_a_repeated_publish_gets_the_first_answer_again(feed: Feed) -> None:
    first = publish(feed, "k", count=3)
    publish(feed, "other")
    again = publish(feed, "k", count=3)
    assert [(m.id, m.sequence) for m in again.messages] == [(m.id, m.sequence) for m in first.messages]
    assert [m.duplicate for m in first.messages + again.messages] == [False] * 3 + [True] * 3
    assert feed.machine.topic("t").messages == 4
    feed.receive(9)
    assert publish(feed, "k", count=3) == again


def test_within_one_batch_too(feed: Feed) -> None:
    command = Publish("t", [NewMessage(b"x")], "k", b"f")
    first, again = feed.all(command, command)
    assert (first.messages[0].duplicate, again.messages[0].duplicate) == (False, True)
    assert feed.machine.topic("t").messages == 1


def test_the_same_key_for_something_else_is_refused(feed: Feed) -> None:
    publish(feed, "k", b"one")
    answer = publish(feed, "k", b"two")
    assert isinstance(answer, Refused) and answer.code == "key_reused"
    assert feed.machine.topic("t").messages == 1


def test_keys_belong_to_a_topic_and_a_kind_of_command(feed: Feed) -> None:
    feed.create("u")
    assert not publish(feed, "k").messages[0].duplicate
    assert not publish(feed, "k", b"else", topic="u").messages[0].duplicate
    assert len(feed.receive(key="k")) == 1
    assert publish(feed, "k").messages[0].duplicate


def test_a_refusal_does_not_use_up_the_key(feed: Feed) -> None:
    assert isinstance(publish(feed, "k", topic="u"), Refused)
    feed.create("u")
    assert not publish(feed, "k", topic="u").messages[0].duplicate


def test_the_window_ends_to_the_millisecond_of_log_time(feed: Feed) -> None:
    publish(feed, "k")
    feed.now_ms += WINDOW_MS - 1
    assert publish(feed, "k").messages[0].duplicate
    feed.now_ms += 1
    assert not publish(feed, "k", b"something else").messages[0].duplicate
    assert feed.machine.counts().claims == 1


def test_the_window_is_the_topics(feed: Feed) -> None:
    feed.create("u", dedup_window_ms=1000)
    publish(feed, "k", topic="u")
    feed.now_ms += 1000
    assert not publish(feed, "k", topic="u").messages[0].duplicate


def test_the_expired_are_swept_by_those_that_follow(feed: Feed) -> None:
    for i in range(5):
        publish(feed, f"k{i}")
    feed.now_ms += WINDOW_MS
    publish(feed, "new")
    assert feed.machine.counts().claims == 1


def test_beyond_the_bound_the_oldest_goes(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "CLAIMS_MAX", 3)
    for i in range(4):
        publish(feed, f"k{i}")
    assert feed.machine.counts().claims == 3
    assert [publish(feed, f"k{i}").messages[0].duplicate for i in (1, 2, 3)] == [True] * 3
    assert not publish(feed, "k0").messages[0].duplicate


def test_kept_answers_are_bounded_in_bytes(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "CLAIMS_BYTES_MAX", 1000)
    feed.publish(*[b"x" * 400] * 3)
    first = [feed.receive(key=f"r{i}") for i in range(3)]
    assert feed.machine.counts().claims == 2
    assert feed.receive(key="r0") == []
    assert [feed.receive(key=f"r{i}") for i in (1, 2)] == first[1:]


def test_one_command_sweeps_only_so_many(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "SWEEP_ROWS", 2)
    for i in range(6):
        publish(feed, f"k{i}")
    feed.now_ms += WINDOW_MS
    left = []
    for i in range(4):
        publish(feed, f"new{i}")
        left.append(feed.machine.counts().claims)
    assert left == [5, 4, 3, 4]


def test_a_repeated_receive_gets_the_same_messages(feed: Feed) -> None:
    feed.publish(b"1", b"2", b"3")
    first = feed.receive(2, key="r")
    assert [message.body for message in first] == [b"1", b"2"]
    other = feed.one(Receive("t", max=1, key="r"))
    assert isinstance(other, Refused) and other.code == "key_reused"
    assert [message.body for message in feed.receive(9)] == [b"3"]
    assert feed.receive(2, key="r") == first


def test_a_final_empty_answer_is_kept(feed: Feed) -> None:
    """A first try that comes late must not take what its answered retry did not see: nobody would ever get it."""
    final = Receive("t", key="r", final=True)
    assert feed.one(final) == Received([])
    feed.publish(b"1")
    assert feed.one(final) == Received([])
    assert [message.body for message in feed.receive(key="s")] == [b"1"]


def test_who_still_waits_leaves_an_empty_answer_open(feed: Feed) -> None:
    assert feed.receive(key="r") == []
    feed.publish(b"1")
    first = feed.receive(key="r")
    assert [message.body for message in first] == [b"1"]
    assert feed.one(Receive("t", key="r", final=True)) == Received(first)


def test_who_gave_up_waiting_has_an_answer(feed: Feed) -> None:
    assert feed.receive(key="r") == []
    assert feed.one(Receive("t", key="r", final=True)) == Received([])
    feed.publish(b"1")
    assert feed.receive(key="r") == []


def test_a_topic_made_anew_knows_nothing_of_its_former_keys(feed: Feed) -> None:
    publish(feed, "k")
    feed.receive(key="r")
    feed.one(DeleteTopic("t"))
    feed.create()
    assert feed.receive(key="r") == []
    assert not publish(feed, "k", b"else").messages[0].duplicate
