"""What can be asked of the queue: the bytes that the log carries.

Rules of this file: plain data. A limit that stands here is part of the log's format: every replica must refuse the
same bytes, so none may change once a release has written logs with it. Integers fit SQLite's 64 bits by their
limits. `docs/semantics.md` says what each command does; the answers stand in `results`.

With a `key`, a repetition gets the first answer again, provided that its `fingerprint` (a hash of what was asked) is
the same; so a command whose outcome is unknown can be sent again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

COMMAND_BYTES_MAX = 32 << 20
MESSAGES_MAX = 1000
"""The most messages in one Publish, the most asked for in one Receive, the most tokens in one Ack."""
DAY_MS = 86_400_000
LEASE_MS_MAX = 12 * 3_600_000
SPAN_MS_MAX = 366 * DAY_MS

Milliseconds = Annotated[int, Meta(ge=0, le=SPAN_MS_MAX)]
Lifetime = Annotated[int, Meta(ge=1, le=SPAN_MS_MAX)]
Lease = Annotated[int, Meta(ge=1, le=LEASE_MS_MAX)]
Count = Annotated[int, Meta(ge=1, le=1 << 62)]
Time = Annotated[int, Meta(ge=0, le=1 << 53)]
Text = Annotated[str, Meta(max_length=512)]
Key = Annotated[str, Meta(min_length=1, max_length=512)]
Fingerprint = Annotated[bytes, Meta(max_length=64)]
Tokens = Annotated[list[Text], Meta(min_length=1, max_length=MESSAGES_MAX)]


class _Plain(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """How all of these travel."""


class TopicSettings(_Plain, frozen=True):
    """How a topic behaves. Two creates are the same when all of these are equal."""

    lease_ms: Lease = 30_000
    delay_ms: Milliseconds = 0
    ttl_ms: Lifetime | None = None
    max_messages: Count | None = None
    max_bytes: Count | None = None
    overflow: Literal["reject", "drop_oldest"] = "reject"
    max_deliveries: Annotated[int, Meta(ge=1, le=1000)] | None = None
    dead_letter_topic: Key | None = None
    dedup_window_ms: Annotated[int, Meta(ge=1000, le=DAY_MS)] = 300_000
    priorities: bool = False


class SettingsChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The settings to change; what is not there stays."""

    lease_ms: Lease | UnsetType = UNSET
    delay_ms: Milliseconds | UnsetType = UNSET
    ttl_ms: Lifetime | UnsetType | None = UNSET
    max_messages: Count | UnsetType | None = UNSET
    max_bytes: Count | UnsetType | None = UNSET
    overflow: Literal["reject", "drop_oldest"] | UnsetType = UNSET
    max_deliveries: Annotated[int, Meta(ge=1, le=1000)] | UnsetType | None = UNSET
    dead_letter_topic: Key | UnsetType | None = UNSET
    dedup_window_ms: Annotated[int, Meta(ge=1000, le=DAY_MS)] | UnsetType = UNSET

    def of(self, settings: TopicSettings) -> TopicSettings:
        """Those settings with this change."""
        changed: dict[str, Any] = {
            name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET
        }
        return msgspec.structs.replace(settings, **changed)


class NewMessage(_Plain, frozen=True):
    """A message to publish. `body`: the JSON text of a value, or any bytes where `binary`; kept as given. `delay_ms`
    and `ttl_ms`: None for what the topic says. `dedup_id`: published once within the topic's window."""

    body: bytes
    binary: bool = False
    headers: dict[str, str] | None = None
    group: Key | None = None
    dedup_id: Key | None = None
    delay_ms: Milliseconds | None = None
    ttl_ms: Lifetime | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] = 0


class CreateTopic(_Plain, frozen=True, tag=1):
    """-> TopicCreated, or TopicExists(same settings or not)."""

    name: str
    settings: TopicSettings = TopicSettings()


class DeleteTopic(_Plain, frozen=True, tag=2):
    """Its messages, subscriptions and schedules go with it -> TopicDeleted."""

    name: str


class Publish(_Plain, frozen=True, tag=3):
    """-> Published. `atomic`: all the messages or none; else each that can be."""

    topic: str
    messages: Annotated[list[NewMessage], Meta(min_length=1, max_length=MESSAGES_MAX)]
    key: Key | None = None
    fingerprint: Fingerprint = b""
    atomic: bool = True


class Keyed(_Plain, frozen=True):
    """One of a PublishKeyed."""

    message: NewMessage
    key: Key
    fingerprint: Fingerprint


class PublishKeyed(_Plain, frozen=True, tag=18):
    """Each as a Publish of its own would be -> Published."""

    topic: str
    messages: Annotated[list[Keyed], Meta(min_length=1, max_length=MESSAGES_MAX)]


