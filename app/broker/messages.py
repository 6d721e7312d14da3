"""What was published: rows of `message`, some of them in packs; how they come, how they are read, how they go.

A message waits in a lane: that of its priority, that of its group, or `LATER` until its time has come. A subscription
that is done with a message says so here; who is the last one takes the row away. Who needs a message: each
subscription whose `start` is not behind it, unless its bit in `shared` is set. With a single subscription there is no
such row, and the message goes at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.broker import groups, packs, shared
from app.broker.commands import NewMessage
from app.broker.results import DeadLetter
from app.broker.rows import ATTRIBUTES, BODY, DUE_MS, LANE, MESSAGE, NEVER, SEQUENCE, Row
from app.broker.state import LANES, State, Subscription, Topic

LATER = -1
"""The lane of messages whose time has not come."""


class Attributes(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a message carries beside its body; most carry nothing, and their column is NULL. `expires_ms`: kept here as
    well, while `due_ms` says when it arrives. `origin`: of a dead letter."""

    binary: bool = False
    headers: dict[str, str] | None = None
    group: str | None = None
    priority: int = 0
    expires_ms: int | None = None
    origin: DeadLetter | None = None


PLAIN = Attributes()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Attributes).decode


def attributes_of(row: Row) -> Attributes:
    """What the message carries."""
    return PLAIN if row[ATTRIBUTES] is None else _decode(row[ATTRIBUTES])


def size_bytes(row: Row) -> int:
    """What it counts towards a topic's limit: its body, and what else it carries."""
    return len(row[BODY]) + (0 if row[ATTRIBUTES] is None else len(row[ATTRIBUTES]))


def size_of(body: bytes, carried: Attributes) -> int:
    """The same of a message that has no row yet."""
    return len(body) + (0 if carried == PLAIN else len(_encode(carried)))


def is_over(state: State, row: Row) -> bool:
    """Whether its time to live is over."""
    expires_ms = attributes_of(row).expires_ms
    return expires_ms is not None and expires_ms <= state.numbers.time_ms


# -- coming -------------------------------------------------------------------------------------------------


def attributes_for(state: State, topic: Topic, message: NewMessage) -> Attributes:
    """What a message that is published now will carry."""
    ttl_ms = topic.settings.ttl_ms if message.ttl_ms is None else message.ttl_ms
    expires_ms = None if ttl_ms is None else state.numbers.time_ms + ttl_ms
    return Attributes(message.binary, message.headers, message.group, message.priority, expires_ms)


def delay_of(topic: Topic, message: NewMessage) -> int:
    """For how long it waits before it arrives, in ms."""
    return topic.settings.delay_ms if message.delay_ms is None else message.delay_ms


def compose(
    state: State, topic: Topic, id: int, sequence: int, body: bytes, carried: Attributes, delay_ms: int = 0
) -> Row:
    """The row of a message that comes now, under this sequence. A message with a group arrives after all others of
    groups, so that none overtakes another."""
    now_ms = state.numbers.time_ms
    arrives_ms = now_ms + delay_ms
    is_later = arrives_ms > now_ms
    if carried.group is not None:
        if topic.groups_later:
            is_later, arrives_ms = True, max(arrives_ms, topic.group_due_ms)
        topic.groups_later += is_later
        topic.group_due_ms = arrives_ms
    attributes = None if carried == PLAIN else _encode(carried)
    if is_later:
        return (id, topic.store, LATER, sequence, now_ms, arrives_ms, attributes, body)
    lane = _lane(state, topic, carried)
    return (id, topic.store, lane, sequence, now_ms, carried.expires_ms, attributes, body)


