"""Publish: POST /v1/topics/{topic}/messages, as JSON or as the bytes of a single message. Hot.

Rules of this file: a publish is one command, so that its messages are stored together or not at all, unless the client
wants each for itself; then a refused one says why in its place, and where all were refused the first one's reason is
the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.api import message_schemas as schemas
from app.api.bodies import is_binary, read_body, require_json
from app.api.calls import Answer, Call
from app.api.kinds import PRIORITY_MAX, SPAN_MAX_S, VISIBLE_PATTERN
from app.api.metrics import Meters
from app.api.new_messages import NO_DEFAULTS, defaults_of, from_bytes, from_json
from app.api.operations import BODY, WRITES, Json, Operation, answer, content, parameter, ref
from app.api.params import key_of, topic_of
from app.api.queue import Queue, refused
from app.api.routes import KEY, OPERATION_TIMEOUT_S, TOPIC
from app.api.schemas import pattern_of
from app.broker import results

if TYPE_CHECKING:
    from app.config import Settings

_encode = msgspec.json.Encoder().encode


class Publishing:
    """The route over one node's queue."""

    def __init__(self, queue: Queue, settings: Settings, meters: Meters) -> None:
        self._meters = meters
        self._queue = queue
        self._limit_bytes = settings.body_limit_bytes

    async def publish(self, call: Call) -> Answer:
        """POST /v1/topics/{topic}/messages."""
        topic = topic_of(call)
        defaults = defaults_of(call) if call.scope["query_string"] else NO_DEFAULTS
        if is_binary(call):
            messages, atomic = [from_bytes(call, await read_body(call, self._limit_bytes), defaults)], True
        else:
            require_json(call)
            messages, atomic = from_json(await read_body(call, self._limit_bytes), defaults)
        published = await self._queue.publish(topic, messages, key_of(call), OPERATION_TIMEOUT_S, atomic=atomic)
        found, new = places(published)
        self._meters.count_published(topic, new)
        return Answer(201, _PUBLISHED % b",".join(found))

    def operations(self) -> list[Operation]:
        """The route."""
        return [
            Operation(
                method="POST", path="/v1/topics/{topic}/messages", name="publish", tag="messages", hot=True,
                summary="Publish messages", description=_DESCRIPTION, handler=self.publish,
                parameters=(TOPIC, *_DEFAULTS, KEY), body=_BODY,
                answers={
                    201: answer(
                        "On the disks of a majority", ref(schemas.Published), {"Published": _STORED, "Some": _SOME}
                    )
                },
                errors=(
                    "invalid_topic", "invalid_parameter", "invalid_header", *BODY, "topic_not_found", "key_reused",
                    "invalid_message", "topic_full", *WRITES, "disk_full",
                ),
            )
        ]  # fmt: skip


def places(published: results.Published | results.PublishedRun) -> tuple[list[bytes], int]:
    """Where each message is, each a `PublishedMessage` as JSON, and how many are new. Raises Problem where all were
    refused."""
    if isinstance(published, results.PublishedRun):
        place, ahead = _PLACES[published.duplicate], published.first_sequence - published.first_id
        ids = range(published.first_id, published.first_id + published.count)
        return [place % (id, id + ahead) for id in ids], 0 if published.duplicate else published.count
    found = published.messages
    if all(each.code is not None for each in found):
        raise refused(found[0].code or "", found[0].detail or "")
    return [_encode(_place(each)) for each in found], sum(each.code is None and not each.duplicate for each in found)


def _place(message: results.PublishedMessage) -> schemas.PublishedMessage:
    if message.code is not None:
        return schemas.PublishedMessage(code=message.code, detail=message.detail or message.code)
    return schemas.PublishedMessage(id=message.id, sequence=message.sequence, duplicate=message.duplicate)


_PUBLISHED = _encode(schemas.Published(messages=[])).replace(b"[]", b"[%b]")
_PLACES = [
    _encode(schemas.PublishedMessage(id="7", sequence=7, duplicate=duplicate)).replace(b"7", b"%d")
    for duplicate in (False, True)
]
"""Of most messages, by whether they are duplicates."""


_DESCRIPTION = (
    "One message, or up to 1,000 that are stored together or not at all; with `atomic` false each for itself, and the "
    "answer is 201 if any was stored. With an Idempotency-Key a retry stores nothing twice: it gets the first answer "
    "again, with `duplicate` true.\n\n"
    "A body of type `application/octet-stream` is one message of these bytes. It takes its headers from request "
    "headers `RMQ-Header-<name>` (names arrive in lower case), and all else from the query. What stands in the query "
    "holds for JSON, too, for each message that does not say it itself."
)
_STORED: Json = {"messages": [{"id": "12", "sequence": 7, "duplicate": False}]}
_SOME: Json = {
    "messages": [
        {"id": "13", "sequence": 8, "duplicate": False},
        {"code": "invalid_message", "detail": "a message has a group or a priority, not both"},
    ]
}
_VISIBLE: Json = {"type": "string", "pattern": pattern_of(VISIBLE_PATTERN)}
_DEFAULTS = (
    parameter("group", "query", "The message's group, for a body of bytes; in JSON it says so itself", _VISIBLE),
    parameter("dedup_id", "query", "Stored once within the topic's `dedup_window_s`", _VISIBLE),
    parameter("delay_s", "query", "Not handed out before", {"type": "number", "minimum": 0, "maximum": SPAN_MAX_S}),
    parameter(
        "ttl_s", "query", "Gone when not handed out by then",
        {"type": "number", "minimum": 0.001, "maximum": SPAN_MAX_S},
    ),
    parameter(
        "priority", "query", "On topics with priorities", {"type": "integer", "minimum": 0, "maximum": PRIORITY_MAX}
    ),
)  # fmt: skip
_BODY: Json = {
    "required": True,
    "content": {
        **content(
            {"oneOf": [ref(schemas.Message), ref(schemas.MessageList)]},
            {
                "One message": {"body": {"drink": "coffee", "cups": 2}, "headers": {"kind": "order"}},
                "Several messages": {"messages": [{"body": "one"}, {"body": "two", "delay_s": 0.5}]},
                "In order for each customer": {
                    "messages": [{"body": "cup", "group": "anna"}, {"body": "saucer", "group": "anna"}]
                },
                "Each for itself": {
                    "messages": [{"body": 1, "dedup_id": "a"}, {"body_base64": "AA=="}],
                    "atomic": False,
                },
            },
        ),
        **content(
            {"type": "string", "format": "binary"}, {"Bytes": "any bytes"}, media_type="application/octet-stream"
        ),
    },
}
