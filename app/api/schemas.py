"""The shapes of bodies: the structs that decode requests and encode answers also document them.

Rules of this file: requests of /v1 refuse fields that they do not know, by name; those of the classic routes
ignore them, as those queues always did. A field of type `Raw` keeps the bytes of its JSON value as they came.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from app.api.params import TOPIC_PATTERN
from app.api.problems import ProblemDetails

TOPIC_SCHEMA: dict[str, Any] = {"type": "string", "pattern": TOPIC_PATTERN, "minLength": 1, "maxLength": 128}

MAX_MESSAGES = 1000
"""Messages in one publish or one receive."""
MAX_WAIT_S = 20

_Integer = Annotated[float, Meta(multiple_of=1)]
"""Decoded as a float, because JSON's 1.0 is an integer as well (JSON Schema, 6.1.1)."""

_NOTHING = Raw(b"")


def _absent() -> Raw:
    return _NOTHING


class ClassicTopic(Struct):
    """A topic to create."""

    topic: Annotated[str, Meta(description="The topic's name", extra_json_schema={"pattern": TOPIC_PATTERN})]


class ClassicMessage(Struct):
    """A message to publish."""

    topic: Annotated[str, Meta(description="The topic's name")]
    message: Annotated[Raw, Meta(description="The message, a text", extra_json_schema={"type": "string"})]


class Success(Struct):
    """It is done, on the disks of a majority."""

    success: Annotated[bool, Meta(extra_json_schema={"const": True})]


class ClassicTopics(Struct):
    """All topics in the order of their creation."""

    success: Annotated[bool, Meta(extra_json_schema={"const": True})]
    topics: list[str]


class Status(Struct, kw_only=True):
    """One node, as it sees itself."""

    role: Annotated[str, Meta(extra_json_schema={"enum": ["Leader", "Follower", "Candidate"]})]
    term: int
    node: int
    leader: int | None
    last_log_index: int
    commit_index: int
    applied_index: int
    state_hash: str
    state_hash_index: int
    pid: int
    version: str


class TopicSettings(Struct, forbid_unknown_fields=True):
    """Settings of a topic; what is left out is the cluster's default."""

    dedup_window_s: Annotated[
        Annotated[_Integer, Meta(ge=1, le=86400)] | None,
        Meta(description="How long an Idempotency-Key is remembered; null: the default"),
    ] = None


class CreatedTopic(Struct, kw_only=True):
    """A topic as it was created."""

    name: str
    settings: TopicSettings


class Topic(Struct, kw_only=True):
    """A topic with its counts."""

    name: str
    created_at: Annotated[str, Meta(description="RFC 3339, UTC", extra_json_schema={"format": "date-time"})]
    messages: Annotated[int, Meta(ge=0, description="Messages that wait")]
    bytes: Annotated[int, Meta(ge=0, description="Size of their bodies")]
    settings: TopicSettings


class Topics(Struct, kw_only=True):
    """A page of topics in the order of their creation."""

    items: list[Topic]
    next_cursor: Annotated[str | None, Meta(description="Send it as `cursor` for the next page; null at the end")]


class Message(Struct, forbid_unknown_fields=True):
    """One message to publish."""

    body: Annotated[Raw, Meta(description="Any JSON value; an empty text is a message too")]


class Publish(Struct, forbid_unknown_fields=True):
    """One message, or a list of them that is stored as a whole or not at all."""

    body: Raw = msgspec.field(default_factory=_absent)
    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)] | UnsetType = UNSET


class MessageList(Struct, forbid_unknown_fields=True):
    """Messages to publish, stored as a whole or not at all."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]


class PublishedMessage(Struct, kw_only=True):
    """Where a message was stored."""

    id: str
    sequence: Annotated[int, Meta(description="Its place in the topic, from 1, without gaps")]
    duplicate: Annotated[bool, Meta(description="The Idempotency-Key was known: this is the first answer again")]


class Published(Struct, kw_only=True):
    """One entry for each message, in order."""

    messages: list[PublishedMessage]


class Receive(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to take from a topic."""

    auto_ack: Annotated[
        bool,
        Meta(description="Must be true: a message is gone once it was handed out", extra_json_schema={"const": True}),
    ]
    max: Annotated[_Integer, Meta(ge=1, le=MAX_MESSAGES, description="How many messages at most")] = 1
    wait_s: Annotated[float, Meta(ge=0, le=MAX_WAIT_S, description="Seconds to wait where there is none")] = 0


class ReceivedMessage(Struct, kw_only=True):
    """A message that was taken."""

    id: str
    sequence: int
    body: Annotated[Raw, Meta(description="The JSON value as it was published")]
    published_at: Annotated[str, Meta(description="RFC 3339, UTC", extra_json_schema={"format": "date-time"})]
    deliveries: Annotated[int, Meta(ge=1, description="How often it was handed out, this time included")]


class Received(Struct, kw_only=True):
    """Messages in the order of their publication; empty where there was none."""

    messages: list[ReceivedMessage]


class ClusterMember(Struct, kw_only=True):
    """One voter; what follows `reachable` is null while it cannot be reached."""

    node: int
    url: str
    peer: str
    reachable: bool
    role: str | None = None
    term: int | None = None
    leader: int | None = None
    first_log_index: int | None = None
    last_log_index: int | None = None
    commit_index: int | None = None
    applied_index: int | None = None
    state_hash: str | None = None
    state_hash_index: int | None = None
    version: str | None = None
    ready: bool | None = None
    disk_full: bool | None = None
    lag: Annotated[int | None, Meta(description="Entries by which it is behind the leader")] = None


class Cluster(Struct, kw_only=True):
    """The cluster as the answering node sees it."""

    node: Annotated[int, Meta(description="The node that answers")]
    leader: int | None
    term: int
    members: list[ClusterMember]


class Transfer(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whom to hand the leadership to."""

    to: Annotated[
        Annotated[_Integer, Meta(ge=0, le=1023)] | None,
        Meta(description="The node; null or left out: the most advanced follower"),
    ] = None


class Transferred(Struct, kw_only=True):
    """The outcome of a transfer."""

    leader: int


class Health(Struct, kw_only=True):
    """Alive or ready."""

    status: str


COMPONENTS = (
    ProblemDetails, ClassicTopic, ClassicMessage, Success, ClassicTopics, Status, TopicSettings, CreatedTopic,
    Topic, Topics, Message, MessageList, Published, Receive, Received, Cluster, Transfer, Transferred, Health,
)  # fmt: skip


def components() -> dict[str, Any]:
    """`components.schemas` of OpenAPI, made from the structs. Answers may gain fields, so they stay open."""
    _, schemas = msgspec.json.schema_components(COMPONENTS, ref_template="#/components/schemas/{name}")
    _name_integers(schemas)
    return schemas


def _name_integers(schema: Any) -> None:
    """Fields of `_Integer` are numbers to the decoder, and integers to the reader."""
    if isinstance(schema, dict):
        if schema.get("type") == "number" and schema.get("multipleOf") == 1:
            schema["type"] = "integer"
            del schema["multipleOf"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            _name_integers(part)
