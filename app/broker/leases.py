"""Leases: what was handed out and is not done, each Receive's messages in one row.

A token names one delivery of one message: subscription, lease, lane, sequence, and the number of the delivery. It is
good until its lease ends, by an ack, by a nack, or in time, and for an ack until the message is handed out again: then
it has another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from app.broker import messages
from app.broker.handed import Item, Lease
from app.broker.rows import LANE, LEASE, SEQUENCE, Row
from app.broker.state import State, Subscription, Topic

_TOKEN = re.compile(r"[0-9a-f]{1,15}(?:-[0-9a-f]{1,15}){4}", re.ASCII)


class Token(msgspec.Struct, frozen=True, gc=False):
    """What a token says."""

    subscription: int
    lease: int
    lane: int
    sequence: int
    deliveries: int


def items_of(row: Row) -> list[Item]:
    """The messages in a lease."""
    return _decode(row[3])


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Item]).decode
_decode_packed = msgspec.msgpack.Decoder(tuple[tuple[int, int, int, bytes], int]).decode


def parse(text: str) -> Token | None:
    """What the token says; None when it is none."""
    if not _TOKEN.fullmatch(text):
        return None
    subscription, lease, lane, sequence, deliveries = text.split("-")
    return Token(int(subscription, 16), int(lease, 16), int(lane, 16), int(sequence, 16), int(deliveries, 16))


def grant(
    state: State, subscription: Subscription, handed: Sequence[tuple[Row, int]], size_bytes: int, due_ms: int
) -> Lease:
    """Lease these messages until `due_ms`; each with the number of its delivery. `size_bytes`: of all together. The
    caller puts its row into the tables."""
    id = state.numbers.next_lease_id
    state.numbers.next_lease_id += 1
    items = [Item(row[LANE], row[SEQUENCE], deliveries, due_ms) for row, deliveries in handed]
    row = (id, subscription.id, due_ms, _encode(items))
    state.expect(due_ms)
    subscription.leased += len(items)
    lease = Lease(row, items, {(row[LANE], row[SEQUENCE]): row for row, _ in handed})
    state.handed.remember(lease, size_bytes)
    return lease


def tokens_of(lease: Lease) -> list[str]:
    """A token for each of its messages."""
    head = f"{lease.row[1]:x}-{lease.row[0]:x}-"
    return [f"{head}{item.lane:x}-{item.sequence:x}-{item.deliveries:x}" for item in lease.items]


def packed(lease: Lease, size_bytes: int) -> bytes:
    """The lease as it was granted, and the size of its messages."""
    return _encode((lease.row, size_bytes))


def unpacked(data: bytes) -> tuple[Lease, int]:
    """The inverse of `packed`."""
    row, size_bytes = _decode_packed(data)
    return _read(row), size_bytes


def find(state: State, id: int, subscription: Subscription) -> Lease | None:
    """The lease with this id, if it is one of that subscription."""
    lease = state.handed.find(id)
    if lease is None:
        found = LEASE.select(state, "WHERE id = ?", (id,))
        if not found:
            return None
        lease = _read(found[0])
    return lease if lease.row[1] == subscription.id else None


def messages_in(state: State, topic: Topic, lease: Lease, items: Sequence[Item]) -> list[Row]:
    """The messages that these items of the lease are."""
    places = [(item.lane, item.sequence) for item in items]
    return [lease.messages[place] for place in places] if lease.messages else messages.at_all(state, topic, places)


def first_due(state: State) -> Lease | None:
    """The lease of which something is to end first."""
    found = LEASE.select(state, "WHERE due_ms <= ? ORDER BY due_ms, id LIMIT 1", (state.numbers.time_ms,))
    return None if not found else state.handed.find(found[0][0]) or _read(found[0])


def _read(row: Row) -> Lease:
    return Lease(row, items_of(row), {})


def end(state: State, topic: Topic, ended: Sequence[Lease]) -> None:
    """Of these leases nothing is left."""
    LEASE.delete(state, topic, *[lease.row for lease in ended])
    for lease in ended:
        state.handed.forget(lease.row[0])


def keep(state: State, topic: Topic, lease: Lease, items: Sequence[Item]) -> None:
    """Of the lease these are left."""
    if not items:
        end(state, topic, [lease])
        return
    due_ms = min(item.due_ms for item in items)
    row = (*lease.row[:2], due_ms, _encode(items))
    LEASE.update(state, topic, lease.row, row)
    state.handed.changed(row, items)
    state.expect(due_ms)
