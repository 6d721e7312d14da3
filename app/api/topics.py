"""Topics of /v1: create, look at, change, delete, list.

Rules of this file: creating is idempotent (201 new, 200 the same again, 409 with other settings); a change names the
version that its author has seen, or none; reads ask a majority first unless the client takes a stale answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from app.api import topic_schemas as schemas
from app.api.bodies import BodyDecoder, read_body, require_json
from app.api.calls import JSON, NO_STORE, Answer, Call, Header
from app.api.kinds import timestamp, to_ms, to_s
from app.api.metrics import Meters
from app.api.operations import BODY, REPLICATED, WRITES, Json, Operation, answer, body, header, parameter, ref
from app.api.params import Query, decode_cursor, encode_cursor, topic_of, version_of
from app.api.problems import CODES, Problem
from app.api.queue import Queue, repeat_of
from app.api.routes import (
    CONSISTENCY,
    CURSOR,
    KEY,
    LIMIT,
    LONGEST_PAGE,
    OPERATION_TIMEOUT_S,
    PAGE,
    SHORT_TEXT,
    TOPIC,
    freshen,
    no_topic,
    optional_body,
)
from app.broker import TopicInfo, results
from app.broker.commands import ChangeTopic, CreateTopic, DeleteTopic, SettingsChange, TopicSettings

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node

_new_settings = BodyDecoder(schemas.NewSettings)
_settings_change = BodyDecoder(schemas.SettingsChange)
_encode = msgspec.json.Encoder().encode
_IN_MS = {"lease_s": "lease_ms", "delay_s": "delay_ms", "ttl_s": "ttl_ms", "dedup_window_s": "dedup_window_ms"}


class Topics:
    """The routes of topics over one node."""

    def __init__(self, node: Node, settings: Settings, meters: Meters) -> None:
        self._node = node
        self._queue = Queue(node)
        self._rates = meters.rates
        self._dedup_window_s = settings.dedup_window_s
        self._limit_bytes = settings.body_limit_bytes

    async def create(self, call: Call) -> Answer:
        """PUT /v1/topics/{topic}."""
        name = topic_of(call)
        Query(call)
        asked, content = await optional_body(call, _new_settings, self._limit_bytes)
        _refuse_own(name, asked.dead_letter_topic)
        said = {field: value for field, value in msgspec.structs.asdict(asked).items() if value is not None}
        settings = TopicSettings(**{"dedup_window_ms": self._dedup_window_s * 1000, **_inside(said)})
        result = await self._queue.change(
            CreateTopic(name, settings), repeat_of(call, content), OPERATION_TIMEOUT_S, repeatable=True, grows=True
        )
        assert isinstance(result, results.TopicCreated | results.TopicExists)
        if isinstance(result, results.TopicExists) and not result.same:
            raise Problem("topic_exists", CODES["topic_exists"].example)
        location = (b"location", b"/v1/topics/" + name.encode())
        created = schemas.CreatedTopic(name=name, settings=_settings(settings))
        status = 201 if isinstance(result, results.TopicCreated) else 200
        return Answer(status, _encode(created), (JSON, location))

    async def look(self, call: Call) -> Answer:
        """GET /v1/topics/{topic}."""
        name = topic_of(call)
        await freshen(self._node, Query(call, "consistency"))
        info = self._node.machine.topic(name)
        if info is None:
            raise no_topic(name)
        return Answer(200, _encode(self._topic(info)), (JSON, NO_STORE, _etag(info.version)))

    async def change(self, call: Call) -> Answer:
        """PATCH /v1/topics/{topic}."""
        name = topic_of(call)
        Query(call)
        version = version_of(call)
        require_json(call)
        content = await read_body(call, self._limit_bytes)
        asked = _settings_change.decode(content)
        _refuse_own(name, asked.dead_letter_topic)
        said = {field: value for field, value in msgspec.structs.asdict(asked).items() if value is not msgspec.UNSET}
        command = ChangeTopic(name, SettingsChange(**_inside(said)), version)
        changed = await self._queue.change(command, repeat_of(call, content), OPERATION_TIMEOUT_S)
        assert isinstance(changed, results.TopicChanged)
        found = schemas.ChangedTopic(name=name, version=changed.version)
        return Answer(200, _encode(found), (JSON, _etag(changed.version)))

    async def delete(self, call: Call) -> Answer:
        """DELETE /v1/topics/{topic}."""
        name = topic_of(call)
        Query(call)
        await self._queue.change(DeleteTopic(name), repeat_of(call), OPERATION_TIMEOUT_S)
        return Answer(204, headers=())

    async def page(self, call: Call) -> Answer:
        """GET /v1/topics."""
        query = Query(call, "prefix", "limit", "cursor", "consistency")
        prefix, limit, cursor = query.text("prefix"), query.number("limit", PAGE, 1, LONGEST_PAGE), query.text("cursor")
        question = f"topics {prefix}"
        after = decode_cursor(question, cursor) if cursor else 0
        await freshen(self._node, query)
        found = self._node.machine.topics(prefix, limit=limit + 1, after=after)
        more = len(found) > limit
        page = found[:limit]
        next_cursor = encode_cursor(question, page[-1].id) if more else None
        items = [self._topic(info) for info in page]
        return Answer(200, _encode(schemas.Topics(items=items, next_cursor=next_cursor)), (JSON, NO_STORE))

    def _topic(self, info: TopicInfo) -> schemas.Topic:
        age_s = None if info.oldest_ms is None else to_s(max(0, time.time_ns() // 1_000_000 - info.oldest_ms))
        published, delivered = self._rates.of(info.name)
        subscriptions = [schemas.Subscription(**msgspec.structs.asdict(each)) for each in info.subscriptions]
        return schemas.Topic(
            name=info.name, created_at=timestamp(info.created_ms), version=info.version, messages=info.messages,
            bytes=info.size_bytes, oldest_age_s=age_s, subscriptions=subscriptions, settings=_settings(info.settings),
            rates=schemas.Rates(published_per_s=round(published, 3), delivered_per_s=round(delivered, 3)),
        )  # fmt: skip

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        return [self._create(), self._look(), self._change(), self._delete(), self._list()]

    def _create(self) -> Operation:
        created: Json = {"name": "orders", "settings": _SETTINGS}
        location = {"Location": header("The topic's path")}
        examples: Json = {
            "Defaults": {},
            "Limits": {"max_messages": 10_000, "max_bytes": 10_000_000, "overflow": "drop_oldest", "ttl_s": 3600},
            "Dead letters after three deliveries": {"max_deliveries": 3, "dead_letter_topic": "orders-dead"},
            "Priorities, a longer memory for keys": {"priorities": True, "dedup_window_s": 3600},
        }
        return Operation(
            method="PUT", path="/v1/topics/{topic}", name="create_topic", tag="topics", summary="Create a topic",
            description=(
                "Idempotent: the same topic with the same settings again is 200, with other settings 409. Create its "
                "`dead_letter_topic` as well: as long as that is not there, dead messages stand still in this one."
            ),
            handler=self.create, parameters=(TOPIC, KEY),
            body=body(ref(schemas.NewSettings), examples, required=False),
            answers={
                200: answer("The topic was there", ref(schemas.CreatedTopic), {"It was there": created}, location),
                201: answer("The topic was created", ref(schemas.CreatedTopic), {"Created": created}, location),
            },
            errors=(
                "invalid_topic", "invalid_parameter", "invalid_header", *BODY, "topic_exists", "invalid_settings",
                "key_reused", *WRITES, "disk_full",
            ),
        )  # fmt: skip

    def _look(self) -> Operation:
        return Operation(
            method="GET", path="/v1/topics/{topic}", name="get_topic", tag="topics", summary="Look at a topic",
            description="Its settings and counts. The ETag is the version of the settings, for a later PATCH.",
            handler=self.look, parameters=(TOPIC, CONSISTENCY),
            answers={200: answer("The topic", ref(schemas.Topic), {"A topic": _EXAMPLE}, _ETAG)},
            errors=("invalid_topic", "invalid_parameter", "topic_not_found", *REPLICATED),
        )  # fmt: skip

    def _change(self) -> Operation:
        match = {"type": "string", "pattern": r'^(\*|(W/)?"[!#-~]*")$'}
        return Operation(
            method="PATCH", path="/v1/topics/{topic}", name="change_topic", tag="topics",
            summary="Change a topic's settings",
            description=(
                "What is left out stays. With `If-Match` only if nobody has changed it since that ETag was read (412). "
                "The new settings hold for what comes."
            ),
            handler=self.change,
            parameters=(TOPIC, parameter("If-Match", "header", "The ETag of a GET, or `*` for any", match, "*"), KEY),
            body=body(
                ref(schemas.SettingsChange),
                {
                    "Dead letters after two deliveries": {"max_deliveries": 2, "dead_letter_topic": "orders-dead"},
                    "No dead letters, longer leases": {
                        "max_deliveries": None, "dead_letter_topic": None, "lease_s": 60.5,
                    },
                },
            ),
            answers={
                200: answer("Changed", ref(schemas.ChangedTopic), {"Changed": {"name": "orders", "version": 2}}, _ETAG)
            },
            errors=(
                "invalid_topic", "invalid_parameter", "invalid_header", *BODY, "topic_not_found", "version_conflict",
                "invalid_settings", "key_reused", *WRITES,
            ),
        )  # fmt: skip

    def _delete(self) -> Operation:
        return Operation(
            method="DELETE", path="/v1/topics/{topic}", name="delete_topic", tag="topics", summary="Delete a topic",
            description="With all its messages, subscriptions and schedules.", handler=self.delete,
            parameters=(TOPIC, KEY), answers={204: {"description": "The topic is gone"}},
            errors=("invalid_topic", "invalid_parameter", "invalid_header", "topic_not_found", "key_reused", *WRITES),
        )  # fmt: skip

    def _list(self) -> Operation:
        return Operation(
            method="GET", path="/v1/topics", name="list_topics", tag="topics", summary="List topics",
            description="In the order of their creation, a page at a time.", handler=self.page,
            parameters=(
                parameter("prefix", "query", "Only names that begin so", SHORT_TEXT, ""), LIMIT, CURSOR, CONSISTENCY,
            ),
            answers={
                200: answer(
                    "A page", ref(schemas.Topics),
                    {"The last page": {"items": [_EXAMPLE], "next_cursor": None}},
                )
            },
            errors=("invalid_parameter", "invalid_cursor", *REPLICATED),
        )  # fmt: skip


_SETTINGS: Json = {
    "lease_s": 30, "delay_s": 0, "ttl_s": None, "max_messages": None, "max_bytes": None, "overflow": "reject",
    "max_deliveries": None, "dead_letter_topic": None, "dedup_window_s": 300, "priorities": False,
}  # fmt: skip
_EXAMPLE: Json = {
    "name": "orders", "created_at": "2026-01-31T12:00:00.000Z", "version": 1, "messages": 3, "bytes": 42,
    "oldest_age_s": 1.5, "rates": {"published_per_s": 0.3, "delivered_per_s": 0.1},
    "subscriptions": [{"name": "default", "start": 1, "ready": 2, "leased": 1, "delayed": 0, "dead": 0}],
    "settings": _SETTINGS,
}  # fmt: skip
_ETAG: Json = {"ETag": header("The version of the settings, in quotes")}


def _etag(version: int) -> Header:
    return (b"etag", b'"%d"' % version)


def _refuse_own(name: str, dead_letter_topic: Any) -> None:
    if dead_letter_topic == name:
        raise Problem("invalid_settings", CODES["invalid_settings"].example)


def _inside(said: dict[str, Any]) -> dict[str, Any]:
    """Settings of the API as the queue takes them: milliseconds, and whole numbers as such."""
    found = {}
    for field, value in said.items():
        if field in _IN_MS:
            found[_IN_MS[field]] = None if value is None else to_ms(value)
        else:
            found[field] = int(value) if isinstance(value, float) else value
    return found


def _settings(settings: TopicSettings) -> schemas.TopicSettings:
    """The way back."""
    said = msgspec.structs.asdict(settings)
    for outside, inside in _IN_MS.items():
        value = said.pop(inside)
        said[outside] = None if value is None else to_s(value)
    return schemas.TopicSettings(**said)
