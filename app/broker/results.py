"""What the queue answers. Plain data, in bytes on its way back to whoever asked.

The answer to a command is the same on every replica; a refusal changes nothing.
"""

from __future__ import annotations

import msgspec

TOPIC_NOT_FOUND = "topic_not_found"
SUBSCRIPTION_NOT_FOUND = "subscription_not_found"
SCHEDULE_NOT_FOUND = "schedule_not_found"
KEY_REUSED = "key_reused"
BAD_COMMAND = "bad_command"
VERSION_CONFLICT = "version_conflict"
TOPIC_FULL = "topic_full"
INVALID_MESSAGE = "invalid_message"
TOO_MANY = "too_many"
LAST_SUBSCRIPTION = "last_subscription"

LEASE_LOST = "lease_lost"
BAD_TOKEN = "bad_token"


class TopicCreated(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The topic is new."""


class TopicExists(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """There is a topic of that name; `same`: its settings are those that were asked for."""

    same: bool


class TopicDeleted(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """It is gone, and all its messages."""


class PublishedMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`id`: unique in the cluster for ever. `sequence`: 1, 2, 3, … within the topic, never used twice. `duplicate`: it
    had been published before, by its key or its dedup_id. `code`, `detail`: why this one was refused (not atomic); its
    place is then that of the message that has its dedup_id, if that is why, else "" and 0."""

    id: str
    sequence: int
    duplicate: bool = False
    code: str | None = None
    detail: str | None = None


class Published(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """One for each message of the command, in its order."""

    messages: list[PublishedMessage]


class PublishedRun(msgspec.Struct, frozen=True, array_like=True, tag=19, gc=False):
    """Published in short, as it is on its way: `count` consecutive ids and sequences."""

    first_id: int
    first_sequence: int
    count: int
    duplicate: bool

    def spelled_out(self) -> Published:
        """The same with each message."""
        ahead = self.first_sequence - self.first_id
        ids = range(self.first_id, self.first_id + self.count)
        return Published([PublishedMessage(str(id), id + ahead, self.duplicate) for id in ids])


class DeadLetter(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a dead letter comes from: it was handed out `deliveries` times to `subscription` of `topic`, as its message
    `sequence`, and declared dead at `at_ms`."""

    topic: str
    subscription: str
    sequence: int
    deliveries: int
    at_ms: int


class ReceivedMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`body` and `headers` as they were published. `published_ms`: Unix milliseconds of log time. `deliveries`: how
    often it was handed out, this time included. With a lease: its `token`, and the log time at which it ends."""

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
    priority: int = 0
    dead_letter: DeadLetter | None = None


class Received(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """In the order in which they are to be worked on; an empty list where there was nothing. `more`: there was more to
    clear away than one command does, so ask again. `final`: there is nothing, and under this key never will be."""

    messages: list[ReceivedMessage]
    more: bool = False
    final: bool = False


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Nothing was done. `code` is for programs (the constants above), `detail` a sentence for people."""

    code: str
    detail: str


class PublishedEach(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """One for each publish of the command, in its order."""

    answers: list[Published | PublishedRun | Refused]

    def spelled_out(self) -> PublishedEach:
        """The same with each message."""
        return PublishedEach([each.spelled_out() if isinstance(each, PublishedRun) else each for each in self.answers])


class Each(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """One for each part of the command, in its order, each encoded as it would be alone."""

    answers: list[bytes]


class Settled(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """One for each token, in order: None where it was done, else LEASE_LOST or BAD_TOKEN."""

    codes: list[str | None]


class TopicChanged(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The topic's version now."""

    version: int


class Purged(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """So many messages are gone."""

    messages: int


class Redriven(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """`moved` messages have another chance, `kept` could not be moved; `next`: where to go on, None at the end."""

    moved: int
    kept: int
    next: int | None


class SubscriptionCreated(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """It is new, and begins at the sequence `start`."""

    start: int


class SubscriptionExists(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """It was there; it began at the sequence `start`."""

    start: int


class SubscriptionDeleted(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """It is gone, and every message that it alone had kept."""


class ScheduleCreated(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """It is new."""


class ScheduleChanged(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """It was there; it is now as asked for."""


class ScheduleDeleted(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """It is gone."""


class Fired(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """The message of this tick is there: `published` just now, or not, since it was there already or has no place."""

    published: bool


class Ticked(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """Time has moved."""


Result = (
    TopicCreated | TopicExists | TopicDeleted | Published | Received | Refused | Settled | TopicChanged | Purged
    | Redriven | SubscriptionCreated | SubscriptionExists | SubscriptionDeleted | ScheduleCreated | ScheduleChanged
    | ScheduleDeleted | Fired | Ticked | PublishedEach | Each
)  # fmt: skip

encode = msgspec.msgpack.Encoder().encode
"""A result as bytes."""

UNSAID = b""
"""In the place of a result that nobody waits for, and that would have been dear."""

_decode = msgspec.msgpack.Decoder(Result | PublishedRun).decode


def decode(data: bytes) -> Result:
    """The result that `apply` returned as these bytes; `msgspec.MsgspecError` for anything else."""
    result = decode_short(data)
    return result.spelled_out() if isinstance(result, PublishedRun | PublishedEach) else result


def decode_short(data: bytes) -> Result | PublishedRun:
    """The same, and runs stay runs."""
    result: Result | PublishedRun = _decode(data)
    return result


def refuse(code: str, detail: str) -> bytes:
    """An encoded refusal."""
    return encode(Refused(code, detail))


def topic_not_found(name: str) -> Refused:
    """The refusal for a topic that is not there."""
    return Refused(TOPIC_NOT_FOUND, f"there is no topic {name!r}")


def no_such_topic(name: str) -> bytes:
    """The same, encoded."""
    return encode(topic_not_found(name))


def no_such_subscription(topic: str, name: str) -> bytes:
    """The refusal for a subscription that is not there."""
    return refuse(SUBSCRIPTION_NOT_FOUND, f"the topic {topic!r} has no subscription {name!r}")
