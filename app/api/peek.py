"""Peek: GET /v1/topics/{topic}/messages, to look at messages where they stand, without touching any.

Rules of this file: a page is bounded by what is looked at, so a filter may leave it short, or empty, with more to come:
only a `next_cursor` of null is the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from app.api import message_schemas as schemas
from app.api import schemas as common
from app.api.calls import JSON, NO_STORE, Answer, Call
from app.api.kinds import HEADER_LENGTH_MAX, HEADER_NAME_PATTERN, IN_WORDS, NAME_PATTERN, WHOLE_MAX, timestamp
from app.api.operations import REPLICATED, Json, Operation, answer, parameter, ref
from app.api.params import Query, decode_cursor, encode_cursor, topic_of
from app.api.problems import Problem
from app.api.receive import dead_letter
from app.api.routes import CONSISTENCY, CURSOR, LIMIT, LONGEST_PAGE, PAGE, TOPIC, freshen, no_subscription, no_topic
from app.broker.peek import Peeked

if TYPE_CHECKING:
    from app.node.service import Node

_encode = msgspec.json.Encoder().encode


class Peeking:
    """The route over one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def peek(self, call: Call) -> Answer:
        """GET /v1/topics/{topic}/messages."""
        topic = topic_of(call)
        query = Query(call, "from", "limit", "cursor", "subscription", "consistency", prefix="header.")
        headers = _filters(query)
        subscription = query.matching("subscription", NAME_PATTERN, IN_WORDS[NAME_PATTERN]) or "default"
        question = msgspec.json.encode((topic, subscription, sorted(headers.items()))).decode()
        start, cursor = query.whole("from") or 0, query.text("cursor")
        limit = query.number("limit", PAGE, 1, LONGEST_PAGE)
        start = decode_cursor(question, cursor) if cursor else start
        await freshen(self._node, query)
        page = self._node.machine.peek(topic, subscription, start, limit, headers)
        if page is None:
            raise no_topic(topic) if self._node.machine.topic(topic) is None else no_subscription(topic, subscription)
        next_cursor = None if page.next is None else encode_cursor(question, page.next)
        found = schemas.PeekedMessages(items=[peeked(item) for item in page.items], next_cursor=next_cursor)
        return Answer(200, _encode(found), (JSON, NO_STORE))

    def operations(self) -> list[Operation]:
        """The route."""
        return [
            Operation(
                method="GET", path="/v1/topics/{topic}/messages", name="peek", tag="messages",
                summary="Look at messages",
                description=(
                    "In the order of their sequences, a page at a time, without touching them. `state` is what a "
                    "message is to the `subscription`: ready, delayed, leased, dead or done. `header.kind=order` lets "
                    "only messages with that header through, for any name in place of `kind`; a page may then be short "
                    "or empty before the end."
                ),
                handler=self.peek,
                parameters=(
                    TOPIC,
                    parameter("from", "query", "The sequence to begin at", _SEQUENCE),
                    LIMIT,
                    parameter("subscription", "query", "Whose view", {**common.NAME_SCHEMA, "default": "default"}),
                    parameter(
                        "header.kind", "query", "Only messages whose header `kind` is this; any name can stand there",
                        {"type": "string", "maxLength": HEADER_LENGTH_MAX},
                    ),
                    CURSOR, CONSISTENCY,
                ),
                answers={200: answer("A page", ref(schemas.PeekedMessages), {"The last page": _PAGE})},
                errors=(
                    "invalid_topic", "invalid_parameter", "invalid_cursor", "topic_not_found", "subscription_not_found",
                    *REPLICATED,
                ),
            )
        ]  # fmt: skip


def _filters(query: Query) -> dict[str, str]:
    for name, value in query.prefixed.items():
        if not re.match(HEADER_NAME_PATTERN, name) or len(value) > HEADER_LENGTH_MAX:
            words = f"{IN_WORDS[HEADER_NAME_PATTERN]}, and a value of at most {HEADER_LENGTH_MAX}"
            raise Problem("invalid_parameter", f"After `header.` comes {words}.")
    return query.prefixed


def peeked(item: Peeked) -> schemas.PeekedMessage:
    """A message where it stands, as clients see it."""
    message = item.message
    return schemas.PeekedMessage(
        id=message.id, sequence=message.sequence, state=item.state, headers=message.headers or {}, group=message.group,
        body=msgspec.UNSET if message.binary else msgspec.Raw(message.body),
        body_base64=message.body if message.binary else msgspec.UNSET, priority=message.priority,
        deliveries=None if item.state == "leased" else message.deliveries,
        published_at=timestamp(message.published_ms),
        dead_letter=msgspec.UNSET if message.dead_letter is None else dead_letter(message.dead_letter),
    )  # fmt: skip


_SEQUENCE: Json = {"type": "integer", "minimum": 0, "maximum": WHOLE_MAX}
_PAGE: Json = {
    "items": [
        {
            "id": "12", "sequence": 7, "state": "ready", "body": {"drink": "coffee", "cups": 2},
            "headers": {"kind": "order"}, "group": None, "priority": 0, "deliveries": 0,
            "published_at": "2026-01-31T12:00:00.000Z",
        }
    ],
    "next_cursor": None,
}  # fmt: skip
