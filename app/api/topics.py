"""Topics of /v1: create, look at, delete, list.

Rules of this file: creating is idempotent (201 new, 200 the same again, 409 with other settings); reads ask
a majority first unless the client takes a stale answer.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import msgspec

from app.api import schemas
from app.api.bodies import BodyDecoder, read_body, require_json
from app.api.calls import JSON, NO_STORE, Answer, Call
from app.api.operations import BODY, REPLICATED, WRITES, Json, Operation, answer, body, header, parameter, ref
from app.api.params import KEY_SCHEMA, Query, decode_cursor, encode_cursor, topic_of
from app.api.problems import CODES, Problem
from app.api.queue import Queue
from app.broker import TopicInfo, results

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node

OPERATION_TIMEOUT_S = 5.0
"""Time that an operation of /v1 has in the cluster: several elections fit into it."""
PAGE = 100
LONGEST_PAGE = 1000

_settings_body = BodyDecoder(schemas.TopicSettings)
_encode = msgspec.json.Encoder().encode


def timestamp(time_ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339 in UTC."""
    moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Topics:
    """The routes of topics over one node."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node = node
        self._queue = Queue(node)
        self._dedup_window_s = settings.dedup_window_s
        self._limit_bytes = settings.body_limit_bytes

    async def create(self, call: Call) -> Answer:
        """PUT /v1/topics/{topic}."""
        name = topic_of(call)
        Query(call)
        dedup_window_s = self._dedup_window_s
        content = await read_body(call, self._limit_bytes)
        if content:
            require_json(call)
            dedup_window_s = int(_settings_body.decode(content).dedup_window_s or dedup_window_s)
        result = await self._queue.create(name, dedup_window_s, OPERATION_TIMEOUT_S, again=True)
        if isinstance(result, results.TopicExists) and not result.same:
            raise Problem("topic_exists", CODES["topic_exists"].example)
        location = (b"location", b"/v1/topics/" + name.encode())
        created = schemas.CreatedTopic(name=name, settings=schemas.TopicSettings(dedup_window_s))
        status = 201 if isinstance(result, results.TopicCreated) else 200
        return Answer(status, _encode(created), (JSON, location))

    async def look(self, call: Call) -> Answer:
        """GET /v1/topics/{topic}."""
        name = topic_of(call)
        await self._freshen(Query(call, "consistency"))
        info = self._node.machine.topic(name)
        if info is None:
            raise Problem("topic_not_found", f"There is no topic {name}.")
        return Answer(200, _encode(_topic(info)), (JSON, NO_STORE))

    async def delete(self, call: Call) -> Answer:
        """DELETE /v1/topics/{topic}."""
        name = topic_of(call)
        Query(call)
        await self._queue.delete(name, OPERATION_TIMEOUT_S)
        return Answer(204, headers=())

    async def page(self, call: Call) -> Answer:
        """GET /v1/topics."""
        query = Query(call, "prefix", "limit", "cursor", "consistency")
        prefix, limit, cursor = query.text("prefix"), query.number("limit", PAGE, 1, LONGEST_PAGE), query.text("cursor")
        question = f"topics {prefix}"
        after = decode_cursor(question, cursor) if cursor else 0
        await self._freshen(query)
        found = self._node.machine.topics(prefix, limit=limit + 1, after=after)
        more = len(found) > limit
        page = found[:limit]
        next_cursor = encode_cursor(question, page[-1].id) if more else None
        return Answer(200, _encode(schemas.Topics(items=[_topic(info) for info in page], next_cursor=next_cursor)))

    async def _freshen(self, query: Query) -> None:
        if not query.stale():
            await self._node.read_barrier(timeout_s=OPERATION_TIMEOUT_S)

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        return [self._create(), self._look(), self._delete(), self._list()]

    def _create(self) -> Operation:
        created: Json = {"name": "orders", "settings": {"dedup_window_s": 300}}
        location = {"Location": header("The topic's path")}
        return Operation(
            method="PUT", path="/v1/topics/{topic}", name="create_topic", tag="topics", summary="Create a topic",
            description="Idempotent: the same topic with the same settings again is 200, with other settings 409.",
            handler=self.create, parameters=(TOPIC,),
            body=body(
                ref(schemas.TopicSettings), {"Defaults": {}, "A longer memory for keys": {"dedup_window_s": 3600}},
                required=False,
            ),
            answers={
                200: answer("The topic was there", ref(schemas.CreatedTopic), {"It was there": created}, location),
                201: answer("The topic was created", ref(schemas.CreatedTopic), {"Created": created}, location),
            },
            errors=("invalid_topic", "invalid_parameter", *BODY, "topic_exists", *WRITES, "disk_full"),
        )  # fmt: skip

    def _look(self) -> Operation:
        return Operation(
            method="GET", path="/v1/topics/{topic}", name="get_topic", tag="topics", summary="Look at a topic",
            description="Its settings and counts.", handler=self.look, parameters=(TOPIC, CONSISTENCY),
            answers={200: answer("The topic", ref(schemas.Topic), {"A topic": _EXAMPLE})},
            errors=("invalid_topic", "invalid_parameter", "topic_not_found", *REPLICATED),
        )  # fmt: skip

    def _delete(self) -> Operation:
        return Operation(
            method="DELETE", path="/v1/topics/{topic}", name="delete_topic", tag="topics", summary="Delete a topic",
            description="With all its messages.", handler=self.delete, parameters=(TOPIC,),
            answers={204: {"description": "The topic is gone"}},
            errors=("invalid_topic", "invalid_parameter", "topic_not_found", *WRITES),
        )  # fmt: skip

    def _list(self) -> Operation:
        return Operation(
            method="GET", path="/v1/topics", name="list_topics", tag="topics", summary="List topics",
            description="In the order of their creation, a page at a time.", handler=self.page,
            parameters=(
                parameter("prefix", "query", "Only names that begin so", _SHORT_TEXT, ""),
                parameter(
                    "limit", "query", "Topics on a page",
                    {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE},
                ),
                parameter("cursor", "query", "The `next_cursor` of the page before", _SHORT_TEXT),
                CONSISTENCY,
            ),
            answers={
                200: answer(
                    "A page", ref(schemas.Topics),
                    {"The last page": {"items": [_EXAMPLE], "next_cursor": None}},
                )
            },
            errors=("invalid_parameter", "invalid_cursor", *REPLICATED),
        )  # fmt: skip


_EXAMPLE: Json = {
    "name": "orders", "created_at": "2026-01-31T12:00:00.000Z", "messages": 3, "bytes": 42,
    "settings": {"dedup_window_s": 300},
}  # fmt: skip
_SHORT_TEXT: Json = {"type": "string", "maxLength": 128}
TOPIC = parameter("topic", "path", "The topic's name", schemas.TOPIC_SCHEMA, "orders")
KEY = parameter(
    "Idempotency-Key", "header", "A key chosen by the client: a retry with it gets the first answer again", KEY_SCHEMA
)
CONSISTENCY = parameter(
    "consistency", "query", "`stale`: what this node knows, without asking a majority",
    {"type": "string", "enum": ["linearizable", "stale"], "default": "linearizable"},
)  # fmt: skip


def _topic(info: TopicInfo) -> schemas.Topic:
    settings = schemas.TopicSettings(info.settings.dedup_window_ms // 1000)
    return schemas.Topic(
        name=info.name, created_at=timestamp(info.created_ms), messages=info.messages, bytes=info.size_bytes,
        settings=settings,
    )  # fmt: skip
