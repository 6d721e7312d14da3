"""Receives and acks of several clients in one command: each is answered, and done, as it would be alone."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.broker import Item, Machine, choice, handlers
from app.broker.commands import (
    Ack,
    Acks,
    Command,
    CreateSubscription,
    CreateTopic,
    Nack,
    NewMessage,
    Publish,
    Receive,
    Receives,
    TopicSettings,
    encode,
)
from app.broker.results import Each, Received, Refused, Result, Settled, decode
from tests.broker.feed import Feed


def each(feed: Feed, command: Receives | Acks) -> list[Result]:
    answer = feed.one(command)
    assert isinstance(answer, Each)
    return [decode(part) for part in answer.answers]


def leased(*received: Result) -> list[Received]:
    for one in received:
        assert isinstance(one, Received), one
    return list(received)  # type: ignore[arg-type]


def bodies(received: Result) -> list[bytes]:
    assert isinstance(received, Received), received
    return [message.body for message in received.messages]


def take(most: int = 1, key: str | None = None, topic: str = "t", *, auto_ack: bool = False) -> Receive:
    return Receive(topic, max=most, auto_ack=auto_ack, key=key, final=True)


def applied(commands: list[Command | None]) -> tuple[Machine, list[Result | None]]:
    """A machine that has applied these, None for an entry that carries nothing."""
    machine = Machine.open(":memory:")
    items = [Item(n, 1, 1000, None if each is None else encode(each)) for n, each in enumerate(commands, 1)]
    return machine, [None if answer is None else decode(answer) for answer in machine.apply(items)]


BEGIN: list[Command] = [
    CreateTopic("t", TopicSettings(priorities=True)), CreateSubscription("t", "s"),
    Publish("t", [NewMessage(b"%d" % n, priority=n % 3 if n < 8 else 0) for n in range(30)]),
    Publish("t", [NewMessage(b"g%d" % n, group="gh"[n % 2]) for n in range(8)]),
    Receive("t", max=6, auto_ack=False),
    Nack("t", ["b-1-2-3-1", "b-1-1-2-1", "b-1-0-30-1"]),
]  # fmt: skip


@pytest.mark.parametrize("most", [1, 2, 7])
@pytest.mark.parametrize("auto_ack", [True, False])
def test_receives_come_to_the_same_as_one_after_the_other(most: int, auto_ack: bool) -> None:
    """The same answers, tokens among them, and the same state to the last digit."""
    parts = [take(most, auto_ack=auto_ack) for _ in range(9)]
    parts.insert(4, replace_subscription(take(most, auto_ack=auto_ack), "s"))
    together, found = applied([*BEGIN, Receives(parts), *[None] * (len(parts) - 1)])
    alone, expected = applied([*BEGIN, *parts])
    answer = found[len(BEGIN)]
    assert isinstance(answer, Each)
    assert [decode(part) for part in answer.answers] == expected[len(BEGIN) :]
    assert sum(len(bodies(part)) for part in expected[len(BEGIN) :] if part is not None) > 9
    assert together.state_hash() == alone.state_hash() and together.audit() == together.state_hash()[1]


def replace_subscription(command: Receive, name: str) -> Receive:
    return Receive(command.topic, name, command.max, command.auto_ack, final=True)


def test_acks_come_to_the_same_as_one_after_the_other() -> None:
    """Of leases of two subscriptions, with groups, and with messages that were handed out before."""
    takes = [*[take(2) for _ in range(5)], *[replace_subscription(take(2), "s") for _ in range(5)]]
    machine, found = applied([*BEGIN, *takes])
    machine.close()
    tokens = [[str(m.token) for m in one.messages] for one in leased(*[x for x in found[len(BEGIN) :] if x])]
    acks = [Ack("t", few) for few in tokens if few]
    assert len(acks) == 10
    together, answers = applied([*BEGIN, *takes, Acks(acks), *[None] * (len(acks) - 1)])
    alone, expected = applied([*BEGIN, *takes, *acks])
    answer = answers[len(BEGIN) + len(takes)]
    assert isinstance(answer, Each)
    assert [decode(part) for part in answer.answers] == expected[len(BEGIN) + len(takes) :]
    assert together.state_hash() == alone.state_hash() and together.audit() == together.state_hash()[1]


def test_each_is_refused_for_itself(feed: Feed) -> None:
    feed.publish(b"1")
    answers = each(feed, Receives([take(topic="no"), Receive("t", "no"), take(key="k"), take(2, key="k"), take()]))
    assert [answer.code for answer in answers if isinstance(answer, Refused)] == [
        "topic_not_found", "subscription_not_found", "key_reused",
    ]  # fmt: skip
    assert bodies(answers[2]) == [b"1"] and bodies(answers[4]) == []
    acked = each(feed, Acks([Ack("no", ["1-1-1-1-1"]), Ack("t", ["x"])]))
    assert isinstance(acked[0], Refused) and acked[1] == Settled(["bad_token"])


def test_one_key_twice_gets_one_answer(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    first, again = each(feed, Receives([take(key="k"), take(key="k")]))
    assert bodies(first) == [b"1"] and again == first


def test_one_token_twice_is_done_once(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    (lease,) = leased(feed.one(take(2)))
    tokens = [str(message.token) for message in lease.messages]
    acks = [Ack("t", tokens), Ack("t", tokens[:1]), Ack("t", tokens[1:])]
    assert each(feed, Acks(acks)) == [Settled([None, None]), Settled([None]), Settled([None])]
    assert feed.stored() == 0


def test_a_lease_may_be_acked_in_parts(feed: Feed) -> None:
    feed.publish(*[b"%d" % n for n in range(6)])
    (lease,) = leased(feed.one(take(6)))
    tokens = [str(message.token) for message in lease.messages]
    assert each(feed, Acks([Ack("t", tokens[:2]), Ack("t", tokens[3:5])])) == [Settled([None] * 2)] * 2
    assert feed.stored() == 2


def test_together_they_hand_out_no_more_than_one_may(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "RECEIVE_BYTES", 10)
    feed.publish(*[b"%04d" % n for n in range(6)])
    answers = each(feed, Receives([take(), take(3), take(), take(key="k"), take(topic="no")]))
    assert [bodies(answer) for answer in answers[:3]] == [[b"0000"], [b"0001"], [b"0002"]]
    assert answers[3] == Received([], more=True), "to ask again, and no key is used up"
    assert isinstance(answers[4], Refused)
    assert bodies(feed.one(take(key="k"))) == [b"0003"]


def test_together_they_clear_away_no_more_than_one_may(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 0)
    monkeypatch.setattr(choice, "SKIPS_MAX", 5)
    for _ in range(4):
        feed.publish(*[NewMessage(b"old", ttl_ms=1)] * 2, NewMessage(b"live"))
    feed.now_ms += 10
    answers = each(feed, Receives([take() for _ in range(4)]))
    assert [bodies(answer) for answer in answers] == [[b"live"], [b"live"], [], []]
    assert answers[2:] == [Received([], more=True)] * 2
    assert feed.stored() == 12 - 5


def test_whoever_comes_after_much_was_cleared_away_asks_again(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ROWS_BESIDE", 0)
    monkeypatch.setattr(choice, "SKIPS_MAX", 2)
    for _ in range(5):
        feed.one(Publish("t", [NewMessage(b"old", ttl_ms=1)]))
    feed.publish(b"new")
    feed.now_ms += 10
    answers = each(feed, Receives([take(), take()]))
    assert answers == [Received([], more=True)] * 2
    assert feed.stored() == 4


@pytest.mark.parametrize("auto_ack", [True, False])
def test_an_answer_that_was_given_before_takes_room(
    feed: Feed, monkeypatch: pytest.MonkeyPatch, auto_ack: bool
) -> None:
    feed.publish(bytes(1000), b"2", b"3", b"4")
    feed.create("u")
    first, nothing = feed.one(take(key="k", auto_ack=auto_ack)), feed.one(take(key="n", topic="u"))
    asked = Receives([take(key="n", topic="u"), take(key="k", auto_ack=auto_ack), take()])
    *again, after = each(feed, asked)
    assert again == [Received([], final=True), first] and bodies(nothing) == [] and bodies(after) == [b"2"]
    monkeypatch.setattr(choice, "RECEIVE_BYTES", 900)
    assert each(feed, asked) == [*again, Received([], more=True)]


@pytest.mark.parametrize("count", [2, 7, 80])
def test_a_replica_that_remembers_nothing_comes_to_the_same(feed: Feed, count: int) -> None:
    """It was started again between the receives and the acks. In packs, of two subscriptions, handed out before."""
    feed.one(CreateSubscription("t", "s"))
    feed.one(Publish("t", [NewMessage(b"%d" % n) for n in range(100)]))
    for name in ("default", "s"):
        (once,) = leased(feed.one(replace_subscription(take(5), name)))
        feed.one(Nack("t", [str(message.token) for message in once.messages]))
    acks = []
    for n in range(count):
        (lease,) = leased(feed.one(replace_subscription(take(1 + n % 2), "s" if n % 3 else "default")))
        acks.append(Ack("t", [str(message.token) for message in lease.messages]))
    other = Machine.deserialize(feed.machine.serialize())
    item = Item(feed.machine.applied_index + 1, 1, feed.now_ms, encode(Acks(acks)))
    assert other.apply([item]) == feed.machine.apply([item])
    assert other.state_hash() == feed.machine.state_hash()
    other.close()


def test_nobody_waits_for_answers_on_a_follower(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    other = Machine.deserialize(feed.machine.serialize())
    item = Item(feed.machine.applied_index + 1, 1, feed.now_ms, encode(Receives([take(), take()])))
    assert other.apply([replace(item, is_asked=False)]) == [b""]
    feed.machine.apply([item])
    assert other.state_hash() == feed.machine.state_hash()
    other.close()