def add(
    state: State, topic: Topic, rows: Sequence[Row], coming: packs.Coming, only: Subscription | None = None
) -> None:
    """New messages, in the order of their sequences, for all subscriptions, or for one alone. All is done but that
    their rows are `coming`."""
    coming.add(topic, rows)
    later = sum(row[LANE] == LATER for row in rows)
    getting = topic.subscriptions if only is None else [only]
    _count(topic, getting, len(rows), sum(map(size_bytes, rows)))
    for subscription in getting:
        subscription.delayed += later
    for row in rows:
        if row[DUE_MS] is not None:
            state.expect(row[DUE_MS])
        if len(getting) < len(topic.subscriptions):
            others = shared.needed_by(topic, row[SEQUENCE]) & ~(1 << getting[0].slot)
            shared.note(state, topic, row[SEQUENCE], others)
        if row[LANE] >= LANES:
            for subscription in getting:
                groups.arrive(state, topic, subscription, row[LANE], row[SEQUENCE])
    if later < len(rows):
        state.woken[topic.name] = None


def add_bodies(
    state: State, topic: Topic, id: int, sequence: int, bodies: Sequence[bytes], coming: packs.Coming
) -> None:
    """The same of messages that carry nothing and arrive at once, from this id and sequence on."""
    coming.add_bodies(topic, id, sequence, state.numbers.time_ms, bodies)
    _count(topic, topic.subscriptions, len(bodies), sum(map(len, bodies)))
    state.woken[topic.name] = None


def _count(topic: Topic, getting: Sequence[Subscription], count: int, size_bytes: int) -> None:
    topic.messages += count
    topic.size_bytes += size_bytes
    for subscription in getting:
        subscription.backlog += count


def arrive(state: State, topic: Topic, row: Row) -> Row:
    """The time of a message in `LATER` has come: it takes its place. -> its row now."""
    carried = attributes_of(row)
    lane = _lane(state, topic, carried)
    moved = (*row[:LANE], lane, *row[SEQUENCE:DUE_MS], carried.expires_ms, *row[ATTRIBUTES:])
    MESSAGE.update(state, topic, row, moved)
    topic.groups_later -= carried.group is not None
    if carried.expires_ms is not None:
        state.expect(carried.expires_ms)
    state.woken[topic.name] = None
    return moved


def _lane(state: State, topic: Topic, carried: Attributes) -> int:
    if carried.group is not None:
        return groups.enter(state, topic, carried.group)
    return carried.priority if topic.settings.priorities else 0


# -- reading ------------------------------------------------------------------------------------------------


def at(state: State, topic: Topic, lane: int, sequence: int) -> Row | None:
    """The message with this sequence in that lane."""
    found = MESSAGE.select(state, "WHERE store = ? AND lane = ? AND sequence = ?", (topic.store, lane, sequence))
    if found:
        return found[0]
    span = packs.span_of(state, topic, sequence) if topic.packs and lane == packs.PLAIN_LANE else None
    return None if span is None else packs.rows_at(state, span)[sequence - span.first]


def at_all(state: State, topic: Topic, places: Sequence[tuple[int, int]]) -> list[Row]:
    """The messages at these (lane, sequence), which are all there, in this order."""
    by_lane: dict[int, list[int]] = {}
    for lane, sequence in places:
        by_lane.setdefault(lane, []).append(sequence)
    found: dict[tuple[int, int], Row] = {}
    for lane, sequences in by_lane.items():
        tail = "WHERE store = ? AND lane = ? AND sequence IN (SELECT value FROM json_each(?))"
        for row in MESSAGE.select(state, tail, (topic.store, lane, f"[{','.join(map(str, sequences))}]")):
            found[lane, row[SEQUENCE]] = row
    if len(found) < len(places):
        missing = [sequence for lane, sequence in places if (lane, sequence) not in found]
        found.update(((packs.PLAIN_LANE, sequence), row) for sequence, row in packs.find(state, topic, missing).items())
    return [found[place] for place in places]


def undone_at(state: State, topic: Topic, subscription: Subscription, lane: int, sequence: int) -> Row | None:
    """The message there, if the subscription is not done with it."""
    row = at(state, topic, lane, sequence)
    return None if row is None or shared.is_done(state, topic, subscription, sequence) else row


