"""Keys: a retry gets the first answer again, for as long as was promised."""

from __future__ import annotations

import pytest

from app.broker import dedup
from app.broker.commands import (
    CreateSubscription,
    CreateTopic,
    DeleteSubscription,
    DeleteTopic,
    Keyed,
    NewMessage,
    Publish,
    PublishKeyed,
    Purge,
    Receive,
    TopicSettings,
)
from app.broker.results import Published, PublishedMessage, Received, Refused
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


def test_keys_of_one_command_go_together_when_there_are_enough_without_them(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedup, "CLAIMS_MAX", 50)
    kept = []
    for batch in range(3):
        keyed(feed, *((f"{batch}-{n}", b"f", b"1") for n in range(40)))
        kept.append(feed.machine.counts().claims)
    assert kept == [40, 80, 80]
    assert [publish(feed, f"{batch}-7").messages[0].duplicate for batch in (1, 2, 0)] == [True, True, False]


def test_of_two_claims_under_a_key_the_later_counts(feed: Feed) -> None:
    feed.create("u", dedup_window_ms=1000)
    publish(feed, "long")
    publish(feed, "k", topic="u")
    feed.now_ms += 1000
    stored = publish(feed, "k", b"else", topic="u").messages[0]
    assert not stored.duplicate
    assert feed.machine.counts().claims == 3, "the first one's time is over, but not that of the one before it"
    again = publish(feed, "k", b"else", topic="u").messages[0]
    assert (again.sequence, again.duplicate) == (stored.sequence, True)


def test_what_is_swept_takes_no_later_claim_under_its_key_along(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "CLAIMS_MAX", 2)
    feed.create("u", dedup_window_ms=1000)
    publish(feed, "k", topic="u")
    publish(feed, "other")
    feed.now_ms += 1000
    monkeypatch.setattr(dedup, "SWEEP_MAX", 0)
    stored = publish(feed, "k", topic="u").messages[0]
    monkeypatch.setattr(dedup, "SWEEP_MAX", 1)
    publish(feed, "another")
    again = publish(feed, "k", topic="u").messages[0]
    assert (again.sequence, again.duplicate) == (stored.sequence, True)


def test_kept_answers_are_bounded_in_bytes(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "CLAIMS_BYTES_MAX", 1000)
    feed.publish(*[b"x" * 400] * 3)
    first = [feed.receive(key=f"r{i}") for i in range(3)]
    assert feed.machine.counts().claims == 2
    assert feed.receive(key="r0") == []
    assert [feed.receive(key=f"r{i}") for i in (1, 2)] == first[1:]


def test_so_much_is_kept() -> None:
    assert (dedup.CLAIMS_MAX, dedup.CLAIMS_BYTES_MAX) == (100_000, 64 << 20)


def test_one_command_sweeps_only_so_many(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "SWEEP_MAX", 2)
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
    assert feed.one(final) == Received([], final=True)
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


def test_a_repeated_receive_with_leases_gets_the_same_tokens(feed: Feed) -> None:
    feed.publish(b"1", b"2", b"3")
    asked = Receive("t", max=2, auto_ack=False, key="r")
    first = feed.received(asked)
    assert feed.received(asked) == first
    assert feed.counts() == (1, 2, 0, 0)
    for other in (Receive("t", max=2, key="r"), Receive("t", max=2, auto_ack=False, lease_ms=5, key="r")):
        assert feed.refused(other) == "key_reused"
    feed.tick(60_000)
    assert feed.received(asked) == first, "also where the lease has run out"


