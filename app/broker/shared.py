"""Shared: of messages that several subscriptions get, who is done with them, a bit for each slot.

A message has a row here from the first one that is done with it to the last one; so a topic with a single subscription
has none, and nobody looks. Who is done with many asks, and says so, for all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.broker.rows import SHARED, Row
from app.broker.state import State, Subscription, Topic


def done(state: State, topic: Topic, sequences: Sequence[int]) -> dict[int, int]:
    """Who is done with these messages, as bits, as far as there is a row."""
    if not topic.shares or not sequences:
        return {}
    if len(sequences) == 1:
        found = SHARED.select(state, "WHERE store = ? AND sequence = ?", (topic.store, sequences[0]))
    else:
        several = f"[{','.join(map(str, sequences))}]"
        tail = "WHERE store = ? AND sequence IN (SELECT value FROM json_each(?))"
        found = SHARED.select(state, tail, (topic.store, several))
    return {sequence: bits for _, sequence, bits in found}


def done_by(state: State, topic: Topic, subscription: Subscription, sequences: Sequence[int]) -> set[int]:
    """Those of these messages, which are stored, that the subscription is done with."""
    bits_of = done(state, topic, sequences)
    return {sequence for sequence, bits in bits_of.items() if bits >> subscription.slot & 1}


def is_done(state: State, topic: Topic, subscription: Subscription, sequence: int) -> bool:
    """Whether the subscription is done with a message that is still stored."""
    return bool(done_by(state, topic, subscription, [sequence]))


def needed_by(topic: Topic, sequence: int) -> int:
    """The slots, as bits, of the subscriptions that get this message."""
    return sum(1 << each.slot for each in topic.subscriptions if each.start <= sequence)


def finish(state: State, topic: Topic, subscription: Subscription, sequences: Sequence[int]) -> set[int]:
    """The subscription is done with these. -> those that nobody needs any more; they are forgotten here."""
    before = done(state, topic, sequences)
    bit, last, left = 1 << subscription.slot, set[int](), dict[int, int]()
    for sequence in sequences:
        bits = before.get(sequence, 0) | bit
        if needed_by(topic, sequence) & ~bits:
            left[sequence] = bits
        else:
            last.add(sequence)
    _note(state, topic, before, left)
    _drop(state, topic, [(topic.store, sequence, bits) for sequence, bits in before.items() if sequence in last])
    return last


def note(state: State, topic: Topic, sequence: int, bits: int) -> None:
    """These are done with a message, and nobody else."""
    _note(state, topic, done(state, topic, [sequence]), {sequence: bits})


def _note(state: State, topic: Topic, before: dict[int, int], after: dict[int, int]) -> None:
    store = topic.store
    new = [(store, sequence, bits) for sequence, bits in after.items() if sequence not in before]
    if new:
        SHARED.insert(state, topic, *new)
        topic.shares += len(new)
    changed = [
        ((store, sequence, before[sequence]), (store, sequence, bits))
        for sequence, bits in after.items()
        if sequence in before
    ]
    if changed:
        SHARED.update_each(state, topic, changed)


def forget(state: State, topic: Topic, sequence: int) -> None:
    """This message goes."""
    _drop(state, topic, [(topic.store, *each) for each in done(state, topic, [sequence]).items()])


def _drop(state: State, topic: Topic, gone: Sequence[Row]) -> None:
    if gone:
        SHARED.delete(state, topic, *gone)
        topic.shares -= len(gone)
