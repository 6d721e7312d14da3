"""Peek: look at messages where they stand, without touching anything.

A page is bounded by what is looked at, not only by what is found, since a filter may let little through.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.broker import aside, messages
from app.broker.messages import LATER
from app.broker.results import ReceivedMessage
from app.broker.rows import BODY, DEAD, DELAYED, ID, LANE, PUBLISHED_MS, SEQUENCE, Row
from app.broker.state import State, Subscription, Topic
from app.broker.withdraw import Standing, standing

LOOKED_AT_MAX, PAGE_BYTES = 1000, 4 << 20


class Peeked(msgspec.Struct, frozen=True):
    """A message where it stands: `state` is ready, delayed, leased, dead or done, for the subscription asked for."""

    message: ReceivedMessage
    state: str


class Page(msgspec.Struct, frozen=True):
    """`next`: the sequence to go on with; None at the end."""

    items: list[Peeked]
    next: int | None


def peek(
    state: State, topic_name: str, subscription_name: str, start: int, limit: int, headers: Mapping[str, str]
) -> Page | None:
    """Up to `limit` messages from the sequence `start` on that carry all these headers."""
    topic = state.topic(topic_name)
    subscription = None if topic is None else topic.subscription(subscription_name)
    if topic is None or subscription is None:
        return None
    items: list[Peeked] = []
    size_bytes = 0
    found = messages.in_order(state, topic, start, LOOKED_AT_MAX)
    for sequence, lane in found:
        row = messages.at(state, topic, lane, sequence)
        assert row is not None
        if headers and not headers.items() <= (messages.attributes_of(row).headers or {}).items():
            continue
        if len(items) == limit or (items and size_bytes + len(row[BODY]) > PAGE_BYTES):
            return Page(items, sequence)
        size_bytes += len(row[BODY])
        items.append(_look(state, topic, subscription, row))
    return Page(items, found[-1][0] + 1 if len(found) == LOOKED_AT_MAX else None)


def _look(state: State, topic: Topic, subscription: Subscription, row: Row) -> Peeked:
    carried = messages.attributes_of(row)
    stands, deliveries = standing(state, topic, subscription, row), 0
    word = {Standing.LEASED: "leased", Standing.DONE: "done"}.get(stands, "ready")
    if row[LANE] == LATER and stands is Standing.WAITING:
        word = "delayed"
    elif stands is Standing.ASIDE:
        found = aside.at(state, subscription, row[LANE], row[SEQUENCE])
        assert found is not None
        word, deliveries = {DELAYED: "delayed", DEAD: "dead"}.get(found[1], "ready"), found[4]
    message = ReceivedMessage(
        str(row[ID]), row[SEQUENCE], row[BODY], carried.binary, carried.headers, row[PUBLISHED_MS], deliveries,
        carried.group, priority=carried.priority, dead_letter=carried.origin,
    )  # fmt: skip
    return Peeked(message, word)
