"""The shapes of bodies: the structs that decode requests and encode answers also document them.

Rules of this file: requests of /v1 refuse fields that they do not know, by name; those of the classic routes
ignore them, as those queues always did. A field of type `Raw` keeps the bytes of its JSON value as they came.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from app.api import message_schemas, topic_schemas
from app.api.kinds import KEY_PATTERN, NAME_PATTERN, Integer
from app.api.problems import ProblemDetails


def pattern_of(pattern: str) -> str:
    """A pattern of `kinds` as JSON Schema has it."""
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")


NAME_SCHEMA: dict[str, Any] = {
    "type": "string", "pattern": pattern_of(NAME_PATTERN), "minLength": 1, "maxLength": 128,
}  # fmt: skip
KEY_SCHEMA: dict[str, Any] = {
    "type": "string", "pattern": pattern_of(KEY_PATTERN), "minLength": 1, "maxLength": 256,
}  # fmt: skip


class ClassicTopic(Struct):
    """A topic to create."""

    topic: Annotated[str, Meta(description="The topic's name", extra_json_schema={"pattern": NAME_SCHEMA["pattern"]})]


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
        Annotated[Integer, Meta(ge=0, le=1023)] | None,
        Meta(description="The node; null or left out: the most advanced follower"),
    ] = None


class Transferred(Struct, kw_only=True):
    """The outcome of a transfer."""

    leader: int


class Health(Struct, kw_only=True):
    """Alive or ready."""

    status: str


COMPONENTS = (
    ProblemDetails, ClassicTopic, ClassicMessage, Success, ClassicTopics, Status, Cluster, Transfer, Transferred,
    Health, *topic_schemas.COMPONENTS, *message_schemas.COMPONENTS,
)  # fmt: skip
BASE64_PATTERN = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


def components() -> dict[str, Any]:
    """`components.schemas` of OpenAPI, made from the structs. Answers may gain fields, so they stay open."""
    _, schemas = msgspec.json.schema_components(COMPONENTS, ref_template="#/components/schemas/{name}")
    for name in ("ScheduledMessage", "Message"):
        schemas[name]["oneOf"] = [{"required": ["body"]}, {"required": ["body_base64"]}]
    _in_json_schema(schemas)
    return schemas


def _in_json_schema(schema: Any) -> None:
    """What the decoder takes, as readers of JSON Schema know it: a whole number is an integer, `\\A` is `^`, base64 has
    a pattern."""
    if isinstance(schema, dict):
        if schema.get("type") == "number" and schema.get("multipleOf") == 1:
            schema["type"] = "integer"
            del schema["multipleOf"]
        if schema.get("contentEncoding") == "base64":
            schema["pattern"] = BASE64_PATTERN
        if str(schema.get("pattern", "")).startswith(r"\A"):
            schema["pattern"] = pattern_of(schema["pattern"])
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            _in_json_schema(part)