def waiting(state: State, topic: Topic, lane: int, cursor: int, limit: int, room_bytes: int) -> list[Row]:
    """Up to `limit` messages of a lane from the cursor on; the first in any case, the others while there is room. What
    lies in packs is small, and is not measured."""
    rows: list[Row] = []
    is_packed = bool(topic.packs) and lane == packs.PLAIN_LANE
    while True:
        found = packs.from_on(state, topic, cursor, 1) if is_packed else []
        until = found[0].first if found else NEVER
        if cursor < until:
            tail = "WHERE store = ? AND lane = ? AND sequence >= ? AND sequence < ? ORDER BY sequence LIMIT ?"
            for row in MESSAGE.each(state, tail, (topic.store, lane, cursor, until, limit - len(rows))):
                room_bytes -= size_bytes(row)
                if rows and room_bytes < 0:
                    return rows
                rows.append(row)
        if not found or len(rows) == limit:
            return rows
        start = max(0, cursor - until)
        rows += packs.rows_at(state, found[0])[start : start + limit - len(rows)]
        if len(rows) == limit:
            return rows
        cursor = found[0].end


def in_order(state: State, topic: Topic, start: int, limit: int) -> list[tuple[int, int]]:
    """(sequence, lane) of up to `limit` messages of all lanes, from the sequence `start` on."""
    plain = state.sql.execute(
        "SELECT sequence, lane FROM message WHERE store = ? AND lane = 0 AND sequence >= ? ORDER BY sequence LIMIT ?",
        (topic.store, start, limit),
    ).fetchall()
    if topic.packs:
        for span in packs.from_on(state, topic, start, limit // packs.LEAST + 2):
            plain += [(sequence, packs.PLAIN_LANE) for sequence in range(max(start, span.first), span.end)]
    other = state.sql.execute(
        "SELECT sequence, lane FROM message WHERE store = ? AND lane <> 0 AND sequence >= ? ORDER BY sequence LIMIT ?",
        (topic.store, start, limit),
    ).fetchall()
    return sorted([*plain, *other])[:limit]


def published_ms(state: State, topic: Topic, lane: int, sequence: int) -> int:
    """When a message that is stored was published. Reads no body."""
    found = state.sql.execute(
        "SELECT published_ms FROM message WHERE store = ? AND lane = ? AND sequence = ?", (topic.store, lane, sequence)
    ).fetchall()
    return int(found[0][0]) if found else packs.published_ms(state, topic, sequence)


def last_in_lane(state: State, topic: Topic, lane: int) -> int:
    """The largest sequence in a lane; 0 where there is none."""
    found = state.sql.execute(
        "SELECT max(sequence) FROM message WHERE store = ? AND lane = ?", (topic.store, lane)
    ).fetchall()
    return int(found[0][0] or 0)


# -- going --------------------------------------------------------------------------------------------------


def finish(state: State, topic: Topic, subscription: Subscription, rows: Sequence[Row]) -> None:
    """The subscription is done with these; who waited for nobody else is deleted."""
    subscription.backlog -= len(rows)
    state.touch(topic)
    if len(topic.subscriptions) > 1 or topic.shares:
        last = shared.finish(state, topic, subscription, [row[SEQUENCE] for row in rows])
        rows = [row for row in rows if row[SEQUENCE] in last]
    _delete(state, topic, rows)


def delete(state: State, topic: Topic, row: Row) -> None:
    """Take a message away that nobody needs, whoever was done with it."""
    shared.forget(state, topic, row[SEQUENCE])
    _delete(state, topic, [row])


def _delete(state: State, topic: Topic, rows: Sequence[Row]) -> None:
    if not rows:
        return
    loose = packs.take(state, topic, rows) if topic.packs else rows
    if loose:
        MESSAGE.delete(state, topic, *loose)
    topic.messages -= len(rows)
    topic.size_bytes -= sum(map(size_bytes, rows))
    for row in rows:
        if row[LANE] == LATER:
            topic.groups_later -= attributes_of(row).group is not None
    for lane in {row[LANE]: None for row in rows if row[LANE] >= LANES}:
        groups.leave(state, topic, lane)
