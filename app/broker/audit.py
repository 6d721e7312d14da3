"""The state looked through row by row, for tests: do the numbers that are kept up to date say what the rows say?"""

from __future__ import annotations

import msgspec

from app.broker import leases, messages, packs, shared
from app.broker.digest import bytes_digest, row_digest, to_bytes
from app.broker.messages import LATER
from app.broker.rows import (
    ASIDE,
    DEAD,
    DELAYED,
    GROUP,
    LANE,
    LEASE,
    MESSAGE,
    PACK,
    READY,
    SCHEDULE,
    SEQUENCE,
    SHARED,
    TURN,
    Row,
    Table,
)
from app.broker.state import (
    LANES,
    SCHEDULES,
    TOPIC_ROWS,
    Numbers,
    State,
    Subscription,
    Topic,
    hash_of,
    names_in,
    topic_from_row,
)
from app.broker.withdraw import Standing, standing


def audit(state: State) -> str:
    """The state's hash, recomputed from every row. AssertionError where a number is not what the rows say."""
    rows_digest = claims = claims_bytes = 0
    for row in state.sql.execute(TOPIC_ROWS).fetchall():
        topic = topic_from_row(row)
        _audit_topic(state, topic)
        rows_digest += bytes_digest(topic.identity + topic.tally())
    for row in state.sql.execute("SELECT id, expires_ms, names, contents FROM claim"):
        rows_digest += row_digest(row)
        claims += len(names_in(row[2]))
        claims_bytes += len(row[2]) + len(row[3])
    for row in state.sql.execute("SELECT id, kind, target, position, until, slot FROM chore"):
        rows_digest += row_digest(("chore", *row))
    _audit_handed(state)
    anew = State(state.sql.connection)
    assert state.next_due_ms <= anew.next_due_ms and state.claimed == anew.claimed
    numbers = msgspec.structs.replace(
        state.numbers, rows_digest=to_bytes(rows_digest), claims=claims, claims_bytes=claims_bytes
    )
    assert isinstance(numbers, Numbers)
    return hash_of(numbers, state.configuration)


def _audit_handed(state: State) -> None:
    """What is remembered stands in the tables, unless it was waste already."""
    for lease in state.handed.all():
        topic = state.topic_of(lease.row[1])
        if topic is not None:
            assert LEASE.select(state, "WHERE id = ?", lease.row[:1]) == [lease.row]
            assert leases.items_of(lease.row) == list(lease.items)
            places = [(item.lane, item.sequence) for item in lease.items]
            assert [lease.messages[place] for place in places] == messages.at_all(state, topic, places)


def _audit_topic(state: State, topic: Topic) -> None:
    """Recompute the topic's digests in place, and check its counts."""
    loose = MESSAGE.select(state, "WHERE store = ?", (topic.store,))
    packed = PACK.select(state, "WHERE store = ?", (topic.store,))
    assert topic.packs == len(packed)
    stored = list(loose)
    for pack in packed:
        rows = packs.rows_in(pack)
        assert packs.LEAST <= pack[3] == len(rows) <= packs.MESSAGES
        stored += rows
    grouped = GROUP.select(state, "WHERE store = ?", (topic.store,))
    partly = SHARED.select(state, "WHERE store = ?", (topic.store,))
    assert topic.messages == len(stored)
    assert topic.size_bytes == sum(map(messages.size_bytes, stored))
    assert topic.shares == len(partly)
    later = [messages.attributes_of(row) for row in stored if row[LANE] == LATER]
    assert topic.groups_later == sum(carried.group is not None for carried in later)
    assert {row[1] for row in partly} <= {row[SEQUENCE] for row in stored}
    lanes = [row[LANE] for row in stored if row[LANE] >= LANES]
    assert {row[1] for row in grouped} == set(lanes)
    schedules = SCHEDULE.select(state, "WHERE topic = ?", (topic.id,))
    topic.digests = {SCHEDULES: _sum(SCHEDULE, schedules)}
    topic.digests[topic.store] = _sum(MESSAGE, loose) + _sum(PACK, packed) + _sum(GROUP, grouped) + _sum(SHARED, partly)
    is_swept = state.sql.execute("SELECT 1 FROM chore WHERE kind = 2 AND target = ?", (topic.id,)).fetchall()
    for row in stored if not is_swept else ():
        assert shared.needed_by(topic, row[SEQUENCE]) & ~_done(state, topic, row), "a message that nobody needs"
    for subscription in topic.subscriptions:
        _audit_subscription(state, topic, subscription, stored)


def _audit_subscription(state: State, topic: Topic, subscription: Subscription, stored: list[Row]) -> None:
    leased = LEASE.select(state, "WHERE subscription = ?", (subscription.id,))
    aside = ASIDE.select(state, "WHERE subscription = ?", (subscription.id,))
    turns = TURN.select(state, "WHERE subscription = ?", (subscription.id,))
    topic.digests[subscription.id] = _sum(LEASE, leased) + _sum(ASIDE, aside) + _sum(TURN, turns)
    items = {(item.lane, item.sequence) for row in leased for item in leases.items_of(row)}
    stands = {(row[LANE], row[SEQUENCE]): standing(state, topic, subscription, row) for row in stored}
    assert {place for place, what in stands.items() if what is Standing.LEASED} == items
    assert {place for place, what in stands.items() if what is Standing.ASIDE} == {row[2:4] for row in aside}
    assert subscription.leased == len(items)
    later = sum(lane == LATER and what is Standing.WAITING for (lane, _), what in stands.items())
    assert subscription.delayed == later + sum(row[1] == DELAYED for row in aside)
    assert subscription.dead == sum(row[1] == DEAD for row in aside)
    assert subscription.again == sum(row[1] == READY for row in aside)
    assert subscription.backlog == sum(what is not Standing.DONE for what in stands.values())
    assert subscription.turns == len(turns)
    for _, lane, _, turn in turns:
        on_its_way = any(item[0] == lane for item in items) or any(row[1:3] == (DELAYED, lane) for row in aside)
        assert (turn is None) == on_its_way, "a group waits while one of its messages is on its way, and only then"
    ready = {lane for (lane, _), what in stands.items() if lane >= LANES and what is Standing.WAITING}
    ready |= {row[2] for row in aside if row[2] >= LANES and row[1] == READY}
    waiting = {row[1] for row in turns if row[3] is None}
    assert {row[1] for row in turns} - waiting == ready - waiting, "who has something stands in line, and nobody else"


def _done(state: State, topic: Topic, row: Row) -> int:
    found = SHARED.select(state, "WHERE store = ? AND sequence = ?", (topic.store, row[SEQUENCE]))
    return int(found[0][2]) if found else 0


def _sum(table: Table, rows: list[Row]) -> int:
    return sum(map(table.digest, rows))
