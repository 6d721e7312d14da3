"""What each kind of command does, and one entry applied: first what is due by its stamp, then what it says.

A handler answers with an encoded result, and has checked all before it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.broker import chores, due
from app.broker import commands as kinds
from app.broker.commands import BadCommand, Command, Tick, decode
from app.broker.dead_letters import redrive
from app.broker.item import Item
from app.broker.once import once
from app.broker.publish import publish, publish_each
from app.broker.receive import receive, receive_each
from app.broker.results import BAD_COMMAND, Ticked, encode, refuse
from app.broker.schedules import delete_schedule, fire, put_schedule
from app.broker.settle import ack, ack_each, extend, nack
from app.broker.state import State
from app.broker.subscriptions import create_subscription, delete_subscription
from app.broker.topics import change_topic, create_topic, delete_topic, purge

ROWS_BESIDE, ROWS_IN_A_TICK = 32, 250
"""Rows of what is due, and of chores, that go with any entry, and with a Tick."""

_TICKED = encode(Ticked())

HANDLERS: dict[type, Callable[[State, Any], bytes]] = {
    kinds.CreateTopic: create_topic,
    kinds.ChangeTopic: change_topic,
    kinds.DeleteTopic: delete_topic,
    kinds.Publish: publish,
    kinds.PublishKeyed: publish,
    kinds.Publishes: publish_each,
    kinds.Receive: receive,
    kinds.Receives: receive_each,
    kinds.Ack: ack,
    kinds.Acks: ack_each,
    kinds.Nack: nack,
    kinds.Extend: extend,
    kinds.Purge: purge,
    kinds.Redrive: redrive,
    kinds.CreateSubscription: create_subscription,
    kinds.DeleteSubscription: delete_subscription,
    kinds.PutSchedule: put_schedule,
    kinds.DeleteSchedule: delete_schedule,
    kinds.Fire: fire,
    kinds.Tick: lambda state, command: _TICKED,
    kinds.Once: lambda state, command: once(state, command, HANDLERS),
}


def apply_one(state: State, item: Item) -> bytes | None:
    """-> the entry's encoded result, or UNSAID; None for one that carries no command. The entry follows the last one
    applied."""
    numbers = state.numbers
    assert item.index == numbers.applied_index + 1, (item.index, numbers.applied_index)
    assert item.term >= numbers.applied_term, (item.term, numbers.applied_term)
    numbers.applied_index = item.index
    numbers.applied_term = item.term
    if item.time_ms > numbers.time_ms:
        numbers.time_ms = item.time_ms
    if item.configuration is not None:
        state.configure(item.configuration)
    state.may_drop_more = True
    state.is_asked = item.is_asked
    command, refusal = _decoded(item)
    # First what is due: a message whose lease has ended by now can be handed out now.
    budget = ROWS_IN_A_TICK if type(command) is Tick else ROWS_BESIDE
    if state.next_due_ms <= numbers.time_ms:
        budget = due.run(state, budget)
    if state.has_chores:
        chores.run(state, budget)
    return refusal if command is None else HANDLERS[type(command)](state, command)


def _decoded(item: Item) -> tuple[Command | None, bytes | None]:
    """The item's command, or the refusal of bytes that are none; neither for an item without."""
    if item.command is None:
        return None, None
    try:
        return decode(item.command), None
    except BadCommand as error:
        return None, refuse(BAD_COMMAND, str(error))
