"""The shapes of messages in bodies of /v1. Rules as in `schemas`.

Nearly all publishes carry nothing but bodies, so there are two structs that decode them: `PlainPublish` knows nothing
else, and what it does not take is decoded again as a `Publish`, which costs twice as much and says what is wrong.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from app.api.kinds import (
    MESSAGES_MAX,
    TIME_SCHEMA,
    TOKEN_LENGTH_MAX,
    WAIT_MAX_S,
    Delay,
    Headers,
    Integer,
    Key,
    Lease,
    Lifetime,
    Name,
    Priority,
    Visible,
)
from app.broker.commands import LEASE_MS_MAX


class ScheduledMessage(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message. null is the same as to leave a field out, but for `body`."""

    body: Annotated[Raw, Meta(description="Any JSON value; an empty text is a message too")] | UnsetType = UNSET
    body_base64: Annotated[bytes, Meta(description="Or any bytes")] | UnsetType = UNSET
    headers: Annotated[Headers | None, Meta(description="Texts that stand beside the body")] | UnsetType = UNSET
    group: (
        Annotated[Visible | None, Meta(description="Messages of a group are handed out strictly in order")] | UnsetType
    ) = UNSET
    delay_s: (
        Annotated[Delay | None, Meta(description="Not handed out before; left out: as the topic says")] | UnsetType
    ) = UNSET
    ttl_s: (
        Annotated[Lifetime | None, Meta(description="Gone when not handed out by then; left out: as the topic says")]
        | UnsetType
    ) = UNSET
    priority: (
        Annotated[Priority | None, Meta(description="Higher ones first, on topics with priorities; left out: 0")]
        | UnsetType
    ) = UNSET


class Message(ScheduledMessage, kw_only=True, forbid_unknown_fields=True):
    """One message to publish. null is the same as to leave a field out, but for `body`."""

    dedup_id: (
        Annotated[Visible | None, Meta(description="Stored once within the topic's dedup_window_s")] | UnsetType
    ) = UNSET


class MessageList(Struct, kw_only=True, forbid_unknown_fields=True):
    """Messages to publish."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=MESSAGES_MAX)]
    atomic: Annotated[
        bool, Meta(description="All of them or none; false: each for itself, and each refused one says why")
    ] = True


class Publish(Message, kw_only=True, forbid_unknown_fields=True):
    """Either of both, as it is decoded."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=MESSAGES_MAX)] | UnsetType = UNSET
    atomic: bool | UnsetType = UNSET


class PlainMessage(Struct, forbid_unknown_fields=True):
    """A message that is nothing but its body."""

    body: Raw


class PlainPublish(Struct, forbid_unknown_fields=True):
    """One of those, or a list of them."""

    body: Raw | UnsetType = UNSET
    messages: Annotated[list[PlainMessage], Meta(min_length=1, max_length=MESSAGES_MAX)] | UnsetType = UNSET


class PublishedMessage(Struct, kw_only=True):
    """Where a message was stored; of one that was refused (not atomic) `code` and `detail` in place of the others."""

    id: str | UnsetType = UNSET
    sequence: Annotated[int, Meta(description="Its place in the topic, from 1, without gaps")] | UnsetType = UNSET
    duplicate: (
        Annotated[bool, Meta(description="The key or dedup_id was known: this is the first answer again")] | UnsetType
    ) = UNSET
    code: Annotated[str, Meta(description="Why it was refused, as in a problem")] | UnsetType = UNSET
    detail: str | UnsetType = UNSET


class Published(Struct, kw_only=True):
    """One entry for each message, in order."""

    messages: list[PublishedMessage]


Token = Annotated[str, Meta(max_length=TOKEN_LENGTH_MAX)]
Tokens = Annotated[
    list[Token],
    Meta(min_length=1, max_length=MESSAGES_MAX, description="Of messages that were received from this topic"),
]


