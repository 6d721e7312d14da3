"""What can be asked of the queue: the bytes that the log carries.

Rules of this file: plain data. A limit that stands here is part of the log's format: every replica must refuse the
same bytes, so none may change once a release has written logs with it. Integers fit SQLite's 64 bits by their
limits. Fields for leases, delays, groups and priorities are there, so that old logs stay readable when they work;
until then a command that uses one is answered with `not_supported`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

COMMAND_BYTES_MAX = 32 << 20
MESSAGES_MAX = 1000
"""The most messages in one Publish, and the most asked for in one Receive."""
DAY_MS = 86_400_000

Milliseconds = Annotated[int, Meta(ge=0, le=366 * DAY_MS)]
Count = Annotated[int, Meta(ge=1, le=1 << 62)]
Text = Annotated[str, Meta(max_length=512)]
Key = Annotated[str, Meta(min_length=1, max_length=512)]


class TopicSettings(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How a topic behaves. Two creates are the same when all of these are equal."""

    lease_ms: Annotated[int, Meta(ge=1, le=DAY_MS)] = 30_000
    delay_ms: Milliseconds = 0
    ttl_ms: Annotated[int, Meta(ge=1, le=366 * DAY_MS)] | None = None
    max_messages: Count | None = None
    max_bytes: Count | None = None
    overflow: Literal["reject", "drop_oldest"] = "reject"
    max_deliveries: Annotated[int, Meta(ge=1, le=1000)] | None = None
    dead_letter_topic: Text | None = None
    dedup_window_ms: Annotated[int, Meta(ge=1000, le=DAY_MS)] = 300_000


class NewMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A message to publish. `body`: the JSON text of a value, or any bytes where `binary`; kept as given."""

    body: bytes
    binary: bool = False
    headers: dict[str, str] | None = None
    group: Text | None = None
    dedup_id: Key | None = None
    delay_ms: Milliseconds = 0
    ttl_ms: Milliseconds | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] = 0


class CreateTopic(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """-> TopicCreated, or TopicExists(same settings or not)."""

    name: str
    settings: TopicSettings = TopicSettings()


class DeleteTopic(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """Its messages go with it -> TopicDeleted."""

    name: str


class Publish(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3, gc=False):
    """All the messages or none -> Published. With a `key`, a repetition gets the first answer again, provided that
    its `fingerprint` (a hash of what was asked) is the same."""

    topic: str
    messages: Annotated[list[NewMessage], Meta(min_length=1, max_length=MESSAGES_MAX)]
    key: Key | None = None
    fingerprint: Annotated[bytes, Meta(max_length=64)] = b""


class Receive(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4, gc=False):
    """Up to `max` messages, the oldest first, fewer where their bodies together would exceed a few MiB -> Received.
    `auto_ack`: they are gone with the answer. With a `key`, a repetition gets the same messages again; `final`: or
    again none. Who waits for messages is not final: he asks again under his key."""

    topic: str
    subscription: Text = "default"
    max: Annotated[int, Meta(ge=1, le=MESSAGES_MAX)] = 1
    auto_ack: bool = True
    lease_ms: Annotated[int, Meta(ge=1, le=DAY_MS)] | None = None
    key: Key | None = None
    final: bool = False


Command = CreateTopic | DeleteTopic | Publish | Receive

encode = msgspec.msgpack.Encoder().encode
"""A command as bytes. Does not check limits: `decode` does, on every replica alike."""

_decode = msgspec.msgpack.Decoder(Command).decode


class BadCommand(ValueError):
    """The bytes are no command, or one beyond its limits."""


def decode(data: bytes) -> Command:
    """The command that these bytes stand for; BadCommand with a sentence otherwise."""
    if len(data) > COMMAND_BYTES_MAX:
        raise BadCommand(f"a command holds at most {COMMAND_BYTES_MAX} bytes")
    try:
        command: Command = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadCommand(str(error)) from error
    return command
