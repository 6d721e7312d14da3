"""Ack, nack, extend: the end of a delivery, or more time for it; and what happens to a message that comes back.

Each token has a result of its own. An ack or a nack that is repeated succeeds again, as long as the message was not
handed out since. An ack that comes after its lease ran out is as good as one in time while the message waits to be
handed out again: the work is done, and nobody else has begun it. Whoever is too late is told that the lease is lost. A
token that cannot have been given to anybody is a bad one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from app.broker import aside, dead_letters, ended, groups, leases, messages
from app.broker.commands import Ack, Acks, Extend, Nack
from app.broker.handed import Item, Lease
from app.broker.leases import Token
from app.broker.results import BAD_TOKEN, LEASE_LOST, UNSAID, Each, Settled, encode, no_such_topic
from app.broker.rows import DELAYED, READY, Row
from app.broker.state import LANES, State, Subscription, Topic
from app.broker.withdraw import finish_aside

Handle = Callable[[State, Topic, Subscription, Lease, Sequence[Item]], list[Item]]
"""What to do with items that are in a lease; those that stay in it, as they are then."""
Late = Callable[[State, Topic, Subscription, Token], str | None]
"""The code for a token whose lease has ended."""


def ack(state: State, command: Ack) -> bytes:
    """Settled: these messages are done."""
    return _each(state, command.topic, command.tokens, _ack, _ack_late)


def ack_each(state: State, command: Acks) -> bytes:
    """Each. Acks of whole leases of one topic, as most are, are done together."""
    answers: list[bytes] = []
    for name, several in groupby(command.acks, lambda each: each.topic):
        acks = list(several)
        if not _ack_together(state, name, acks):
            answers += [ack(state, each) for each in acks]
        else:
            answers += [encode(Settled([None] * len(each.tokens))) for each in acks]
    return encode(Each(answers)) if state.is_asked else UNSAID


def _ack_together(state: State, name: str, acks: Sequence[Ack]) -> bool:
    """Whether these could be done at once: together they settle whole leases, and none twice."""
    topic = state.topic(name)
    if topic is None:
        return False
    of = {each.id: each for each in topic.subscriptions}
    whole = _whole(state, of, [text for each in acks for text in each.tokens])
    if whole is None:
        return False
    by_subscription: dict[int, list[Lease]] = {}
    for subscription, lease in whole:
        by_subscription.setdefault(subscription.id, []).append(lease)
    for id, together in by_subscription.items():
        _done(state, topic, of[id], [(lease, lease.items) for lease in together])
        leases.end(state, topic, together)
    return True


def nack(state: State, command: Nack) -> bytes:
    """Settled: these messages go back."""

    def back(
        state: State, topic: Topic, subscription: Subscription, lease: Lease, items: Sequence[Item]
    ) -> list[Item]:
        for item, row in zip(items, leases.messages_in(state, topic, lease, items), strict=True):
            give_back(state, topic, subscription, item, row, command.delay_ms, nacked=True)
        return []

    return _each(state, command.topic, command.tokens, back, _nack_late)


def extend(state: State, command: Extend) -> bytes:
    """Settled: these leases end later, or earlier."""
    due_ms = state.numbers.time_ms + command.lease_ms

    def longer(
        state: State, topic: Topic, subscription: Subscription, lease: Lease, items: Sequence[Item]
    ) -> list[Item]:
        return [Item(item.lane, item.sequence, item.deliveries, due_ms) for item in items]

    return _each(state, command.topic, command.tokens, longer, lambda *_: LEASE_LOST)


def _each(state: State, name: str, texts: Sequence[str], handle: Handle, late: Late) -> bytes:
    topic = state.topic(name)
    if topic is None:
        return no_such_topic(name)
    of = {each.id: each for each in topic.subscriptions}
    whole = _whole(state, of, texts)
    if whole is not None:
        for taker, lease in whole:
            leases.keep(state, topic, lease, handle(state, topic, taker, lease, lease.items))
        return encode(Settled([None] * len(texts)))
    codes: list[str | None] = [BAD_TOKEN] * len(texts)
    by_lease: dict[tuple[int, int], list[tuple[int, Token]]] = {}
    for place, text in enumerate(texts):
        token = leases.parse(text)
        if token is not None:
            by_lease.setdefault((token.subscription, token.lease), []).append((place, token))
    for (subscription_id, lease_id), asked in by_lease.items():
        subscription = of.get(subscription_id)
        if subscription is None:
            for place, _ in asked:
                codes[place] = LEASE_LOST
            continue
        missed = _in_lease(state, topic, subscription, lease_id, asked, handle, codes)
        for place, token in missed:
            if token.lease < state.numbers.next_lease_id and token.sequence < topic.next_sequence:
                codes[place] = late(state, topic, subscription, token)
    return encode(Settled(codes))


def _whole(
    state: State, of: dict[int, Subscription], texts: Sequence[str]
) -> list[tuple[Subscription, Lease]] | None:
    """The leases whose tokens these are, one after the other, all of each and in order: what was received together is
    mostly settled together, and then no token but each lease's first needs to be read. None otherwise. That must not
    hang on what is remembered, which a replica that was started again is not: how rows go would show."""
    found: dict[int, tuple[Subscription, Lease]] = {}
    place = 0
    while place < len(texts):
        token = leases.parse(texts[place])
        subscription = None if token is None else of.get(token.subscription)
        lease = None if token is None or subscription is None else leases.find(state, token.lease, subscription)
        if lease is None or subscription is None or lease.row[0] in found:
            return None
        end = place + len(lease.items)
        if texts[place:end] != leases.tokens_of(lease):
            return None
        found[lease.row[0]] = subscription, lease
        place = end
    return list(found.values())


def _in_lease(
    state: State, topic: Topic, subscription: Subscription, lease_id: int, asked: Iterable[tuple[int, Token]],
    handle: Handle, codes: list[str | None],
) -> list[tuple[int, Token]]:  # fmt: skip
    """Handle the tokens that are in the lease. -> the others."""
    lease = leases.find(state, lease_id, subscription)
    if lease is None:
        return list(asked)
    items = {(item.lane, item.sequence): item for item in lease.items}
    missed, wanted = [], []
    for place, token in asked:
        item = items.get((token.lane, token.sequence))
        if item is None or item.deliveries != token.deliveries:
            missed.append((place, token))
        else:
            codes[place] = None
            wanted.append(item)
    if wanted:
        handled = list(dict.fromkeys(wanted))
        for item in handled:
            del items[item.lane, item.sequence]
        stay = handle(state, topic, subscription, lease, handled)
        leases.keep(state, topic, lease, [*items.values(), *stay])
    return missed


def _ack(
    state: State, topic: Topic, subscription: Subscription, lease: Lease, items: Sequence[Item]
) -> list[Item]:
    _done(state, topic, subscription, [(lease, items)])
    return []


def _done(
    state: State, topic: Topic, subscription: Subscription, delivered: Sequence[tuple[Lease, Sequence[Item]]]
) -> None:
    """The subscription is done with these items of these leases."""
    rows = [row for lease, items in delivered for row in leases.messages_in(state, topic, lease, items)]
    done = [item for _, items in delivered for item in items]
    subscription.leased -= len(done)
    for item in done:
        if item.deliveries > 1:
            ended.note(state, topic, subscription, item.sequence, item.deliveries, ended.ACKED)
    messages.finish(state, topic, subscription, rows)
    for item in done:
        if item.lane >= LANES:
            groups.release(state, topic, subscription, item.lane)


def _ack_late(state: State, topic: Topic, subscription: Subscription, token: Token) -> str | None:
    found = aside.at(state, subscription, token.lane, token.sequence)
    if found is None:
        return _gone(state, topic, subscription, token, ended.ACKED)
    row = messages.at(state, topic, token.lane, token.sequence)
    assert row is not None, "a message that is set aside is gone"
    # Without a delivery it was never leased: it arrived behind the cursor, and the token is made up.
    ran_out = found[1] == READY and found[4] == token.deliveries > 0 and not found[5]
    if not ran_out or messages.is_over(state, row):
        return LEASE_LOST
    finish_aside(state, topic, subscription, row, found, ended.ACKED)
    return None


def _nack_late(state: State, topic: Topic, subscription: Subscription, token: Token) -> str | None:
    found = aside.at(state, subscription, token.lane, token.sequence)
    if found is None:
        return _gone(state, topic, subscription, token, ended.NACKED)
    return None if found[4] == token.deliveries and found[5] else LEASE_LOST


def _gone(state: State, topic: Topic, subscription: Subscription, token: Token, how: bytes) -> str | None:
    """The code for a message that is not set aside: None if the subscription is done with it, and this delivery was the
    last and ended so."""
    if messages.undone_at(state, topic, subscription, token.lane, token.sequence) is not None:
        return LEASE_LOST
    return None if ended.how(state, topic, subscription, token.sequence, token.deliveries) == how else LEASE_LOST


def give_back(
    state: State, topic: Topic, subscription: Subscription, item: Item, row: Row, delay_ms: int, *, nacked: bool
) -> None:
    """A leased message was not worked on: it takes its old place, at once or later, or is a dead letter now."""
    subscription.leased -= 1
    limit = topic.settings.max_deliveries
    if messages.is_over(state, row):
        how = ended.NACKED if nacked else ended.LOST
        ended.note(state, topic, subscription, item.sequence, item.deliveries, how)
        messages.finish(state, topic, subscription, [row])
    elif limit is not None and item.deliveries % limit == 0:
        dead_letters.bury(state, topic, subscription, row, item.deliveries, nacked=nacked)
    else:
        due_ms = state.numbers.time_ms + delay_ms if delay_ms else None
        what = DELAYED if delay_ms else READY
        values = (subscription.id, what, item.lane, item.sequence, item.deliveries, int(nacked), due_ms)
        aside.put(state, topic, subscription, values)
        if due_ms is not None:
            state.expect(due_ms)
            return
        state.woken[topic.name] = None
    if item.lane >= LANES:
        groups.release(state, topic, subscription, item.lane)
