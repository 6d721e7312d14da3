"""The limits of a topic: whether more fits, and what goes to make room.

`reject` refuses what does not fit. `drop_oldest` takes the oldest messages away that nobody has leased, as many as are
needed and no more. Where a limit was lowered far below what is there, that would be too many for one command: then as
much goes as comes, so that the topic does not grow, and beyond that a bounded part of what is too much, so that it
comes nearer to its limit with each publish. Where not even as much can go as comes, that is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.broker import messages
from app.broker.messages import size_bytes
from app.broker.rows import Row
from app.broker.state import State, Topic
from app.broker.withdraw import is_leased, withdraw

DROPS_MAX = 2000
"""The most messages that are looked at to make room once."""
DROPS_BYTES = 16 << 20
"""Of messages that go beyond those for which others come; the one that reaches it is the last."""


def never_fits(topic: Topic, count: int, new_bytes: int) -> bool:
    """Whether so many messages of so many bytes are more than the empty topic takes."""
    limits = topic.settings
    return count > (limits.max_messages or count) or new_bytes > (limits.max_bytes or new_bytes)


def admit(state: State, topic: Topic, count: int, new_bytes: int) -> bool:
    """Whether `count` messages of so many bytes are taken; the oldest may have gone for them. If not, nothing has
    changed."""
    surplus, surplus_bytes = _surplus(topic, count, new_bytes)
    if not surplus and not surplus_bytes:
        return True
    if topic.settings.overflow == "reject" or never_fits(topic, count, new_bytes):
        return False
    over, over_bytes = _surplus(topic, 0, 0)
    more_bytes = DROPS_BYTES if state.may_drop_more else 0
    free, going = _free(state, topic), []
    while surplus > 0 or surplus_bytes > 0:
        is_enough = surplus <= over and surplus_bytes <= over_bytes
        row = next(free, None) if more_bytes > 0 or not is_enough else None
        if row is None:
            break
        if is_enough:
            more_bytes -= size_bytes(row)
            state.may_drop_more = False
        surplus -= 1
        surplus_bytes -= size_bytes(row)
        going.append(row)
    if surplus > over or surplus_bytes > over_bytes:
        return False
    for row in going:
        withdraw(state, topic, row)
    return True


def _surplus(topic: Topic, count: int, new_bytes: int) -> tuple[int, int]:
    """How many messages and bytes the topic would have beyond its limits if these came; 0 where it would not."""
    limits = topic.settings
    messages_there, bytes_there = topic.messages + count, topic.size_bytes + new_bytes
    surplus = messages_there - (limits.max_messages or messages_there)
    surplus_bytes = bytes_there - (limits.max_bytes or bytes_there)
    return max(0, surplus), max(0, surplus_bytes)


def _free(state: State, topic: Topic) -> Iterator[Row]:
    """Those that nobody has leased of up to `DROPS_MAX` messages from the oldest on, looked up in growing portions:
    mostly the first will do."""
    start, left, portion = 0, DROPS_MAX, 4
    while left > 0:
        found = messages.in_order(state, topic, start, min(portion, left))
        for sequence, lane in found:
            row = messages.at(state, topic, lane, sequence)
            assert row is not None
            if not is_leased(state, topic, row):
                yield row
        if len(found) < min(portion, left):
            return
        start, left, portion = found[-1][0] + 1, left - len(found), portion * 4