class Receive(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to take from a topic."""

    max: Annotated[Integer, Meta(ge=1, le=MESSAGES_MAX, description="How many messages at most")] = 1
    wait_s: Annotated[float, Meta(ge=0, le=WAIT_MAX_S, description="Seconds to wait where there is none")] = 0
    lease_s: Annotated[
        Lease | None, Meta(description="How long they are leased; null: as the topic says. Not used with auto_ack")
    ] = None
    subscription: Name = "default"
    auto_ack: Annotated[bool, Meta(description="They are done when they are handed out: no lease, no token")] = False
    attempt_id: Annotated[
        Key | None, Meta(description="As Idempotency-Key, and before it: a retry with it gets the same answer")
    ] = None
    ack: Annotated[
        Annotated[list[Token], Meta(max_length=MESSAGES_MAX)] | None,
        Meta(description="Tokens of messages that are acked before anything is taken, in the same round of the log"),
    ] = None


class DeadLetter(Struct, kw_only=True):
    """Where a dead letter comes from."""

    topic: str
    subscription: str
    sequence: int
    deliveries: Annotated[int, Meta(ge=1, description="How often it was handed out there")]
    at: Annotated[str, Meta(description="When it was declared dead: RFC 3339, UTC", extra_json_schema=TIME_SCHEMA)]


class ReceivedMessage(Struct, kw_only=True):
    """A message that was handed out."""

    id: str
    sequence: int
    body: Annotated[Raw, Meta(description="The JSON value as it was published")] | UnsetType = UNSET
    body_base64: Annotated[bytes, Meta(description="In its place, where bytes were published")] | UnsetType = UNSET
    headers: dict[str, str]
    group: str | None
    priority: int
    deliveries: Annotated[int, Meta(ge=1, description="How often it was handed out, this time included")]
    published_at: Annotated[str, Meta(description="RFC 3339, UTC", extra_json_schema=TIME_SCHEMA)]
    token: Annotated[str | None, Meta(description="For ack, nack and extend; null with auto_ack")]
    lease_expires_at: Annotated[
        str | None, Meta(description="RFC 3339, UTC; null with auto_ack", extra_json_schema=TIME_SCHEMA)
    ]
    dead_letter: DeadLetter | UnsetType = UNSET


class TokenResult(Struct, kw_only=True):
    """What became of one token."""

    token: str
    ok: bool
    code: Annotated[
        str | None, Meta(description="Why not", extra_json_schema={"enum": [None, "lease_lost", "bad_token"]})
    ]


class Received(Struct, kw_only=True):
    """Messages in the order in which they are to be worked on; empty where there was none."""

    messages: list[ReceivedMessage]
    acked: Annotated[list[TokenResult], Meta(description="Where `ack` was sent: one for each token, in order")] | (
        UnsetType
    ) = UNSET


class PeekedMessage(Struct, kw_only=True):
    """A message where it stands."""

    id: str
    sequence: int
    state: Annotated[
        str,
        Meta(
            description="For the subscription asked for",
            extra_json_schema={"enum": ["ready", "delayed", "leased", "dead", "done"]},
        ),
    ]
    body: Raw | UnsetType = UNSET
    body_base64: bytes | UnsetType = UNSET
    headers: dict[str, str]
    group: str | None
    priority: int
    deliveries: Annotated[int | None, Meta(description="How often it was handed out; null while it is leased")]
    published_at: Annotated[str, Meta(description="RFC 3339, UTC", extra_json_schema=TIME_SCHEMA)]
    dead_letter: DeadLetter | UnsetType = UNSET


class PeekedMessages(Struct, kw_only=True):
    """A page of messages in the order of their sequences."""

    items: list[PeekedMessage]
    next_cursor: Annotated[str | None, Meta(description="Send it as `cursor` for the next page; null at the end")]


class Ack(Struct, kw_only=True, forbid_unknown_fields=True):
    """These messages are done."""

    tokens: Tokens


class Nack(Struct, kw_only=True, forbid_unknown_fields=True):
    """These messages go back."""

    tokens: Tokens
    delay_s: Annotated[float, Meta(ge=0, le=LEASE_MS_MAX // 1000, description="Not handed out again before")] = 0


class Extend(Struct, kw_only=True, forbid_unknown_fields=True):
    """These leases get another end."""

    tokens: Tokens
    lease_s: Annotated[Lease, Meta(description="Seconds from now")]


class Settled(Struct, kw_only=True):
    """One for each token, in order."""

    results: list[TokenResult]


COMPONENTS = (
    ScheduledMessage, Message, MessageList, Published, Receive, Received, PeekedMessages, Ack, Nack, Extend, Settled,
)  # fmt: skip
