"""The limits of a topic: whether more fits, and what goes to make room.

`reject` refuses what does not fit. `drop_oldest` takes the oldest messages away that nobody has leased, as many as are
needed and no more; where that would be too many for one command, it refuses, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.broker import messages
from app.broker.messages import size_bytes
from app.broker.rows import Row
from app.broker.state import State, Topic
from app.broker.withdraw import is_leased, withdraw

DROPS_MAX = 2000
"""The most messages that are looked at to make room for one command."""


def admit(state: State, topic: Topic, count: int, new_bytes: int) -> bool:
    """Whether `count` messages of so many bytes fit; the oldest may have gone for them. If not, nothing has changed."""
    limits = topic.settings
    surplus = topic.messages + count - (limits.max_messages or topic.messages + count)
    surplus_bytes = topic.size_bytes + new_bytes - (limits.max_bytes or topic.size_bytes + new_bytes)
    if surplus <= 0 and surplus_bytes <= 0:
        return True
    if limits.overflow == "reject" or surplus > DROPS_MAX:
        return False
    oldest = []
    for row in _oldest(state, topic):
        if not is_leased(state, topic, row):
            oldest.append(row)
            surplus -= 1
            surplus_bytes -= size_bytes(row)
            if surplus <= 0 and surplus_bytes <= 0:
                for each in oldest:
                    withdraw(state, topic, each)
                return True
    return False


def _oldest(state: State, topic: Topic) -> Iterator[Row]:
    """Up to `DROPS_MAX` messages from the oldest on, looked up in growing portions: mostly the first will do."""
    start, left, portion = 0, DROPS_MAX, 4
    while left > 0:
        found = messages.in_order(state, topic, start, min(portion, left))
        for sequence, lane in found:
            row = messages.at(state, topic, lane, sequence)
            assert row is not None
            yield row
        if len(found) < min(portion, left):
            return
        start, left, portion = found[-1][0] + 1, left - len(found), portion * 4
