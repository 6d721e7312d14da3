"""Schedules of a topic: create or replace, look at, delete, list.

Rules of this file: when the first tick is, is worked out here, by this node's clock, and stands in the command; from
then on the leader goes on from tick to tick.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from app.api import schemas as common
from app.api import topic_schemas as schemas
from app.api.bodies import BodyDecoder, read_body, require_json
from app.api.calls import JSON, NO_STORE, Answer, Call
from app.api.kinds import timestamp
from app.api.new_messages import new_message, sent_message
from app.api.operations import BODY, REPLICATED, WRITES, Json, Operation, answer, body, header, parameter, ref
from app.api.params import Query, part_of, topic_of
from app.api.problems import Problem, sentence
from app.api.queue import Queue, repeat_of
from app.api.routes import CONSISTENCY, KEY, OPERATION_TIMEOUT_S, TOPIC, freshen, no_topic
from app.broker import results
from app.broker.commands import DeleteSchedule, NewMessage, PutSchedule
from app.broker.queries import ScheduleInfo
from app.node.cron import next_tick_ms

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node

_PATH = "/v1/topics/{topic}/schedules"
_new_schedule = BodyDecoder(schemas.NewSchedule)
_encode = msgspec.json.Encoder().encode


class Schedules:
    """The routes over one node."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node = node
        self._queue = Queue(node)
        self._limit_bytes = settings.body_limit_bytes

    async def put(self, call: Call) -> Answer:
        """PUT /v1/topics/{topic}/schedules/{schedule}."""
        topic, name = topic_of(call), part_of(call)
        Query(call)
        require_json(call)
        content = await read_body(call, self._limit_bytes)
        asked = _new_schedule.decode(content)
        message = new_message(asked.message, " - at `$.message`")
        try:
            next_ms = next_tick_ms(asked.cron, asked.zone, time.time_ns() // 1_000_000)
        except ValueError as error:
            raise Problem("invalid_cron", sentence(str(error))) from None
        result = await self._queue.change(
            PutSchedule(topic, name, asked.cron, asked.zone, message, next_ms), repeat_of(call, content),
            OPERATION_TIMEOUT_S, grows=True,
        )  # fmt: skip
        assert isinstance(result, results.ScheduleCreated | results.ScheduleChanged)
        location = (b"location", f"/v1/topics/{topic}/schedules/{name}".encode())
        status = 201 if isinstance(result, results.ScheduleCreated) else 200
        found = _schedule(name, asked.cron, asked.zone, next_ms, message)
        return Answer(status, _encode(found), (JSON, location))

    async def look(self, call: Call) -> Answer:
        """GET /v1/topics/{topic}/schedules/{schedule}."""
        topic, name = topic_of(call), part_of(call)
        for each in await self._of(call, topic):
            if each.name == name:
                return Answer(200, _encode(_known(each)), (JSON, NO_STORE))
        raise Problem("schedule_not_found", f"The topic {topic} has no schedule {name}.")

    async def page(self, call: Call) -> Answer:
        """GET /v1/topics/{topic}/schedules."""
        items = [_known(each) for each in await self._of(call, topic_of(call))]
        return Answer(200, _encode(schemas.Schedules(items=items)), (JSON, NO_STORE))

    async def delete(self, call: Call) -> Answer:
        """DELETE /v1/topics/{topic}/schedules/{schedule}."""
        command = DeleteSchedule(topic_of(call), part_of(call))
        Query(call)
        await self._queue.change(command, repeat_of(call), OPERATION_TIMEOUT_S)
        return Answer(204, headers=())

    async def _of(self, call: Call, topic: str) -> list[ScheduleInfo]:
        await freshen(self._node, Query(call, "consistency"))
        found = self._node.machine.schedules(topic)
        if not found and self._node.machine.topic(topic) is None:
            raise no_topic(topic)
        return found

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        return [self._put(), self._look(), self._delete(), self._list()]

    def _put(self) -> Operation:
        location = {"Location": header("The schedule's path")}
        return Operation(
            method="PUT", path=f"{_PATH}/{{schedule}}", name="put_schedule", tag="schedules",
            summary="Create or replace a schedule",
            description=(
                "Its message is published once for every tick of the cron expression, with the header `rmq-tick` that "
                "names the tick. Five fields: minute, hour, day of month, month, day of week."
            ),
            handler=self.put, parameters=(TOPIC, _NAME, KEY),
            body=body(
                ref(schemas.NewSchedule),
                {
                    "Every five minutes": {"cron": "*/5 * * * *", "zone": "UTC", "message": {"body": "look around"}},
                    "On working days at 8": {
                        "cron": "0 8 * * MON-FRI", "zone": "Europe/Berlin",
                        "message": {"body": {"task": "report"}, "headers": {"kind": "report"}},
                    },
                },
            ),
            answers={
                200: answer("It is now as sent", ref(schemas.Schedule), {"Replaced": _EXAMPLE}, location),
                201: answer("It is new", ref(schemas.Schedule), {"Created": _EXAMPLE}, location),
            },
            errors=(
                *_NAMES, "invalid_header", *BODY, "topic_not_found", "too_many", "invalid_cron", "invalid_message",
                "key_reused", *WRITES, "disk_full",
            ),
        )  # fmt: skip

    def _look(self) -> Operation:
        return Operation(
            method="GET", path=f"{_PATH}/{{schedule}}", name="get_schedule", tag="schedules",
            summary="Look at a schedule", description="What it publishes, and when next.",
            handler=self.look, parameters=(TOPIC, _NAME, CONSISTENCY),
            answers={200: answer("The schedule", ref(schemas.Schedule), {"A schedule": _EXAMPLE})},
            errors=(*_NAMES, "topic_not_found", "schedule_not_found", *REPLICATED),
        )  # fmt: skip

    def _delete(self) -> Operation:
        return Operation(
            method="DELETE", path=f"{_PATH}/{{schedule}}", name="delete_schedule", tag="schedules",
            summary="Delete a schedule", description="What it has published stays.",
            handler=self.delete, parameters=(TOPIC, _NAME, KEY), answers={204: {"description": "It is gone"}},
            errors=(*_NAMES, "invalid_header", "topic_not_found", "schedule_not_found", "key_reused", *WRITES),
        )  # fmt: skip

    def _list(self) -> Operation:
        page = {"items": [_EXAMPLE], "next_cursor": None}
        return Operation(
            method="GET", path=_PATH, name="list_schedules", tag="schedules", summary="List schedules",
            description="All of a topic, by name.", handler=self.page, parameters=(TOPIC, CONSISTENCY),
            answers={200: answer("All of them", ref(schemas.Schedules), {"One": page})},
            errors=("invalid_topic", "invalid_parameter", "topic_not_found", *REPLICATED),
        )  # fmt: skip


_NAMES = ("invalid_topic", "invalid_name", "invalid_parameter")
_NAME = parameter("schedule", "path", "The schedule's name", common.NAME_SCHEMA, "look-around")
_EXAMPLE: Json = {
    "name": "look-around", "cron": "*/5 * * * *", "zone": "UTC", "next_at": "2026-01-31T12:05:00.000Z",
    "message": {"body": "look around"},
}  # fmt: skip


def _known(info: ScheduleInfo) -> schemas.Schedule:
    return _schedule(info.name, info.cron, info.zone, info.next_ms, info.message)


def _schedule(name: str, cron: str, zone: str, next_ms: int, message: NewMessage) -> schemas.Schedule:
    next_at = timestamp(next_ms)
    return schemas.Schedule(name=name, cron=cron, zone=zone, next_at=next_at, message=sent_message(message))
