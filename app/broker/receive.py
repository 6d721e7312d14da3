"""Receive: which messages are handed out next, and what becomes of them.

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

import msgspec

from app.broker import dedup, ended, groups, leases, messages
from app.broker.commands import Receive
from app.broker.digest import fingerprint
from app.broker.results import (
    KEY_REUSED,
    UNSAID,
    Received,
    ReceivedMessage,
    encode,
    no_such_subscription,
    no_such_topic,
    refuse,
)
from app.broker.rows import ASIDE, ATTRIBUTES, BODY, ID, PUBLISHED_MS, SEQUENCE, Row
from app.broker.state import State, Subscription, Topic

RECEIVE_BYTES = 4 << 20
"""The most bytes of bodies in one answer; a single message may exceed it."""
SKIPS_MAX = 1000
"""Messages whose time is over that one command clears away; then the answer says that there is more to do."""
PASSES_MAX = 10_000
"""Messages that one command passes by, since they came back from dead letters for other subscriptions; likewise."""

_NOTHING = b""
"""Kept of a receive that found no message."""
_EMPTY = encode(Received([])), _NOTHING
_MORE = encode(Received([], more=True)), _NOTHING
_FINAL = encode(Received([], final=True))
_encode = msgspec.msgpack.Encoder().encode


Pick = tuple[Row, int]
"""A message to hand out, for the n-th time."""


def receive(state: State, command: Receive) -> bytes:
    """Received; refused for an unknown topic or subscription, or a key used for something else."""
    topic = state.topic(command.topic)
    if topic is None:
        return no_such_topic(command.topic)
    subscription = topic.subscription(command.subscription)
    if subscription is None:
        return no_such_subscription(command.topic, command.subscription)
    if command.key is None:
        return _hand_out(state, topic, subscription, command)[0]
    fingerprint = _fingerprint(command)
    claim = dedup.find(state, topic.id, dedup.RECEIVE, command.key)
    if claim is not None:
        if claim.fingerprint != fingerprint:
            return refuse(KEY_REUSED, f"the key {command.key!r} was used for another receive")
        return _again(state, topic, subscription, command, claim.answer)
    handed = _hand_out(state, topic, subscription, command)
    if handed is not _MORE and (command.final or handed is not _EMPTY):
        dedup.remember(state, topic, dedup.RECEIVE, (command.key, fingerprint, handed[1]))
    return handed[0]


def _fingerprint(command: Receive) -> bytes:
    asked = (command.subscription, command.max, command.auto_ack, command.lease_ms)
    return fingerprint(_encode(asked))


def _again(state: State, topic: Topic, subscription: Subscription, command: Receive, kept: bytes) -> bytes:
    """The first answer, without those messages of a lease that the subscription is done with by now."""
    if kept == _NOTHING:
        return _FINAL
    if command.auto_ack:
        return kept
    if not state.is_asked:
        return UNSAID
    lease = leases.unpacked(kept)
    found = []
    for item, token in zip(lease.items, leases.tokens_of(lease), strict=True):
        # After a purge, or a new beginning under its name, the subscription is another one.
        if lease.row[1] == subscription.id:
            row = messages.undone_at(state, topic, subscription, item.lane, item.sequence)
            if row is not None:
                found.append(_message((row, item.deliveries), token, item.due_ms))
    return encode(Received(found)) if found else _FINAL


def _hand_out(state: State, topic: Topic, subscription: Subscription, command: Receive) -> tuple[bytes, bytes]:
    """-> the answer, and what to keep of it under a key."""
    if subscription.ready == 0:
        return _EMPTY
    chosen = _Choice(state, topic, subscription, command.max, keep=not command.auto_ack)
    picks = chosen.picks()
    if not picks:
        return _MORE if chosen.was_too_much() else _EMPTY
    if command.auto_ack:
        for row, deliveries in picks:
            ended.note(state, topic, subscription, row[SEQUENCE], deliveries, ended.ACKED)
        is_said = state.is_asked or command.key is not None
        answer = encode(Received([_message(pick) for pick in picks])) if is_said else UNSAID
        return answer, answer
    lease_ms = topic.settings.lease_ms if command.lease_ms is None else command.lease_ms
    due_ms = state.numbers.time_ms + lease_ms
    lease = leases.grant(state, topic, subscription, picks, chosen.size_bytes, due_ms)
    kept = leases.packed(lease)
    if not state.is_asked:
        return UNSAID, kept
    tokens = leases.tokens_of(lease)
    return encode(Received([_message(pick, token, due_ms) for pick, token in zip(picks, tokens, strict=True)])), kept


def _message(pick: Pick, token: str | None = None, due_ms: int | None = None) -> ReceivedMessage:
    row, deliveries = pick
    carried = messages.attributes_of(row)
    return ReceivedMessage(
        str(row[ID]), row[SEQUENCE], row[BODY], carried.binary, carried.headers, row[PUBLISHED_MS], deliveries,
        carried.group, token, due_ms, carried.priority, carried.origin,
    )  # fmt: skip


class _Choice:
    """Takes up to `limit` messages out of what is ready. `keep`: they are leased and stay; else they are done."""

    def __init__(self, state: State, topic: Topic, subscription: Subscription, limit: int, *, keep: bool) -> None:
        self._state, self._topic, self._subscription = state, topic, subscription
        self._limit, self._keep = limit, keep
        self.size_bytes = 0
        """Of what was taken."""
        self._picks: list[Pick] = []
        self._full = False
        self._skipped = self._passed = 0

    def picks(self) -> list[Pick]:
        """What is to be handed out, in order."""
        self._state.touch(self._topic)
        if not self._subscription.turns:
            self._plain(self._limit)
        else:
            self._in_turn()
        return self._picks

    def _room_bytes(self) -> int:
        return RECEIVE_BYTES - self.size_bytes

    def was_too_much(self) -> bool:
        """Whether there was more to clear away than one command does."""
        return self._skipped >= SKIPS_MAX or self._passed >= PASSES_MAX

    def _in_turn(self) -> None:
        subscription, plain_is_empty = self._subscription, False
        while not self._is_over():
            row = groups.next_in_line(self._state, subscription)
            if not plain_is_empty and (row is None or subscription.plain_turn < row[groups.PLACE]):
                before = len(self._picks)
                self._plain(1)
                if not self._full:
                    subscription.plain_turn = groups.end_of_line(subscription)
                plain_is_empty = len(self._picks) == before
            elif row is not None:
                self._group(row)
            else:
                return

    def _is_over(self) -> bool:
        return self._full or len(self._picks) >= self._limit or self.was_too_much()

    def _plain(self, count: int) -> None:
        """Up to `count` messages without a group."""
        until = min(self._limit, len(self._picks) + count)
        cursors = self._subscription.cursors
        for lane in reversed(range(len(cursors))):
            self._again(lane, until)
            while len(self._picks) < until and not self._is_over():
                left = until - len(self._picks)
                rows = messages.waiting(self._state, self._topic, lane, cursors[lane], left, self._room_bytes())
                if not rows:
                    break
                taken = self._take(rows, [1] * len(rows))
                cursors[lane] = rows[taken - 1][SEQUENCE] + 1 if taken else cursors[lane]

    def _group(self, turn: Row) -> None:
        """One message of the group; it leaves the line if it has none."""
        state, topic, subscription, lane = self._state, self._topic, self._subscription, int(turn[1])
        before = len(self._picks)
        self._again(lane, before + 1)
        while len(self._picks) == before and not self._is_over():
            rows = messages.waiting(state, topic, lane, turn[groups.CURSOR], 1, self._room_bytes())
            if not rows:
                break
            if self._take(rows, [1]):
                turn = groups.advance(state, topic, turn, rows[0][SEQUENCE] + 1)
        if self._keep and len(self._picks) > before:
            groups.hold(state, topic, turn)
        elif not self._full:
            groups.release(state, topic, subscription, lane)

    def _again(self, lane: int, until: int) -> None:
        """Those of a lane that are ready to be handed out once more."""
        state, topic, subscription = self._state, self._topic, self._subscription
        while len(self._picks) < until and not self._is_over():
            found = ASIDE.select(
                state, "WHERE subscription = ? AND state = 0 AND lane = ? ORDER BY sequence LIMIT ?",
                (subscription.id, lane, until - len(self._picks)),
            )  # fmt: skip
            for aside in found:
                row = messages.at(state, topic, lane, aside[3])
                assert row is not None, "a message that is not done is gone"
                if not self._take([row], [aside[4] + 1]):
                    return
                ASIDE.delete(state, topic, aside)
            if not found:
                return

    def _take(self, rows: list[Row], deliveries: list[int]) -> int:
        """Hand these out, as far as there is room; of those whose time is over nothing is left. -> how many."""
        state, topic, subscription = self._state, self._topic, self._subscription
        if self.was_too_much():
            return 0
        taken, done = 0, list[Row]()
        for row, number in zip(rows, deliveries, strict=True):
            if topic.shares and messages.is_done(state, topic, subscription, row[SEQUENCE]):
                self._passed += 1
            elif row[ATTRIBUTES] is not None and messages.is_over(state, row):
                self._skipped += 1
                ended.note(state, topic, subscription, row[SEQUENCE], number - 1, ended.LOST)
                done.append(row)
            else:
                size_bytes = messages.size_bytes(row)
                if self._picks and size_bytes > self._room_bytes():
                    self._full = True
                    break
                self.size_bytes += size_bytes
                self._picks.append((row, number))
                if not self._keep:
                    done.append(row)
                taken += 1
                continue
            taken += 1
            if self.was_too_much():
                break
        if done:
            messages.finish(state, topic, subscription, done)
        return taken
