"""Schedules: messages that are published at the ticks of a cron expression, once for each tick whatever fails.

When the ticks are is worked out by whoever leads, and stands in the log: no replica reads a calendar. A schedule knows
its next tick; a Fire for any other does nothing, so that two leaders cannot fire one twice. A tick whose message finds
no place stays the next one, and is tried again.
"""

from __future__ import annotations

import msgspec

from app.broker import topics
from app.broker.append import Refusal, append, check
from app.broker.commands import DeleteSchedule, Fire, NewMessage, PutSchedule
from app.broker.results import (
    BAD_COMMAND,
    SCHEDULE_NOT_FOUND,
    TOO_MANY,
    Fired,
    ScheduleChanged,
    ScheduleCreated,
    ScheduleDeleted,
    encode,
    no_such_topic,
    refuse,
)
from app.broker.rows import SCHEDULE, Row
from app.broker.state import State, Topic

SCHEDULES_MAX = 100
"""Of one topic."""


class Plan(msgspec.Struct, array_like=True, frozen=True):
    """What a schedule publishes, and when, in words."""

    cron: str
    zone: str
    message: NewMessage


_encode = msgspec.msgpack.Encoder().encode
decode_plan = msgspec.msgpack.Decoder(Plan).decode


def put_schedule(state: State, command: PutSchedule) -> bytes:
    """ScheduleCreated or ScheduleChanged; refused for an unknown topic, one too many, or a message that cannot be."""
    topic = state.topic(command.topic)
    if topic is None:
        return no_such_topic(command.topic)
    if not topics.is_name(command.name):
        return refuse(BAD_COMMAND, "a schedule's name has 1 to 512 characters, none of them NUL")
    try:
        check(state, topic, command.message)
    except Refusal as refusal:
        return refuse(refusal.code, refusal.detail)
    plan = _encode(Plan(command.cron, command.zone, command.message))
    found = _find(state, topic, command.name)
    if found is not None:
        SCHEDULE.update(state, topic, found, (*found[:3], plan, command.next_ms))
        return encode(ScheduleChanged())
    if len(SCHEDULE.select(state, "WHERE topic = ?", (topic.id,))) >= SCHEDULES_MAX:
        return refuse(TOO_MANY, f"the topic {command.topic!r} has {SCHEDULES_MAX} schedules already")
    SCHEDULE.insert(state, topic, (state.new_id(), topic.id, command.name, plan, command.next_ms))
    return encode(ScheduleCreated())


def delete_schedule(state: State, command: DeleteSchedule) -> bytes:
    """ScheduleDeleted; refused where there is none."""
    topic = state.topic(command.topic)
    if topic is None:
        return no_such_topic(command.topic)
    found = _find(state, topic, command.name)
    if found is None:
        return refuse(SCHEDULE_NOT_FOUND, f"the topic {command.topic!r} has no schedule {command.name!r}")
    SCHEDULE.delete(state, topic, found)
    return encode(ScheduleDeleted())


def fire(state: State, command: Fire) -> bytes:
    """Fired."""
    found = SCHEDULE.select(state, "WHERE id = ?", (command.schedule,))
    if not found or found[0][4] != command.tick_ms:
        return encode(Fired(False))
    row = found[0]
    topic = state.topic_by_id(row[1])
    assert topic is not None, "a schedule of a topic that is gone"
    message = decode_plan(row[3]).message
    headers = {**(message.headers or {}), "rmq-tick": command.tick}
    try:
        append(state, topic, [msgspec.structs.replace(message, headers=headers)])
    except Refusal:
        return encode(Fired(False))
    SCHEDULE.update(state, topic, row, (*row[:4], command.next_ms))
    return encode(Fired(True))


def _find(state: State, topic: Topic, name: str) -> Row | None:
    found = SCHEDULE.select(state, "WHERE topic = ? AND name = ?", (topic.id, name))
    return found[0] if found else None
