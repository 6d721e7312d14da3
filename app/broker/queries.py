"""Read-only questions to one node's own state, answered between two applies.

They say what this node has applied, no more: whoever needs the newest asks the node for a read barrier first.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from app.broker import messages
from app.broker.commands import NewMessage, TopicSettings
from app.broker.rows import SCHEDULE, Row
from app.broker.schedules import decode_plan
from app.broker.state import TOPIC_ROWS, State, Topic, topic_from_row


class SubscriptionInfo(msgspec.Struct, frozen=True):
    """A subscription as it stands: it began at the sequence `start`; of its messages so many are in each state."""

    name: str
    start: int
    ready: int
    leased: int
    delayed: int
    dead: int


class TopicInfo(msgspec.Struct, frozen=True):
    """A topic as it stands. `id` counts in the order of creation; `messages` of `size_bytes` (bodies and what they
    carry) are stored in it, the oldest since `oldest_ms`."""

    id: int
    name: str
    settings: TopicSettings
    created_ms: int
    version: int
    next_sequence: int
    messages: int
    size_bytes: int
    oldest_ms: int | None
    subscriptions: list[SubscriptionInfo]

    @property
    def ready(self) -> int:
        """What can be handed out to some subscription."""
        return sum(each.ready for each in self.subscriptions)


class ScheduleInfo(msgspec.Struct, frozen=True):
    """A schedule as it stands; its next tick is at `next_ms`."""

    id: int
    topic_id: int
    name: str
    cron: str
    zone: str
    message: NewMessage
    next_ms: int


class Counts(msgspec.Struct, frozen=True):
    """Sums over the whole state."""

    topics: int
    messages: int
    size_bytes: int
    claims: int


def topic(state: State, name: str) -> TopicInfo | None:
    """One topic by its name."""
    found = state.topic(name)
    return _info(state, found) if found is not None else None


def ready(state: State, topic_name: str, subscription_name: str) -> int | None:
    """How many messages the subscription has ready; None where there is no such topic or subscription."""
    found = state.topic(topic_name)
    subscription = None if found is None else found.subscription(subscription_name)
    return None if subscription is None else subscription.ready


def topics(state: State, prefix: str, limit: int, after: int) -> list[TopicInfo]:
    """Topics in the order of creation: up to `limit` of those whose id is above `after`."""
    rows = state.sql.execute(
        f"{TOPIC_ROWS} WHERE t.id > ? AND substr(t.name, 1, ?) = ? ORDER BY t.id LIMIT ?",
        (after, len(prefix), prefix, limit),
    ).fetchall()
    return [_info(state, topic_from_row(row)) for row in rows]


def schedules(state: State, topic_name: str) -> list[ScheduleInfo]:
    """The topic's schedules, by name."""
    found = state.topic(topic_name)
    if found is None:
        return []
    return [_schedule(row) for row in SCHEDULE.select(state, "WHERE topic = ? ORDER BY name", (found.id,))]


def due_schedules(state: State, now_ms: int, limit: int, without: Collection[tuple[int, int]]) -> list[ScheduleInfo]:
    """Those whose time has come, but for those whose (id, next_ms) is in `without`."""
    # The index alone answers this: what is left out costs no message.
    found = state.sql.execute(
        "SELECT id, next_ms FROM schedule WHERE next_ms <= ? ORDER BY next_ms, id LIMIT ?",
        (now_ms, limit + len(without)),
    ).fetchall()
    due = [id for id, next_ms in found if (id, next_ms) not in without][:limit]
    return [_schedule(row) for id in due for row in SCHEDULE.select(state, "WHERE id = ?", (id,))]


def counts(state: State) -> Counts:
    """Walks all topics, no messages."""
    number = stored = size_bytes = 0
    for row in state.sql.execute(TOPIC_ROWS).fetchall():
        found = topic_from_row(row)
        number += 1
        stored += found.messages
        size_bytes += found.size_bytes
    return Counts(number, stored, size_bytes, state.numbers.claims)


def _info(state: State, found: Topic) -> TopicInfo:
    subscriptions = [
        SubscriptionInfo(each.name, each.start, each.ready, each.leased, each.delayed, each.dead)
        for each in found.subscriptions
    ]
    return TopicInfo(
        found.id, found.name, found.settings, found.created_ms, found.version, found.next_sequence, found.messages,
        found.size_bytes, _oldest_ms(state, found), subscriptions,
    )  # fmt: skip


def _oldest_ms(state: State, found: Topic) -> int | None:
    first = messages.in_order(state, found, 0, 1) if found.messages else []
    return messages.published_ms(state, found, first[0][1], first[0][0]) if first else None


def _schedule(row: Row) -> ScheduleInfo:
    plan = decode_plan(row[3])
    return ScheduleInfo(row[0], row[1], row[2], plan.cron, plan.zone, plan.message, row[4])
