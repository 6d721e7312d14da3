"""The commands' bytes: what goes in comes out, and whatever else arrives is refused in an answer."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.broker import Item, Machine, commands
from app.broker.commands import (
    MESSAGES_MAX,
    BadCommand,
    CreateTopic,
    DeleteTopic,
    NewMessage,
    Publish,
    Receive,
    TopicSettings,
    decode,
    encode,
)
from app.broker.results import BAD_COMMAND, Refused
from app.broker.results import decode as decode_result
from tests.broker.feed import Feed
from tests.broker.logs import commands as random_commands

EXAMPLES = [
    CreateTopic("t"),
    CreateTopic("t", TopicSettings(ttl_ms=5, max_messages=7, overflow="drop_oldest", dead_letter_topic="dead")),
    DeleteTopic("t"),
    Publish("t", [NewMessage(b"1"), NewMessage(b"\xff", True, {"a": "b"}, "g", "d", 1, 2, 9)], "key", b"print"),
    Receive("t", max=10, auto_ack=False, lease_ms=1000, key="key"),
]


@pytest.mark.parametrize("command", EXAMPLES)
def test_there_and_back(command: commands.Command) -> None:
    assert decode(encode(command)) == command


REFUSED = [
    Publish("t", []),
    Publish("t", [NewMessage(b"")] * (MESSAGES_MAX + 1)),
    Publish("t", [NewMessage(b"", priority=10)]),
    Publish("t", [NewMessage(b"", delay_ms=-1)]),
    Publish("t", [NewMessage(b"", delay_ms=1 << 63)]),
    Publish("t", [NewMessage(b"")], key=""),
    Publish("t", [NewMessage(b"")], key="x" * 513),
    Publish("t", [NewMessage(b"")], "k", b"x" * 65),
    Receive("t", max=0),
    Receive("t", max=MESSAGES_MAX + 1),
    Receive("t", lease_ms=0),
    CreateTopic("t", TopicSettings(overflow="explode")),  # type: ignore[arg-type]
    CreateTopic("t", TopicSettings(dedup_window_ms=0)),
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


@given(random_commands, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
@settings(deadline=None, max_examples=300)
def test_spoiled_bytes_never_make_it_raise(data: bytes, spoiled: list[tuple[int, int]]) -> None:
    spoilt = bytearray(data)
    for position, value in spoiled:
        spoilt[position % len(spoilt)] = value
    machine = Machine.open(":memory:")
    items = [Item(1, 1, 0, encode(CreateTopic("a"))), Item(2, 1, 0, bytes(spoilt))]
    assert all(answer is not None for answer in machine.apply(items))
    assert machine.audit() == machine.state_hash()[1]
    try:
        decode(bytes(spoilt))
    except BadCommand as error:
        assert str(error)
