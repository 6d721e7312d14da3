"""Publish and receive: order, sequences, identity, bounds."""

from __future__ import annotations

import re
from random import Random

import pytest
from msgspec import structs

from app.broker import Machine, choice
from app.broker.commands import MESSAGES_MAX, CreateTopic, NewMessage, Publish, Receive
from app.broker.results import UNSAID, Published, Received, Refused
from tests.broker.feed import START_MS, Feed
from tests.broker.logs import Author


def test_first_in_first_out_as_given(feed: Feed) -> None:
    bodies = [b"1", b"", b"null", b"1", b"\x00\xff", b'{"a": 1 }']
    feed.publish(*bodies)
    assert [message.body for message in feed.receive(3)] == bodies[:3]
    assert [feed.receive()[0].body for _ in range(3)] == bodies[3:]
    assert feed.receive() == []


def test_attributes_come_back(feed: Feed) -> None:
    feed.now_ms += 7
    published = feed.one(Publish("t", [NewMessage(b"x", True, {"b": "2", "a": "1"}), NewMessage(b"y", headers={})]))
    assert isinstance(published, Published)
    first, second = feed.receive(2)
    assert (first.binary, first.headers, first.published_ms, first.deliveries) == (
        True,
        {"b": "2", "a": "1"},
        START_MS + 7,
        1,
    )
    assert list(first.headers) == ["b", "a"]
    assert (second.binary, second.headers) == (False, {})
    assert [message.id for message in (first, second)] == [message.id for message in published.messages]


def test_sequences_count_from_one_and_never_again(feed: Feed) -> None:
    assert [message.sequence for message in feed.publish(b"", b"")] == [1, 2]
    feed.receive(9)
    assert [message.sequence for message in feed.publish(b"", b"")] == [3, 4]
    feed.create("u")
    assert [message.sequence for message in feed.publish(b"", topic="u")] == [1]
    assert [message.sequence for message in feed.receive(9)] == [3, 4]


def test_ids_are_unique_over_topics_and_batches(feed: Feed) -> None:
    feed.create("u")
    ids = [
        message.id
        for _ in range(3)
        for answer in feed.all(*[Publish(topic, [NewMessage(b"")] * 3) for topic in ("t", "u", "t")])
        for message in answer.messages
    ]
    assert len(set(ids)) == len(ids) == 27


def test_a_thousand_at_once(feed: Feed) -> None:
    feed.publish(*(b"%d" % i for i in range(MESSAGES_MAX)))
    received = feed.receive(MESSAGES_MAX)
    assert [int(message.body) for message in received] == list(range(MESSAGES_MAX))
    assert feed.machine.topic("t").messages == 0


def test_publish_and_receive_within_one_batch(feed: Feed) -> None:
    answers = feed.all(
        Receive("u"),
        CreateTopic("u"),
        Receive("u"),
        Publish("u", [NewMessage(b"1"), NewMessage(b"2")]),
        Receive("u", max=9),
        Receive("u"),
    )
    assert isinstance(answers[0], Refused)
    assert answers[2] == answers[5] == Received([])
    assert [message.body for message in answers[4].messages] == [b"1", b"2"]


def test_all_or_none(feed: Feed) -> None:
    answer = feed.one(Publish("t", [NewMessage(b"fine"), NewMessage(b"", priority=1)]))
    assert isinstance(answer, Refused) and answer.code == "invalid_message"
    assert feed.machine.topic("t").next_sequence == 1


def test_or_each_that_can_be(feed: Feed) -> None:
    messages = [NewMessage(b"1"), NewMessage(b"", priority=1), NewMessage(b"2"), NewMessage(b"", group="g", delay_ms=1)]
    answer = feed.one(Publish("t", messages, atomic=False))
    assert isinstance(answer, Published)
    assert [message.code for message in answer.messages] == [None, "invalid_message", None, "invalid_message"]
    assert [message.sequence for message in answer.messages] == [1, 0, 2, 0]
    assert [message.id for message in answer.messages][1::2] == ["", ""]
    assert all((message.detail is None) == (message.code is None) for message in answer.messages)
    assert feed.bodies() == [b"1", b"2"]


def test_an_unknown_subscription_is_refused(feed: Feed) -> None:
    feed.publish(b"1")
    assert feed.refused(Receive("t", "mine")) == "subscription_not_found"
    assert feed.stored() == 1


