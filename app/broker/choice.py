"""Which messages a receive hands out; see `receive` for the order.

Theory: several receives of one subscription in one command read the same few rows one after the other. So what the
first one reads is enough for all of them (`Ahead`), and each goes on where the one before has stopped. None of them
changes what another one will read, but for what it takes itself.
"""

from __future__ import annotations

from app.broker import aside, ended, groups, messages, shared
from app.broker.rows import ATTRIBUTES, SEQUENCE, Row
from app.broker.state import State, Subscription, Topic

RECEIVE_BYTES = 4 << 20
"""The most bytes of bodies in one answer, or in those of one command; a single message may exceed it."""
SKIPS_MAX = 1000
"""Messages whose time is over that one command clears away; then the answer says that there is more to do."""
PASSES_MAX = 10_000
"""Messages that one command passes by, since they came back from dead letters for other subscriptions; likewise."""

Pick = tuple[Row, int]
"""A message to hand out, for the n-th time."""


class Budget:
    """What is left of what one command may do."""

    __slots__ = ("passes", "room_bytes", "skips")

    def __init__(self) -> None:
        self.room_bytes, self.skips, self.passes = RECEIVE_BYTES, SKIPS_MAX, PASSES_MAX

    def was_too_much(self) -> bool:
        """Whether there was more to clear away than one command does."""
        return self.skips <= 0 or self.passes <= 0

    def is_spent(self) -> bool:
        """Whether nothing more is to be handed out."""
        return self.room_bytes <= 0 or self.was_too_much()


class Ahead:
    """What is there for the next `wanted` messages of a subscription; as long as nothing happens but its receives."""

    __slots__ = ("_never_again", "_rows", "_state", "_subscription", "_topic", "_wanted")

    def __init__(self, state: State, topic: Topic, subscription: Subscription, wanted: int) -> None:
        self._state, self._topic, self._subscription, self._wanted = state, topic, subscription, wanted
        self._rows: dict[int, list[Row]] = {}
        self._never_again: set[int] = set()

    def waiting(self, lane: int, cursor: int, limit: int, room_bytes: int) -> list[Row]:
        """Up to `limit` messages of a lane of priorities from the cursor on, where it is by now."""
        if self._wanted <= limit:
            return messages.waiting(self._state, self._topic, lane, cursor, limit, room_bytes)
        ahead = self._rows.get(lane)
        if ahead:
            gone = next((n for n, row in enumerate(ahead) if row[SEQUENCE] >= cursor), len(ahead))
            ahead = ahead[gone:]
        if not ahead:
            ahead = messages.waiting(self._state, self._topic, lane, cursor, self._wanted, room_bytes)
        self._rows[lane] = ahead
        return ahead[:limit]

    def again(self, lane: int, limit: int) -> list[Row]:
        """Up to `limit` rows of `aside`: those of a lane that are to be handed out once more."""
        if lane in self._never_again:
            return []
        found = aside.ready(self._state, self._subscription, lane, limit)
        if not found:
            self._never_again.add(lane)
        return found


class Choice:
    """Takes up to `limit` messages out of what is ready. `keep`: they are leased and stay; else they are done."""

    __slots__ = (
        "_ahead", "_budget", "_full", "_keep", "_limit", "_picks", "_state", "_subscription", "_topic", "size_bytes",
    )  # fmt: skip

    def __init__(
        self, state: State, topic: Topic, subscription: Subscription, ahead: Ahead, budget: Budget, limit: int, *,
        keep: bool,
    ) -> None:  # fmt: skip
        self._state, self._topic, self._subscription, self._ahead = state, topic, subscription, ahead
        self._budget, self._limit, self._keep = budget, limit, keep
        self.size_bytes = 0
        """Of what was taken."""
        self._picks: list[Pick] = []
        self._full = False

    def picks(self) -> list[Pick]:
        """What is to be handed out, in order."""
        self._state.touch(self._topic)
        if not self._subscription.turns:
            self._plain(self._limit)
        else:
            self._in_turn()
        return self._picks

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
        return self._full or len(self._picks) >= self._limit or self._budget.was_too_much()

    def _plain(self, count: int) -> None:
        """Up to `count` messages without a group."""
        until = min(self._limit, len(self._picks) + count)
        cursors = self._subscription.cursors
        for lane in reversed(range(len(cursors))):
            self._again(lane, until)
            while len(self._picks) < until and not self._is_over():
                left = until - len(self._picks)
                rows = self._ahead.waiting(lane, cursors[lane], left, self._budget.room_bytes)
                if not rows:
                    break
                taken = self._take(rows, [1] * len(rows))
                cursors[lane] = rows[taken - 1][SEQUENCE] + 1 if taken else cursors[lane]

    def _group(self, turn: Row) -> None:
        """One message of the group; it leaves the line if it has none."""
        state, topic, subscription, lane = self._state, self._topic, self._subscription, int(turn[1])
        before, cursor = len(self._picks), int(turn[groups.CURSOR])
        self._again(lane, before + 1)
        while len(self._picks) == before and not self._is_over():
            rows = messages.waiting(state, topic, lane, cursor, 1, self._budget.room_bytes)
            if not rows:
                break
            if self._take(rows, [1]):
                cursor = rows[0][SEQUENCE] + 1
        is_held = self._keep and len(self._picks) > before
        groups.move(state, topic, turn, cursor, None if is_held else turn[groups.PLACE])
        if not is_held and not self._full:
            groups.release(state, topic, subscription, lane)

    def _again(self, lane: int, until: int) -> None:
        """Those of a lane that are ready to be handed out once more."""
        state, topic = self._state, self._topic
        while len(self._picks) < until and not self._is_over():
            found = self._ahead.again(lane, until - len(self._picks))
            for each in found:
                row = messages.at(state, topic, lane, each[3])
                assert row is not None, "a message that is not done is gone"
                if not self._take([row], [each[4] + 1]):
                    return
                aside.take(state, topic, self._subscription, each)
            if not found:
                return

    def _take(self, rows: list[Row], deliveries: list[int]) -> int:
        """Hand these out, as far as there is room; of those whose time is over nothing is left. -> how many."""
        state, topic, subscription = self._state, self._topic, self._subscription
        if self._budget.was_too_much():
            return 0
        taken, done = 0, list[Row]()
        passed = shared.done_by(state, topic, subscription, [row[SEQUENCE] for row in rows]) if topic.shares else ()
        for row, number in zip(rows, deliveries, strict=True):
            if row[SEQUENCE] in passed:
                self._budget.passes -= 1
            elif row[ATTRIBUTES] is not None and messages.is_over(state, row):
                self._budget.skips -= 1
                ended.note(state, topic, subscription, row[SEQUENCE], number - 1, ended.LOST)
                done.append(row)
            else:
                size_bytes = messages.size_bytes(row)
                if self._picks and size_bytes > self._budget.room_bytes:
                    self._full = True
                    break
                self.size_bytes += size_bytes
                self._budget.room_bytes -= size_bytes
                self._picks.append((row, number))
                if not self._keep:
                    done.append(row)
                taken += 1
                continue
            taken += 1
            if self._budget.was_too_much():
                break
        if done:
            messages.finish(state, topic, subscription, done)
        return taken
