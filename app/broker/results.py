"""What the queue answers. Plain data, in bytes on its way back to whoever asked.

The answer to a command is the same on every replica; a refusal changes nothing.
"""

from __future__ import annotations

import msgspec

TOPIC_NOT_FOUND = "topic_not_found"
KEY_REUSED = "key_reused"
BAD_COMMAND = "bad_command"
NOT_SUPPORTED = "not_supported"


class TopicCreated(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The topic is new."""


class TopicExists(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """There is a topic of that name; `same`: its settings are those that were asked for."""

    same: bool


class TopicDeleted(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """It is gone, and all its messages."""


class PublishedMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`id`: unique in the cluster for ever. `sequence`: 1, 2, 3, … within the topic, never used twice.
    `duplicate`: this message had been published by an earlier command with the same key."""

    id: str
    sequence: int
    duplicate: bool = False


class Published(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """One for each message of the command, in its order."""

    messages: list[PublishedMessage]


class ReceivedMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`body` and `headers` as they were published. `published_ms`: Unix milliseconds of log time. `deliveries`: how
    often it was handed out, this time included. `token` and `lease_expires_ms` will come with leases."""

    id: str
    sequence: int
    body: bytes
    binary: bool
    headers: dict[str, str] | None
    published_ms: int
    deliveries: int = 1
    group: str | None = None
    token: str | None = None
    lease_expires_ms: int | None = None


class Received(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The oldest first; an empty list where there was nothing."""

    messages: list[ReceivedMessage]


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Nothing was done. `code` is for programs (the constants above), `detail` a sentence for people."""

    code: str
    detail: str


Result = TopicCreated | TopicExists | TopicDeleted | Published | Received | Refused

encode = msgspec.msgpack.Encoder().encode
"""A result as bytes."""

_decode = msgspec.msgpack.Decoder(Result).decode


def decode(data: bytes) -> Result:
    """The result that `apply` returned as these bytes; `msgspec.MsgspecError` for anything else."""
    result: Result = _decode(data)
    return result


def refuse(code: str, detail: str) -> bytes:
    """An encoded refusal."""
    return encode(Refused(code, detail))


def no_such_topic(name: str) -> bytes:
    """The refusal for a topic that is not there."""
    return refuse(TOPIC_NOT_FOUND, f"there is no topic {name!r}")
