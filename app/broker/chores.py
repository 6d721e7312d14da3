"""Work too long for one command, done a little with each: the same rows with the same command on every replica.

    REAP   rows of a store or a subscription that is gone: waste, which nobody can see any more
    SWEEP  messages that a deleted subscription may have been the last to need: looked through in order

While nothing else comes, the leader's Ticks go on with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.broker import messages, shared
from app.broker.digest import row_digest
from app.broker.rows import Row
from app.broker.state import State, Topic

REAP, SWEEP = 1, 2
REAP_BYTES = 1 << 20
"""A body larger than a page is a chain of pages, each to be visited: rows alone do not bound the work."""

_COLUMNS = "id, kind, target, position, until, slot"
_WASTE = (
    ("message_group", "store, lane", "store"), ("shared", "store, sequence", "store"),
    ("aside", "subscription, state, lane, sequence", "subscription"), ("turn", "subscription, lane", "subscription"),
)  # fmt: skip

_BODIES = (("message", "body", "lane, sequence"), ("pack", "contents", "first"))


def reap(state: State, topic: Topic, ids: Sequence[int]) -> None:
    """Nobody can see the rows of these stores and subscriptions of the topic any more: they are to go."""
    state.disown(topic, ids)
    for id in ids:
        _add(state, (state.new_id(), REAP, id, 0, 0, 0))


def sweep(state: State, topic: Topic, slot: int) -> None:
    """The subscription of this slot is gone: so are messages that nobody else needs."""
    _add(state, (state.new_id(), SWEEP, topic.id, 0, topic.next_sequence, slot))


def run(state: State, budget: int) -> None:
    """Go on with what was begun first, for up to `budget` rows."""
    while budget > 0 and state.has_chores:
        found = state.sql.execute(f"SELECT {_COLUMNS} FROM chore ORDER BY id LIMIT 1").fetchall()
        if not found:
            state.has_chores = False
            return
        chore = found[0]
        budget -= _reap(state, chore, budget) if chore[1] == REAP else _sweep(state, chore, budget)


def _add(state: State, chore: Row) -> None:
    state.sql.execute(f"INSERT INTO chore ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", chore)
    state.rows_digest += row_digest(("chore", *chore))
    state.has_chores = True


def _end(state: State, chore: Row) -> None:
    state.sql.execute("DELETE FROM chore WHERE id = ?", chore[:1])
    state.rows_digest -= row_digest(("chore", *chore))


def _reap(state: State, chore: Row, budget: int) -> int:
    """-> how many rows it was; at least 1."""
    gone = chore[2]
    for table, key, column in _WASTE:
        some = f"SELECT {key} FROM {table} WHERE {column} = ? LIMIT ?"
        state.sql.execute(f"DELETE FROM {table} WHERE ({key}) IN ({some})", (gone, budget))
        if rows := state.sql.rowcount:
            state.changed(0, rows)
            return rows
    for table, column, order in _BODIES:
        # length() of a trailing blob is read from the row's header: the body is not loaded.
        found = state.sql.execute(
            f"SELECT id, length({column}) FROM {table} WHERE store = ? ORDER BY {order} LIMIT ?", (gone, budget)
        ).fetchall()
        if not found:
            continue
        ids: list[tuple[int]] = []
        size_bytes = 0
        for id, body_bytes in found:
            size_bytes += body_bytes
            if ids and size_bytes > REAP_BYTES:
                break
            ids.append((id,))
        state.sql.executemany(f"DELETE FROM {table} WHERE id = ?", ids)
        state.changed(size_bytes, len(ids))
        return len(found) if len(ids) == len(found) else budget
    _end(state, chore)
    return 1


def _sweep(state: State, chore: Row, budget: int) -> int:
    """-> how many messages it looked at; at least 1."""
    topic = state.topic_by_id(chore[2])
    if topic is None:
        _end(state, chore)
        return 1
    _, _, _, position, until, slot = chore
    found = [place for place in messages.in_order(state, topic, position, budget) if place[0] < until]
    for sequence, lane in found:
        _look_at(state, topic, lane, sequence, slot)
        position = sequence + 1
    _end(state, chore)
    if len(found) < budget:
        topic.slots &= ~(1 << slot)
        state.touch(topic)
    else:
        _add(state, (*chore[:3], position, until, slot))
    return max(1, len(found))


def _look_at(state: State, topic: Topic, lane: int, sequence: int, slot: int) -> None:
    """Delete the message if nobody needs it; else forget who else was done with it."""
    before = shared.done(state, topic, [sequence]).get(sequence, 0)
    done = before & ~(1 << slot)
    if not shared.needed_by(topic, sequence) & ~done:
        row = messages.at(state, topic, lane, sequence)
        assert row is not None
        messages.delete(state, topic, row)
    elif done != before:
        shared.note(state, topic, sequence, done)
