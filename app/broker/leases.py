"""Leases: what was handed out and is not done, each Receive's messages in one row.

A token names one delivery of one message: subscription, lease, lane, sequence, and the number of the delivery. It is
good until its lease ends, by an ack, by a nack, or in time, and for an ack until the message is handed out again: then
it has another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from app.broker.rows import LEASE, Row
from app.broker.state import State, Subscription, Topic

_TOKEN = re.compile(r"[0-9a-f]{1,15}(?:-[0-9a-f]{1,15}){4}", re.ASCII)

Handed = tuple[int, int, int]
"""lane, sequence, deliveries"""


class Item(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A message in a lease."""

    lane: int
    sequence: int
    deliveries: int
    due_ms: int


class Token(msgspec.Struct, frozen=True, gc=False):
    """What a token says."""

    subscription: int
    lease: int
    lane: int
    sequence: int
    deliveries: int


class Lease(NamedTuple):
    """A row of `lease`, decoded."""

    row: Row
    items: list[Item]


def items_of(row: Row) -> list[Item]:
    """The messages in a lease."""
    return _decode(row[3])


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Item]).decode


def parse(text: str) -> Token | None:
    """What the token says; None when it is none."""
    if not _TOKEN.fullmatch(text):
        return None
    subscription, lease, lane, sequence, deliveries = text.split("-")
    return Token(int(subscription, 16), int(lease, 16), int(lane, 16), int(sequence, 16), int(deliveries, 16))


def grant(
    state: State, topic: Topic, subscription: Subscription, handed: Sequence[Handed], due_ms: int
) -> list[str]:
    """Lease these until `due_ms`. -> their tokens."""
    id = state.numbers.next_lease_id
    state.numbers.next_lease_id += 1
    items = [Item(*each, due_ms) for each in handed]
    LEASE.insert(state, topic, (id, subscription.id, due_ms, _encode(items)))
    state.expect(due_ms)
    subscription.leased += len(items)
    head = f"{subscription.id:x}-{id:x}-"
    return [f"{head}{lane:x}-{sequence:x}-{deliveries:x}" for lane, sequence, deliveries in handed]


def find(state: State, id: int, subscription: Subscription) -> Lease | None:
    """The lease with this id, if it is one of that subscription."""
    found = LEASE.select(state, "WHERE id = ?", (id,))
    return Lease(found[0], items_of(found[0])) if found and found[0][1] == subscription.id else None


def first_due(state: State) -> Lease | None:
    """The lease of which something is to end first."""
    found = LEASE.select(state, "WHERE due_ms <= ? ORDER BY due_ms, id LIMIT 1", (state.numbers.time_ms,))
    return Lease(found[0], items_of(found[0])) if found else None


def keep(state: State, topic: Topic, lease: Lease, items: Sequence[Item]) -> None:
    """Of the lease these are left."""
    if not items:
        LEASE.delete(state, topic, lease.row)
        return
    due_ms = min(item.due_ms for item in items)
    LEASE.update(state, topic, lease.row, (*lease.row[:2], due_ms, _encode(items)))
    state.expect(due_ms)