def test_a_repeated_receive_leaves_out_what_is_done(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    asked = Receive("t", max=2, auto_ack=False, key="r")
    first = feed.received(asked)
    assert feed.ack(first[0]) == [None]
    assert feed.received(asked) == first[1:]
    feed.one(Purge("t"))
    feed.publish(b"3")
    assert feed.received(asked) == []


def test_a_repeated_receive_of_a_subscription_made_anew_gets_nothing(feed: Feed) -> None:
    feed.one(CreateSubscription("t", "s"))
    feed.publish(b"1")
    asked = Receive("t", "s", auto_ack=False, key="r")
    assert len(feed.received(asked)) == 1
    feed.one(DeleteSubscription("t", "s"))
    feed.one(CreateSubscription("t", "s", start=1))
    assert feed.received(asked) == []


def test_an_answer_with_leases_is_not_kept_as_such(feed: Feed) -> None:
    feed.publish(bytes(100_000))
    feed.received(Receive("t", auto_ack=False, key="r"))
    (kept,) = feed.machine._connection.execute("SELECT contents FROM claim").fetchall()
    assert len(kept[0]) < 100


def test_a_repeated_receive_gets_the_same_answer_after_a_purge(feed: Feed) -> None:
    feed.publish(b"1")
    first = feed.receive(key="r")
    feed.one(Purge("t"))
    assert feed.receive(key="r") == first


def test_a_key_of_one_subscription_is_not_anothers(feed: Feed) -> None:
    feed.one(CreateSubscription("t", "s"))
    feed.publish(b"1")
    feed.receive(key="r")
    assert feed.refused(Receive("t", "s", key="r")) == "key_reused"


# --- dedup_id


def told(messages: list[PublishedMessage]) -> list[tuple[int, bool]]:
    return [(message.sequence, message.duplicate) for message in messages]


def test_a_message_with_a_dedup_id_is_stored_once(feed: Feed) -> None:
    message = NewMessage(b"1", True, {"a": "1", "b": "2"}, "g", "d")
    same = NewMessage(b"1", True, {"b": "2", "a": "1"}, "g", "d", ttl_ms=5)
    [first] = feed.publish(message)
    [again] = feed.publish(same)
    assert (again.id, again.sequence, again.duplicate) == (first.id, 1, True)
    assert told(feed.publish(NewMessage(b"2"), message, NewMessage(b"3"))) == [(2, False), (1, True), (3, False)]
    assert feed.stored() == 3


@pytest.mark.parametrize(
    "other",
    [
        NewMessage(b"2", dedup_id="d"), NewMessage(b"1", True, dedup_id="d"),
        NewMessage(b"1", headers={}, dedup_id="d"), NewMessage(b"1", group="g", dedup_id="d"),
        NewMessage(b"1", priority=1, dedup_id="d"),
    ],
)  # fmt: skip
def test_one_that_says_something_else_is_refused(feed: Feed, other: NewMessage) -> None:
    feed.create("p", priorities=True)
    [first] = feed.publish(NewMessage(b"1", dedup_id="d"), topic="p")
    assert feed.refused(Publish("p", [NewMessage(b"new"), other])) == "key_reused"
    assert feed.stored("p") == 1
    answer = feed.one(Publish("p", [NewMessage(b"new"), other], atomic=False))
    assert isinstance(answer, Published)
    assert [message.code for message in answer.messages] == [None, "key_reused"]
    assert (answer.messages[1].id, answer.messages[1].sequence) == (first.id, first.sequence)


def test_within_one_publish_too(feed: Feed) -> None:
    message = NewMessage(b"1", dedup_id="d")
    assert told(feed.publish(message, NewMessage(b"2"), message)) == [(1, False), (2, False), (1, True)]
    clash = [NewMessage(b"3", dedup_id="e"), NewMessage(b"4", dedup_id="e")]
    assert feed.refused(Publish("t", clash)) == "key_reused"
    answer = feed.one(Publish("t", clash, atomic=False))
    assert isinstance(answer, Published)
    assert [each.code for each in answer.messages] == [None, "key_reused"]
    assert feed.stored() == 3


def test_a_dedup_id_is_known_for_the_topics_window(feed: Feed) -> None:
    feed.create("u", dedup_window_ms=1000)
    message = NewMessage(b"1", dedup_id="d")
    feed.publish(message, topic="u")
    assert not feed.publish(message)[0].duplicate, "that is another topic"
    feed.now_ms += 999
    assert feed.publish(message, topic="u")[0].duplicate
    feed.now_ms += 1
    assert told(feed.publish(message, topic="u")) == [(2, False)]


def test_a_refusal_claims_no_dedup_id(feed: Feed) -> None:
    messages = [NewMessage(b"1", dedup_id="d"), NewMessage(b"", priority=1)]
    assert feed.refused(Publish("t", messages)) == "invalid_message"
    assert told(feed.publish(NewMessage(b"2", dedup_id="d"))) == [(1, False)]


def test_what_cannot_be_is_told_before_what_is_known(feed: Feed) -> None:
    feed.publish(NewMessage(b"1", group="g", dedup_id="d"))
    wrong = NewMessage(b"1", group="g", dedup_id="d", delay_ms=1)
    assert feed.refused(Publish("t", [wrong])) == "invalid_message"
    answer = feed.one(Publish("t", [wrong], atomic=False))
    assert isinstance(answer, Published) and answer.messages[0].code == "invalid_message"


def test_all_or_none_whatever_is_forgotten_meanwhile(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new ids push the last one's out; what was known at the start counts."""
    monkeypatch.setattr(dedup, "CLAIMS_MAX", 2)
    feed.create("u", max_messages=3)
    known = NewMessage(b"1", dedup_id="known")
    feed.publish(known, topic="u")
    new = [NewMessage(b"2", dedup_id="a"), NewMessage(b"3", dedup_id="b")]
    assert told(feed.publish(*new, known, topic="u")) == [(2, False), (3, False), (1, True)]
    assert feed.stored("u") == 3


def test_a_repetition_of_one_by_one_is_told_all_again(feed: Feed) -> None:
    messages = [NewMessage(b"1"), NewMessage(b"", priority=1), NewMessage(b"2", dedup_id="d")]
    command = Publish("t", messages, "k", b"f", atomic=False)
    first, again = feed.all(command, command)
    assert told(first.messages) == [(1, False), (0, False), (2, False)]
    assert told(again.messages) == [(1, True), (0, False), (2, True)]
    assert again.messages[1] == first.messages[1]


def test_a_publish_of_which_nothing_was_stored_leaves_its_key_free(feed: Feed) -> None:
    feed.one(CreateTopic("small", TopicSettings(max_messages=1)))
    feed.publish(b"1", topic="small")
    again = Publish("small", [NewMessage(b"2")], "k", b"f", atomic=False)
    refused = feed.one(again)
    assert isinstance(refused, Published) and refused.messages[0].code == "topic_full"
    feed.receive(topic="small")
    stored = feed.one(again)
    assert isinstance(stored, Published) and stored.messages[0].code is None and not stored.messages[0].duplicate


def keyed(feed: Feed, *said: tuple[str, bytes, bytes], topic: str = "t") -> list[PublishedMessage]:
    """Of each the key, the fingerprint and the body."""
    answer = feed.one(PublishKeyed(topic, [Keyed(NewMessage(body), key, print_) for key, print_, body in said]))
    assert isinstance(answer, Published), answer
    return answer.messages


def test_many_keys_in_one_command_are_each_a_publish_of_its_own(feed: Feed) -> None:
    first = keyed(feed, *((f"k{n}", b"f", b"%d" % n) for n in range(40)))
    assert [place.sequence for place in first] == list(range(1, 41)) and not any(place.duplicate for place in first)
    assert feed.machine.counts().claims == 40
    alone = feed.one(Publish("t", [NewMessage(b"7")], "k7", b"f"))
    assert isinstance(alone, Published)
    (again,) = alone.messages
    assert (again.id, again.sequence, again.duplicate) == (first[7].id, first[7].sequence, True)
    assert feed.bodies() == [b"%d" % n for n in range(40)]


def test_of_many_keys_some_known_some_used_otherwise_and_one_twice(feed: Feed) -> None:
    (old,) = publish(feed, "old").messages
    said = ("old", b"f", b"x"), ("new", b"f", b"1"), ("old", b"other", b"2"), ("new", b"f", b"1"), ("last", b"f", b"3")
    found = keyed(feed, *said)
    assert (found[0].id, found[0].duplicate) == (old.id, True)
    assert [found[n].duplicate for n in (1, 3, 4)] == [False, True, False]
    assert found[1].id == found[3].id and found[2].code == "key_reused" and "'old'" in (found[2].detail or "")
    assert feed.bodies() == [b"x", b"1", b"3"]


def test_of_many_keys_those_are_used_up_whose_message_was_stored(feed: Feed) -> None:
    feed.create("small", max_messages=2)
    found = keyed(feed, *((f"k{n}", b"f", b"%d" % n) for n in range(4)), topic="small")
    assert [place.code for place in found] == [None, None, "topic_full", "topic_full"]
    assert feed.bodies(topic="small") == [b"0", b"1"]
    again = keyed(feed, *((f"k{n}", b"f", b"%d" % n) for n in range(4)), topic="small")
    assert [place.duplicate for place in again] == [True, True, False, False]
    assert feed.refused(PublishKeyed("no", [Keyed(NewMessage(b""), "k", b"")])) == "topic_not_found"


def test_a_key_may_hold_anything(feed: Feed) -> None:
    keys = ["a", "a\0b", "a\0", '"', "\\", "é", "🙂"]
    assert not any(place.duplicate for place in keyed(feed, *((key, b"f", b"") for key in keys)))
    assert all(place.duplicate for place in keyed(feed, *((key, b"f", b"") for key in keys)))


def test_the_bound_holds_however_many_claims_come_at_once(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "CLAIMS_MAX", 2000)
    for n in range(2100):
        feed.publish(NewMessage(b"", dedup_id=f"one {n}"))
    for batch in range(6):
        feed.publish(*(NewMessage(b"", dedup_id=f"{batch} {n}") for n in range(1000)))
        assert 2000 <= feed.machine.counts().claims < 2000 + dedup.ROW_MAX


def test_retries_in_another_mix_than_the_first_time_read_few_claims(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A review had 1,000 retries of two batches in turns take 0.2 s: each read all claims of the other batch anew."""
    batches = [[NewMessage(b"", dedup_id=f"{batch} {n}") for n in range(500)] for batch in range(2)]
    for batch in batches:
        feed.publish(*batch)
    read = 0
    names_in = dedup.names_in

    def counted(names: bytes) -> list[bytes]:
        nonlocal read
        read += len(names) // dedup.DIGEST_BYTES
        return names_in(names)

    monkeypatch.setattr(dedup, "names_in", counted)
    found = feed.publish(*(message for pair in zip(*batches, strict=True) for message in pair))
    assert all(place.duplicate for place in found)
    assert read <= 1000 * dedup.ROW_MAX
