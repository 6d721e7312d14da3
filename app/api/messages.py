"""Messages of /v1: publish and receive. Both are hot: their answers are put together from bytes.

Rules of this file: a message's value is stored and handed out as the bytes it came in; a publish is one
command, so that its messages are stored together or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from app.api import schemas
from app.api.bodies import BodyDecoder, check_value, read_body, require_json
from app.api.calls import JSON, NO_STORE, Answer, Call
from app.api.metrics import Meters
from app.api.operations import BODY, WRITES, Json, Operation, answer, body, ref
from app.api.params import Query, key_of, topic_of
from app.api.polls import LongPolls
from app.api.problems import Problem
from app.api.queue import Queue
from app.api.topics import KEY, OPERATION_TIMEOUT_S, TOPIC, timestamp
from app.broker import results

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node

_publish_body = BodyDecoder(schemas.Publish, "body", "messages")
_receive_body = BodyDecoder(schemas.Receive, "auto_ack", "max", "wait_s")
_encode = msgspec.json.Encoder().encode


class Messages:
    """The routes of messages over one node."""

    def __init__(self, node: Node, settings: Settings, polls: LongPolls, meters: Meters) -> None:
        self._meters = meters
        self._queue = Queue(node)
        self._polls = polls
        self._limit_bytes = settings.body_limit_bytes

    async def publish(self, call: Call) -> Answer:
        """POST /v1/topics/{topic}/messages."""
        topic = topic_of(call)
        Query(call)
        require_json(call)
        sent = _publish_body.decode(await read_body(call, self._limit_bytes))
        bodies = _bodies(sent)
        published = await self._queue.publish(topic, bodies, key_of(call), OPERATION_TIMEOUT_S)
        self._meters.published += sum(not message.duplicate for message in published.messages)
        messages = [
            schemas.PublishedMessage(id=message.id, sequence=message.sequence, duplicate=message.duplicate)
            for message in published.messages
        ]
        return Answer(201, _encode(schemas.Published(messages=messages)))

    async def receive(self, call: Call) -> Answer:
        """POST /v1/topics/{topic}/messages:receive."""
        topic = topic_of(call)
        Query(call)
        require_json(call)
        asked = _receive_body.decode(await read_body(call, self._limit_bytes))
        if not asked.auto_ack:
            raise Problem("not_supported", "`auto_ack` must be true: leases are not supported yet.")
        key = key_of(call)

        async def take(final: bool = False) -> Any:
            return await self._queue.receive(topic, int(asked.max), key, OPERATION_TIMEOUT_S, final=final)

        received = await self._polls.receive(call, topic, asked.wait_s, take) if asked.wait_s else None
        if received is None or (key is not None and not received.messages):
            # With a key, that there was nothing is an answer too, which every repetition must get.
            received = await take(final=True)
        self._meters.consumed += len(received.messages)
        messages = [_received(message) for message in received.messages]
        return Answer(200, _encode(schemas.Received(messages=messages)), (JSON, NO_STORE))

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        return [self._publish(), self._receive()]

    def _publish(self) -> Operation:
        stored: Json = {"messages": [{"id": "12", "sequence": 7, "duplicate": False}]}
        return Operation(
            method="POST", path="/v1/topics/{topic}/messages", name="publish", tag="messages", hot=True,
            summary="Publish messages",
            description=(
                "One message, or up to 1,000 that are stored together or not at all. With an Idempotency-Key a retry "
                "stores nothing twice: it gets the first answer again, with `duplicate` true."
            ),
            handler=self.publish, parameters=(TOPIC, KEY),
            body=body(
                {"oneOf": [ref(schemas.Message), ref(schemas.MessageList)]},
                {
                    "One message": {"body": {"drink": "coffee", "cups": 2}},
                    "Several messages": {"messages": [{"body": "one"}, {"body": "two"}]},
                },
            ),
            answers={201: answer("On the disks of a majority", ref(schemas.Published), {"Published": stored})},
            errors=(
                "invalid_topic", "invalid_parameter", "invalid_header", *BODY, "topic_not_found", "key_reused",
                *WRITES, "disk_full",
            ),
        )  # fmt: skip

    def _receive(self) -> Operation:
        message: Json = {
            "id": "12", "sequence": 7, "body": {"drink": "coffee", "cups": 2},
            "published_at": "2026-01-31T12:00:00.000Z", "deliveries": 1,
        }  # fmt: skip
        return Operation(
            method="POST", path="/v1/topics/{topic}/messages:receive", name="receive", tag="messages", hot=True,
            summary="Receive messages",
            description=(
                "Takes up to `max` of the oldest messages out of the topic, fewer where they would exceed 4 MiB "
                "together. `wait_s` waits for one where there is none. With an Idempotency-Key a retry gets the same "
                "answer again, also where that was none: take a new key to ask for more."
            ),
            handler=self.receive, parameters=(TOPIC, KEY),
            body=body(
                ref(schemas.Receive),
                {
                    "One message": {"auto_ack": True},
                    "Up to ten, waiting for the first": {"max": 10, "wait_s": 20, "auto_ack": True},
                },
            ),
            answers={
                200: answer(
                    "The messages", ref(schemas.Received),
                    {"One message": {"messages": [message]}, "None": {"messages": []}},
                )
            },
            errors=(
                "invalid_topic", "invalid_parameter", "invalid_header", *BODY, "topic_not_found", "not_supported",
                *WRITES,
            ),
        )  # fmt: skip


def _bodies(sent: schemas.Publish) -> list[bytes]:
    single = bytes(sent.body)
    if isinstance(sent.messages, msgspec.UnsetType):
        if not single:
            raise _either()
        return [check_value(sent.body)]
    if single:
        raise _either()
    return [check_value(message.body) for message in sent.messages]


def _either() -> Problem:
    return Problem("invalid_body", "Object takes either the field `body` or the field `messages`.")


def _received(message: results.ReceivedMessage) -> schemas.ReceivedMessage:
    return schemas.ReceivedMessage(
        id=message.id, sequence=message.sequence, body=msgspec.Raw(message.body),
        published_at=timestamp(message.published_ms), deliveries=message.deliveries,
    )  # fmt: skip