def test_an_answer_is_bounded_in_bytes_but_never_empty_for_it(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choice.RECEIVE_BYTES == 4 << 20
    monkeypatch.setattr(choice, "RECEIVE_BYTES", 1000)
    feed.publish(b"a" * 600, b"b" * 400, b"c", b"d" * 2000, b"e")
    sizes = [[len(message.body) for message in feed.receive(9)] for _ in range(5)]
    assert sizes == [[600, 400], [1], [2000], [1], []]


def test_an_empty_topic_is_answered_without_looking(feed: Feed) -> None:
    feed.fill(1000)
    feed.create("u")
    feed.receive(topic="u")
    statements: list[str] = []
    feed.machine._connection.set_trace_callback(statements.append)
    feed.receive(topic="u")
    feed.machine._connection.set_trace_callback(None)
    assert not [statement for statement in statements if "message" in statement]


def test_no_statement_walks_a_table_or_sorts_what_it_finds(feed: Feed) -> None:
    """Whatever is asked for is found by an index; chores, claims and given lists are read from their beginning."""
    statements: set[str] = set()
    for seed in range(3):
        machine = Machine.open(":memory:")
        machine._connection.set_trace_callback(statements.add)
        author = Author(Random(seed), machine)
        for _ in range(400):
            item = author.item()
            author.hear(item, machine.apply([item])[0])
        machine.close()
    kinds = {" ".join(re.findall("[A-Za-z_<>=]+", statement)): statement for statement in statements}
    asked = [each for each in kinds.values() if each.split()[0] in ("SELECT", "UPDATE", "DELETE")]
    assert len(asked) > 30
    for statement in asked:
        for _, _, _, step in feed.machine._connection.execute("EXPLAIN QUERY PLAN " + statement).fetchall():
            assert "TEMP B-TREE" not in step, statement
            scanned = step.split()[1] if step.startswith("SCAN") else None
            assert scanned in (None, "chore", "claim", "json_each", "CONSTANT"), (statement, step)


def test_time_is_the_largest_stamp(feed: Feed) -> None:
    feed.now_ms += 1000
    feed.publish(b"1")
    feed.now_ms -= 900
    feed.publish(b"2")
    assert [message.published_ms for message in feed.receive(2)] == [START_MS + 1000] * 2
    assert feed.machine.time_ms == START_MS + 1000


def test_more_topics_than_the_cache_holds(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.broker.state.TOPICS_CACHED", 2)
    for i in range(10):
        feed.create(f"n{i}")
    feed.all(*[Publish(f"n{i % 10}", [NewMessage(b"%d" % i)]) for i in range(30)])
    assert [[int(message.body) for message in feed.receive(9, topic=f"n{i}")] for i in range(10)] == [
        [i, i + 10, i + 20] for i in range(10)
    ]


def test_a_commit_writes_the_numbers_of_what_it_touched_and_no_more(feed: Feed, commit_each: None) -> None:
    for name in ("u", "v"):
        feed.create(name)
        feed.publish(b"", topic=name)
    statements: list[str] = []
    feed.machine._connection.set_trace_callback(statements.append)
    feed.all(*[Publish("t", [NewMessage(b"")])] * 5)
    feed.machine._connection.set_trace_callback(None)
    assert len([statement for statement in statements if "UPDATE hot" in statement]) == 2


def test_watchers_hear_of_messages_after_the_apply(feed: Feed) -> None:
    heard: list[tuple[str, int]] = []

    def watcher(topic: str) -> None:
        heard.append((topic, feed.machine.topic(topic).messages))

    feed.machine.watch("t", watcher)
    feed.machine.watch("later", watcher)
    feed.all(Publish("t", [NewMessage(b"")] * 2), Publish("t", [NewMessage(b"")]))
    feed.receive(2)
    feed.create("later")
    feed.publish(b"", topic="later")
    assert heard == [("t", 3), ("later", 1)]
    feed.machine.unwatch("t", watcher)
    feed.machine.unwatch("t", watcher)
    feed.publish(b"")
    assert len(heard) == 2


@pytest.mark.parametrize(
    ("command", "is_said"),
    [
        (Receive("t", max=2, auto_ack=True), False),
        (Receive("t", max=2, auto_ack=False), False),
        (Receive("t", max=2, auto_ack=False, key="k"), False),
        (Receive("t", max=2, auto_ack=True, key="k"), True),
    ],
)
def test_what_is_handed_out_is_told_to_who_waits_and_kept_for_who_has_a_key(
    feed: Feed, command: Receive, is_said: bool
) -> None:
    feed.publish(b"1", b"2", b"3", b"4")
    (item,) = feed.items(command)
    (answer,) = feed.machine.apply([structs.replace(item, is_asked=False)])
    assert answer is not None and (answer != UNSAID) is is_said
    assert feed.counts()[:2] == ((2, 0) if command.auto_ack else (2, 2))
    (item,) = feed.items(Receive("t", max=2))
    assert feed.machine.apply([item]) != [UNSAID]
