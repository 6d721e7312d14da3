"""Receive: which messages are handed out next, and what becomes of them. Receives: several, each as it would be alone.

    ready again   before all that wait: they were handed out before, and return to their old places
    priorities    the highest first
    groups        one message of a group at a time, the groups in turn; all messages without a group together are one
                  more that stands in that line

With `auto_ack` a message is done when it is handed out; else it is leased. With a key, what a repetition needs is kept
as a claim: the lease, whose messages are there until they are settled, or the whole answer, where they are gone. That
there was nothing is kept as well: a first try that was delayed would otherwise take messages when its retry has been
answered already, and nobody would ever see them. Only who still waits for messages, and will ask again, leaves it open;
so does the answer that says to ask again.
"""

from __future__ import annotations

from itertools import groupby

import msgspec

from app.broker import dedup, ended, leases, messages
from app.broker.choice import Ahead, Budget, Choice, Pick
from app.broker.commands import Receive, Receives
from app.broker.digest import fingerprint
from app.broker.handed import Lease
from app.broker.results import (
    KEY_REUSED,
    UNSAID,
    Each,
    Received,
    ReceivedMessage,
    encode,
    no_such_subscription,
    no_such_topic,
    refuse,
)
from app.broker.rows import BODY, ID, LEASE, PUBLISHED_MS, SEQUENCE, Row
from app.broker.state import State, Subscription, Topic

_NOTHING = b""
"""Kept of a receive that found no message."""
_EMPTY = encode(Received([]))
_MORE = encode(Received([], more=True))
_FINAL = encode(Received([], final=True))
_encode = msgspec.msgpack.Encoder().encode


def receive(state: State, command: Receive) -> bytes:
    """Received; refused for an unknown topic or subscription, or a key used for something else."""
    place = _place(state, command)
    if isinstance(place, bytes):
        return place
    handing = _HandingOut(state, *place, Budget(), command.max)
    answer = handing.receive(command)
    handing.end()
    return answer


def receive_each(state: State, command: Receives) -> bytes:
    """Each. Together they do no more than one may; who comes after that is told to ask again."""
    answers: list[bytes] = []
    budget = Budget()
    for _, asked in groupby(command.receives, lambda each: (each.topic, each.subscription)):
        receives = list(asked)
        place = _place(state, receives[0])
        if isinstance(place, bytes):
            answers += [place] * len(receives)
            continue
        handing = _HandingOut(state, *place, budget, sum(each.max for each in receives))
        answers += [_MORE if budget.is_spent() else handing.receive(each) for each in receives]
        handing.end()
    return encode(Each(answers)) if state.is_asked else UNSAID


def _place(state: State, command: Receive) -> tuple[Topic, Subscription] | bytes:
    """Where it is to receive, or the refusal."""
    topic = state.topic(command.topic)
    if topic is None:
        return no_such_topic(command.topic)
    subscription = topic.subscription(command.subscription)
    if subscription is None:
        return no_such_subscription(command.topic, command.subscription)
    return topic, subscription


class _HandingOut:
    """Receives of one subscription, for `wanted` messages together at most, one after the other; and then `end`."""

    __slots__ = ("_ahead", "_budget", "_leases", "_state", "_subscription", "_topic")

    def __init__(
        self, state: State, topic: Topic, subscription: Subscription, budget: Budget, wanted: int
    ) -> None:
        self._state, self._topic, self._subscription, self._budget = state, topic, subscription, budget
        self._ahead = Ahead(state, topic, subscription, wanted)
        self._leases: list[Row] = []

    def receive(self, command: Receive) -> bytes:
        """Do this one."""
        state, topic, key = self._state, self._topic, command.key
        if key is None:
            return self._hand_out(command)[0]
        print_ = _fingerprint(command)
        claim = dedup.find(state, topic.id, dedup.RECEIVE, key)
        if claim is not None:
            if claim.fingerprint != print_:
                return refuse(KEY_REUSED, f"the key {key!r} was used for another receive")
            return self._again(command, claim.answer)
        answer, kept = self._hand_out(command)
        if answer is not _MORE and (command.final or answer is not _EMPTY):
            dedup.remember(state, topic, dedup.RECEIVE, (key, print_, kept))
        return answer

    def _hand_out(self, command: Receive) -> tuple[bytes, bytes]:
        """-> the answer, and what to keep of it under a key."""
        state, topic, subscription = self._state, self._topic, self._subscription
        if subscription.ready == 0:
            return _EMPTY, _NOTHING
        choice = Choice(
            state, topic, subscription, self._ahead, self._budget, command.max, keep=not command.auto_ack
        )
        picks = choice.picks()
        if not picks:
            return _MORE if self._budget.was_too_much() else _EMPTY, _NOTHING
        if command.auto_ack:
            for row, deliveries in picks:
                ended.note(state, topic, subscription, row[SEQUENCE], deliveries, ended.ACKED)
            is_said = state.is_asked or command.key is not None
            answer = encode(Received([_message(pick) for pick in picks])) if is_said else UNSAID
            return answer, answer
        lease_ms = topic.settings.lease_ms if command.lease_ms is None else command.lease_ms
        due_ms = state.numbers.time_ms + lease_ms
        lease = leases.grant(state, subscription, picks, choice.size_bytes, due_ms)
        self._leases.append(lease.row)
        kept = leases.packed(lease, choice.size_bytes)
        if not state.is_asked:
            return UNSAID, kept
        tokens = leases.tokens_of(lease)
        told = [_message(pick, token, due_ms) for pick, token in zip(picks, tokens, strict=True)]
        return encode(Received(told)), kept

    def _again(self, command: Receive, kept: bytes) -> bytes:
        """The first answer, without those messages of a lease that the subscription is done with by now."""
        if kept == _NOTHING:
            return _FINAL
        if command.auto_ack:
            self._budget.room_bytes -= len(kept)
            return kept
        lease, size_bytes = leases.unpacked(kept)
        self._budget.room_bytes -= size_bytes
        return _told_again(self._state, self._topic, self._subscription, lease) if self._state.is_asked else UNSAID

    def end(self) -> None:
        """What was leased stands in the tables then."""
        if self._leases:
            LEASE.insert(self._state, self._topic, *self._leases)


def _fingerprint(command: Receive) -> bytes:
    asked = (command.subscription, command.max, command.auto_ack, command.lease_ms)
    return fingerprint(_encode(asked))


def _told_again(state: State, topic: Topic, subscription: Subscription, lease: Lease) -> bytes:
    found = []
    for item, token in zip(lease.items, leases.tokens_of(lease), strict=True):
        # After a purge, or a new beginning under its name, the subscription is another one.
        if lease.row[1] == subscription.id:
            row = messages.undone_at(state, topic, subscription, item.lane, item.sequence)
            if row is not None:
                found.append(_message((row, item.deliveries), token, item.due_ms))
    return encode(Received(found)) if found else _FINAL


def _message(pick: Pick, token: str | None = None, due_ms: int | None = None) -> ReceivedMessage:
    row, deliveries = pick
    carried = messages.attributes_of(row)
    return ReceivedMessage(
        str(row[ID]), row[SEQUENCE], row[BODY], carried.binary, carried.headers, row[PUBLISHED_MS], deliveries,
        carried.group, token, due_ms, carried.priority, carried.origin,
    )  # fmt: skip


