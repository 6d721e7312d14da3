"""What happens when its time has come: leases end, delayed messages arrive, others are over.

Whatever stands in the log brings its stamp, and with it some of this work is done, a bounded number of rows, always in
the same order. While nothing else comes, the leader writes a Tick when there is something to do. So time is an entry of
the log like everything else, and a leader that wakes from a pause ends nothing that a majority has not agreed to end.
"""

from __future__ import annotations

from app.broker import aside, dead_letters, groups, leases, messages, shared
from app.broker.handed import Item
from app.broker.messages import LATER
from app.broker.rows import ASIDE, BODY, DEAD, DELAYED, DUE_MS, LANE, MESSAGE, READY, SEQUENCE, STORE, Row
from app.broker.settle import give_back
from app.broker.state import LANES, State, Subscription, Topic
from app.broker.withdraw import withdraw


def run(state: State, budget: int) -> int:
    """Do what is due, up to `budget` rows. -> what is left of the budget."""
    while budget > 0 and state.next_due_ms <= state.numbers.time_ms:
        done = _end_lease(state, budget) or _end_aside(state) or _end_waiting(state)
        if not done:
            state.look_ahead()
        budget -= done
    return budget


def _end_lease(state: State, budget: int) -> int:
    """Messages of one lease go back. -> how many; 0 when no lease ends."""
    lease = leases.first_due(state)
    if lease is None:
        return 0
    topic = state.topic_of(lease.row[1])
    if topic is None:
        state.sql.execute("DELETE FROM lease WHERE id = ?", (lease.row[0],))
        state.handed.forget(lease.row[0])
        state.changed(0)
        return 1
    subscription = _subscription(topic, lease.row[1])
    over: list[Item] = []
    kept: list[Item] = []
    for item in lease.items:
        is_over = item.due_ms <= state.numbers.time_ms and len(over) < budget
        (over if is_over else kept).append(item)
    leases.keep(state, topic, lease, kept)
    for item, row in zip(over, leases.messages_in(state, topic, lease, over), strict=True):
        give_back(state, topic, subscription, item, row, 0, nacked=False)
    return len(over)


def _end_aside(state: State) -> int:
    """One message that was given back with a delay, or that could not be moved. -> 0 when there is none."""
    order = "ORDER BY due_ms, subscription, state, lane, sequence LIMIT 1"
    found = ASIDE.select(state, f"WHERE due_ms <= ? {order}", (state.numbers.time_ms,))
    if not found:
        return 0
    row = found[0]
    topic = state.topic_of(row[0])
    if topic is None:
        key = "subscription = ? AND state = ? AND lane = ? AND sequence = ?"
        state.sql.execute(f"DELETE FROM aside WHERE {key}", row[:4])
        state.changed(0)
        return 1
    subscription = _subscription(topic, row[0])
    if row[1] == DELAYED:
        _ready_again(state, topic, subscription, row)
    else:
        _move_again(state, topic, subscription, row)
    return 1


def _ready_again(state: State, topic: Topic, subscription: Subscription, row: Row) -> None:
    aside.take(state, topic, subscription, row)
    aside.put(state, topic, subscription, (row[0], READY, *row[2:6], None))
    state.woken[topic.name] = None
    if row[2] >= LANES:
        groups.release(state, topic, subscription, row[2])


def _move_again(state: State, topic: Topic, subscription: Subscription, row: Row) -> None:
    assert row[1] == DEAD
    message = messages.at(state, topic, row[2], row[3])
    assert message is not None, "a message that stands still is gone"
    aside.take(state, topic, subscription, row)
    dead_letters.bury(state, topic, subscription, message, row[4], nacked=bool(row[5]))


def _end_waiting(state: State) -> int:
    """One message arrives, or is over. -> 0 when there is none."""
    # By the sequence and not by the id, which a dead letter brings along: groups arrive in order.
    order = "ORDER BY due_ms, sequence, id LIMIT 1"
    found = MESSAGE.select(state, f"WHERE due_ms <= ? {order}", (state.numbers.time_ms,))
    if not found:
        return 0
    row = found[0]
    topic = state.topic_of(row[STORE])
    if topic is None:
        state.sql.execute("DELETE FROM message WHERE id = ?", row[:1])
        state.changed(len(row[BODY]))
    elif row[LANE] == LATER:
        _arrive(state, topic, row)
    else:
        before = topic.messages
        withdraw(state, topic, row)
        if topic.messages == before:
            # Somebody has leased it: it is over when that lease is.
            MESSAGE.update(state, topic, row, (*row[:DUE_MS], None, *row[DUE_MS + 1 :]))
            state.handed.forget_all()
    return 1


def _arrive(state: State, topic: Topic, row: Row) -> None:
    """A delayed message takes its place; where the cursor has gone past that, it is ready again."""
    row = messages.arrive(state, topic, row)
    lane, sequence = row[LANE], row[SEQUENCE]
    for subscription in topic.subscriptions:
        if sequence < subscription.start or shared.is_done(state, topic, subscription, sequence):
            continue
        subscription.delayed -= 1
        if lane >= LANES:
            groups.arrive(state, topic, subscription, lane, sequence)
        elif sequence < subscription.cursors[lane]:
            aside.put(state, topic, subscription, (subscription.id, READY, lane, sequence, 0, 0, None))


def _subscription(topic: Topic, id: int) -> Subscription:
    return next(each for each in topic.subscriptions if each.id == id)