class Publishes(_Plain, frozen=True, tag=19):
    """Several, each as it would be alone -> PublishedEach."""

    publishes: Annotated[list[Publish | PublishKeyed], Meta(min_length=1, max_length=MESSAGES_MAX)]


class Receive(_Plain, frozen=True, tag=4):
    """Up to `max` messages, fewer where their bodies together would exceed a few MiB -> Received. `auto_ack`: they are
    done with the answer; else leased for `lease_ms`, None for what the topic says. `final`: with a key, that there was
    nothing is an answer, too. Who waits for messages is not final: he asks again under his key."""

    topic: str
    subscription: Text = "default"
    max: Annotated[int, Meta(ge=1, le=MESSAGES_MAX)] = 1
    auto_ack: bool = True
    lease_ms: Lease | None = None
    key: Key | None = None
    final: bool = False


class Receives(_Plain, frozen=True, tag=20):
    """Several, each as it would be alone, but that together they do no more than one may; those behind are told to ask
    again -> Each."""

    receives: Annotated[list[Receive], Meta(min_length=1, max_length=MESSAGES_MAX)]


class Ack(_Plain, frozen=True, tag=5):
    """These messages are done -> Settled."""

    topic: str
    tokens: Tokens


class Acks(_Plain, frozen=True, tag=21):
    """Several, each answered as it would be alone -> Each."""

    acks: Annotated[list[Ack], Meta(min_length=1, max_length=MESSAGES_MAX)]


class Nack(_Plain, frozen=True, tag=6):
    """These messages go back to their places, after `delay_ms` -> Settled."""

    topic: str
    tokens: Tokens
    delay_ms: Annotated[int, Meta(ge=0, le=LEASE_MS_MAX)] = 0


class Extend(_Plain, frozen=True, tag=7):
    """These leases end `lease_ms` from now -> Settled."""

    topic: str
    tokens: Tokens
    lease_ms: Lease


class ChangeTopic(_Plain, frozen=True, tag=8):
    """-> TopicChanged. `version`: only if the topic's is still this one; None: in any case."""

    name: str
    change: SettingsChange
    version: Count | None = None


class Purge(_Plain, frozen=True, tag=9):
    """All messages go, for all subscriptions -> Purged."""

    topic: str


class Redrive(_Plain, frozen=True, tag=10):
    """Dead messages get another chance: those that stand still in this topic are handed out again, those that came
    here as dead letters go back -> Redriven. At most `max`, from the sequence `start` on. `to`: a topic instead of the
    one that they came from."""

    topic: str
    max: Annotated[int, Meta(ge=1, le=MESSAGES_MAX)] = MESSAGES_MAX
    start: Time = 0
    to: Key | None = None


class CreateSubscription(_Plain, frozen=True, tag=11):
    """-> SubscriptionCreated, or SubscriptionExists. `start`: the first sequence that it gets, "earliest" for all that
    are there, "latest" for those that come."""

    topic: str
    name: str
    start: Literal["earliest", "latest"] | Count = "latest"


class DeleteSubscription(_Plain, frozen=True, tag=12):
    """-> SubscriptionDeleted."""

    topic: str
    name: str


class PutSchedule(_Plain, frozen=True, tag=13):
    """Publish `message` at each tick of a cron expression -> ScheduleCreated or ScheduleChanged. When that is, whoever
    proposes the command has worked out: `next_ms` is the first tick."""

    topic: str
    name: str
    cron: Text
    zone: Text
    message: NewMessage
    next_ms: Time


class DeleteSchedule(_Plain, frozen=True, tag=14):
    """-> ScheduleDeleted."""

    topic: str
    name: str


class Fire(_Plain, frozen=True, tag=15):
    """The schedule with this id is due: publish once for `tick_ms` (in words: `tick`), unless that was done; the next
    tick is `next_ms` -> Fired."""

    schedule: Count
    tick_ms: Time
    tick: Text
    next_ms: Time


class Tick(_Plain, frozen=True, tag=16):
    """Nothing but its stamp: time has come for something -> Ticked."""


class Once(_Plain, frozen=True, tag=17):
    """`command` (an encoded one of the others), unless that was done under this key -> its answer. Refusals are not
    kept: they changed nothing. What publishes, and Receive, have keys of their own."""

    key: Key
    fingerprint: Fingerprint
    command: bytes


Command = (
    CreateTopic | DeleteTopic | Publish | PublishKeyed | Publishes | Receive | Receives | Ack | Acks | Nack | Extend
    | ChangeTopic | Purge | Redrive | CreateSubscription | DeleteSubscription | PutSchedule | DeleteSchedule | Fire
    | Tick | Once
)  # fmt: skip

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
