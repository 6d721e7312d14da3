"""Groups: the messages of one are handed out strictly in order, and groups take turns.

A subscription has a row of `turn` for each group in which it has something to do. While one of a group's messages is
leased, or was given back with a delay, the group waits: its `turn` is NULL. Else it stands in line; who was served
goes to the line's end.
"""

from __future__ import annotations

from app.broker import aside
from app.broker.rows import GROUP, TURN, Row
from app.broker.state import State, Subscription, Topic

CURSOR, PLACE = 2, 3
"""Columns of `turn`."""


def enter(state: State, topic: Topic, name: str) -> int:
    """A message of the group comes. -> its lane."""
    found = GROUP.select(state, "WHERE store = ? AND name = ?", (topic.store, name))
    if found:
        return int(found[0][1])
    row = (topic.store, state.new_id(), name)
    GROUP.insert(state, topic, row)
    return row[1]


def leave(state: State, topic: Topic, lane: int) -> None:
    """Messages of the group have gone; with the last one the group goes. What is only `packs.Coming` is not seen here,
    so it must be in the tables before."""
    is_left = state.sql.execute("SELECT 1 FROM message WHERE store = ? AND lane = ? LIMIT 1", (topic.store, lane))
    if not is_left.fetchall():
        GROUP.delete(state, topic, GROUP.select(state, "WHERE store = ? AND lane = ?", (topic.store, lane))[0])


def arrive(state: State, topic: Topic, subscription: Subscription, lane: int, sequence: int) -> None:
    """A message came; a group that had none stands in line from now on."""
    if turn_of(state, subscription, lane) is None:
        TURN.insert(state, topic, (subscription.id, lane, sequence, end_of_line(subscription)))
        subscription.turns += 1


def next_in_line(state: State, subscription: Subscription) -> Row | None:
    """The row of `turn` that is to be served next."""
    if not subscription.turns:
        return None
    found = TURN.select(state, "WHERE subscription = ? AND turn IS NOT NULL ORDER BY turn LIMIT 1", (subscription.id,))
    return found[0] if found else None


def turn_of(state: State, subscription: Subscription, lane: int) -> Row | None:
    """The group's row of `turn`."""
    found = TURN.select(state, "WHERE subscription = ? AND lane = ?", (subscription.id, lane))
    return found[0] if found else None


def move(state: State, topic: Topic, row: Row, cursor: int, place: int | None) -> None:
    """The messages before `cursor` were handed out or are done. `place`: in line; None: one of them is on its way, and
    the group waits."""
    moved = (*row[:CURSOR], cursor, place)
    if moved != row:
        TURN.update(state, topic, row, moved)


def release(state: State, topic: Topic, subscription: Subscription, lane: int) -> None:
    """Nothing of the group is on its way any more: it goes to the end of the line, or away if it has no message."""
    row = turn_of(state, subscription, lane)
    if row is None:
        return
    if _has_more(state, topic, subscription, row):
        TURN.update(state, topic, row, (*row[:PLACE], end_of_line(subscription)))
        state.woken[topic.name] = None
    else:
        TURN.delete(state, topic, row)
        subscription.turns -= 1


def shrink(state: State, topic: Topic, subscription: Subscription, lane: int) -> None:
    """One of the group's messages went before it was handed out: a group that has no other leaves the line."""
    row = turn_of(state, subscription, lane)
    if row is not None and row[PLACE] is not None and not _has_more(state, topic, subscription, row):
        TURN.delete(state, topic, row)
        subscription.turns -= 1


def _has_more(state: State, topic: Topic, subscription: Subscription, row: Row) -> bool:
    lane, cursor = row[1], row[CURSOR]
    if aside.ready(state, subscription, lane, 1):
        return True
    # Of what lies there the subscription may be done with some, that others still need.
    state.sql.execute(
        "SELECT 1 FROM message m WHERE store = ? AND lane = ? AND sequence >= ? AND NOT EXISTS (SELECT 1 FROM shared s"
        " WHERE s.store = m.store AND s.sequence = m.sequence AND s.done >> ? & 1) LIMIT 1",
        (topic.store, lane, cursor, subscription.slot),
    )
    return bool(state.sql.fetchall())


def end_of_line(subscription: Subscription) -> int:
    """A place behind all others."""
    subscription.next_turn += 1
    return subscription.next_turn - 1
