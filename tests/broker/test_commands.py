"""The commands' bytes: what goes in comes out, and whatever else arrives is refused in an answer."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.broker import Item, Machine, commands, handlers
from app.broker.commands import (
    MESSAGES_MAX,
    SPAN_MS_MAX,
    Ack,
    Acks,
    BadCommand,
    ChangeTopic,
    CreateSubscription,
    CreateTopic,
    DeleteSchedule,
    DeleteSubscription,
    DeleteTopic,
    Extend,
    Fire,
    Keyed,
    Nack,
    NewMessage,
    Once,
    Publish,
    Publishes,
    PublishKeyed,
    Purge,
    PutSchedule,
    Receive,
    Receives,
    Redrive,
    SettingsChange,
    Tick,
    TopicSettings,
    decode,
    encode,
)
from app.broker.results import BAD_COMMAND, Refused
from app.broker.results import decode as decode_result
from tests.broker.feed import Feed
from tests.broker.logs import written

EXAMPLES = [
    CreateTopic("t"),
    CreateTopic("t", TopicSettings(ttl_ms=5, max_messages=7, overflow="drop_oldest", dead_letter_topic="dead")),
    DeleteTopic("t"),
    Publish("t", [NewMessage(b"1"), NewMessage(b"\xff", True, {"a": "b"}, "g", "d", 1, 2, 9)], "key", b"print"),
    PublishKeyed("t", [Keyed(NewMessage(b"1"), "key", b"print"), Keyed(NewMessage(b"2", dedup_id="d"), "k", b"")]),
    Publishes([Publish("t", [NewMessage(b"1")]), PublishKeyed("u", [Keyed(NewMessage(b"1"), "key", b"print")])]),
    Receive("t", max=10, auto_ack=False, lease_ms=1000, key="key"),
    Receives([Receive("t", max=10, auto_ack=False, key="key"), Receive("u", "s")]),
    Ack("t", ["1-2-3-4-5"]),
    Acks([Ack("t", ["1-2-3-4-5"]), Ack("u", ["1", "2"])]),
    Nack("t", ["1-2-3-4-5"], 5),
    Extend("t", ["1-2-3-4-5"], 5),
    ChangeTopic("t", SettingsChange(ttl_ms=None, lease_ms=5), 3),
    ChangeTopic("t", SettingsChange()),
    Purge("t"),
    Redrive("t", 5, 6, "u"),
    CreateSubscription("t", "s", 7),
    CreateSubscription("t", "s", "earliest"),
    DeleteSubscription("t", "s"),
    PutSchedule("t", "s", "* * * * *", "Europe/Berlin", NewMessage(b"1"), 5),
    DeleteSchedule("t", "s"),
    Fire(1, 2, "tick", 3),
    Tick(),
    Once("key", b"print", encode(Tick())),
]


def test_there_is_an_example_of_each() -> None:
    assert {type(example) for example in EXAMPLES} == set(handlers.HANDLERS)
    assert set(commands.Command.__args__) == set(handlers.HANDLERS)


@pytest.mark.parametrize("command", EXAMPLES)
def test_there_and_back(command: commands.Command) -> None:
    assert decode(encode(command)) == command


REFUSED = [
    Publish("t", []),
    Publish("t", [NewMessage(b"")] * (MESSAGES_MAX + 1)),
    Publish("t", [NewMessage(b"", priority=10)]),
    Publish("t", [NewMessage(b"", delay_ms=-1)]),
    Publish("t", [NewMessage(b"", delay_ms=1 << 63)]),
    Publishes([]),
    Publishes([Publish("t", [])]),
    PublishKeyed("t", []),
    PublishKeyed("t", [Keyed(NewMessage(b""), "k", b"")] * (MESSAGES_MAX + 1)),
    PublishKeyed("t", [Keyed(NewMessage(b""), "", b"")]),
    PublishKeyed("t", [Keyed(NewMessage(b""), "k", b"x" * 65)]),
    Publish("t", [NewMessage(b"")], key=""),
    Publish("t", [NewMessage(b"")], key="x" * 513),
    Publish("t", [NewMessage(b"")], "k", b"x" * 65),
    Receives([]),
    Receives([Receive("t", max=0)]),
    Receives([Receive("t")] * (MESSAGES_MAX + 1)),
    Acks([]),
    Acks([Ack("t", [])]),
    Receive("t", max=0),
    Receive("t", max=MESSAGES_MAX + 1),
    Receive("t", lease_ms=0),
    CreateTopic("t", TopicSettings(overflow="explode")),  # type: ignore[arg-type]
    Publish("t", [NewMessage(b"", delay_ms=SPAN_MS_MAX + 1)]),
    Publish("t", [NewMessage(b"", ttl_ms=0)]),
    Publish("t", [NewMessage(b"", group="")]),
    Publish("t", [NewMessage(b"", group="x" * 513)]),
    Publish("t", [NewMessage(b"", dedup_id="")]),
    Publish("t", [NewMessage(b"", dedup_id="x" * 513)]),
    Receive("t", "x" * 513),
    Receive("t", key=""),
    Fire(0, 0, "", 0),
    Fire(1, -1, "", 0),
    Fire(1, 0, "x" * 513, 0),
    Fire(1, 0, "", (1 << 53) + 1),
    ChangeTopic("t", SettingsChange(), 0),
    ChangeTopic("t", SettingsChange(dead_letter_topic="")),
    CreateTopic("t", TopicSettings(dedup_window_ms=0)),
    CreateTopic("t", TopicSettings(dead_letter_topic="x" * 513)),
    CreateTopic(""),
    CreateTopic("a\0b"),
    CreateTopic("x" * 513),
]


@pytest.mark.parametrize("command", REFUSED)
def test_beyond_a_limit_is_refused_and_changes_nothing(feed: Feed, command: commands.Command) -> None:
    feed.publish(b"kept")
    before = [feed.machine.topics(), feed.machine.counts()]
    answer = feed.one(command)
    assert isinstance(answer, Refused)
    assert answer.code == BAD_COMMAND
    assert answer.detail
    assert [feed.machine.topics(), feed.machine.counts()] == before


@pytest.mark.parametrize("command", [Publish("t", [NewMessage(b"")] * MESSAGES_MAX), Receive("t", max=MESSAGES_MAX)])
def test_at_the_limit_is_accepted(feed: Feed, command: commands.Command) -> None:
    assert not isinstance(feed.one(command), Refused)


GARBAGE = [
    b"",
    b"\xc1",
    b"\x00" * 9,
    b"\x91" * 5000,
    msgspec.msgpack.encode([99, "t"]),
    msgspec.msgpack.encode([3, "t"]),
    msgspec.msgpack.encode([2, "t", "more"]),
    msgspec.msgpack.encode([2, 1 << 63]),
    msgspec.msgpack.encode({"topic": "t"}),
    b"\x92\x02\xa1\xff",
    encode(DeleteTopic("t")) + b"\x00",
]


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_is_an_answer_too(feed: Feed, data: bytes) -> None:
    [answer] = feed.machine.apply([Item(feed.machine.applied_index + 1, 1, 0, data)])
    assert answer is not None
    refused = decode_result(answer)
    assert isinstance(refused, Refused)
    assert refused.code == BAD_COMMAND


def test_a_huge_command_is_refused_before_it_is_read(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "COMMAND_BYTES_MAX", 100)
    answer = feed.one(Publish("t", [NewMessage(b"x" * 100)]))
    assert isinstance(answer, Refused)
    assert answer.code == BAD_COMMAND


@given(st.randoms(use_true_random=False), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
@settings(max_examples=300)
def test_spoiled_bytes_never_make_it_raise(random: Random, spoiled: list[tuple[int, int]]) -> None:
    log = written(random, 6)
    spoilt = bytearray(log[-1].command or b"?")
    for position, value in spoiled:
        spoilt[position % len(spoilt)] = value
    machine = Machine.open(":memory:")
    items = [*log, Item(len(log) + 1, log[-1].term, 0, bytes(spoilt))]
    assert machine.apply(items)[-1] is not None
    assert machine.audit() == machine.state_hash()[1]
    machine.close()
    try:
        decode(bytes(spoilt))
    except BadCommand as error:
        assert str(error)
