"""What the routes of /v1 share: the time that they have, pages, and the parameters that several of them take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.api import schemas
from app.api.bodies import BodyDecoder, read_body, require_json
from app.api.calls import Call
from app.api.kinds import MESSAGES_MAX
from app.api.operations import Json, parameter
from app.api.params import Query
from app.api.problems import Problem

if TYPE_CHECKING:
    from app.broker import TopicInfo
    from app.node.service import Node

OPERATION_TIMEOUT_S = 5.0
"""Time that an operation of /v1 has in the cluster: several elections fit into it."""
PAGE, LONGEST_PAGE = 100, MESSAGES_MAX

SHORT_TEXT: Json = {"type": "string", "maxLength": 128}
TOPIC = parameter("topic", "path", "The topic's name", schemas.NAME_SCHEMA, "orders")
KEY = parameter(
    "Idempotency-Key", "header", "A key chosen by the client: a retry with it gets the first answer again",
    schemas.KEY_SCHEMA,
)  # fmt: skip
CONSISTENCY = parameter(
    "consistency", "query", "`stale`: what this node knows, without asking a majority",
    {"type": "string", "enum": ["linearizable", "stale"], "default": "linearizable"},
)  # fmt: skip
LIMIT = parameter(
    "limit", "query", "Items on a page",
    {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE},
)  # fmt: skip
CURSOR = parameter("cursor", "query", "The `next_cursor` of the page before", SHORT_TEXT)


async def freshen(node: Node, query: Query) -> None:
    """Let the node's own state hold all that was committed, unless the client takes a stale answer."""
    if not query.stale():
        await node.read_barrier(timeout_s=OPERATION_TIMEOUT_S)


async def optional_body(call: Call, decoder: BodyDecoder, limit_bytes: int) -> tuple[Any, bytes]:
    """What the body says, and its bytes; no body is an empty object."""
    content = await read_body(call, limit_bytes)
    if not content:
        return decoder.decode(b"{}"), content
    require_json(call)
    return decoder.decode(content), content


def place_of(node: Node, topic: str, subscription: str) -> TopicInfo:
    """The topic as this node knows it. Problem where it is not there, or has no such subscription."""
    info = node.machine.topic(topic)
    if info is None:
        raise no_topic(topic)
    if node.machine.ready(topic, subscription) is None:
        raise no_subscription(topic, subscription)
    return info


def no_topic(name: str) -> Problem:
    """There is none of that name."""
    return Problem("topic_not_found", f"There is no topic {name}.")


def no_subscription(topic: str, name: str) -> Problem:
    """There is none of that name."""
    return Problem("subscription_not_found", f"The topic {topic} has no subscription {name}.")
