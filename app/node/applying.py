"""From what is committed to what is answered: entries wait here to be applied, and callers for what comes of them.

Theory: a leader applies at once, since somebody waits for the answer. A follower lets its disk go first: what it has
written vouches for entries that the leader waits for, while what it applies only long polls wait for. So while its disk
writes, a follower keeps what is committed, until the disk is done; but no longer than to the next tick, no more than
`KEPT_ITEMS` or `KEPT_BYTES`, and not while a read waits.

A proposal's waiter stands at its index and term. If another term's entry is applied there, the proposal is dead and
says so (not committed); silence is the caller's to interpret (unknown).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from app.broker.errors import StateFull
from app.broker.item import Item
from app.node.compaction import Compaction
from app.node.envelope import unseal
from app.node.errors import NotCommitted, OutcomeUnknown
from app.node.protocols import StateMachine, Surroundings
from app.raft import Entry, Kind, RaftCore

Done = Callable[[Any], None]
KEPT_ITEMS, KEPT_BYTES = 500, 1 << 20
FULL_RETRY_MS = 100


class Applier:
    """See the module. `waiters`: by index, the term of the proposal and who is to hear of it."""

    def __init__(self, core: RaftCore, machine: StateMachine, compaction: Compaction, around: Surroundings):
        self.applied_index = machine.applied_index
        self.waiters: dict[int, tuple[int, Done]] = {}
        self._core, self._machine, self._compaction, self._around = core, machine, compaction, around
        self._items: list[Item] = []
        self._items_bytes = 0
        self._is_full = False
        self._reads: dict[int, tuple[int, Done]] = {}

    def take(self, entries: Iterable[Entry]) -> None:
        """These are committed, and follow those that were taken before."""
        for entry in entries:
            self._items_bytes += len(entry.data)
            if entry.kind == Kind.COMMAND:
                time_ms, command = unseal(entry.data)
                item = Item(entry.index, entry.term, time_ms, command, None, entry.index in self.waiters)
            else:
                configuration = entry.data if entry.kind == Kind.CONFIGURATION else None
                item = Item(entry.index, entry.term, 0, None, configuration)
            self._items.append(item)

    def go_on(self) -> None:
        """Apply what was taken, unless it had better wait."""
        if self._items and not self._may_wait():
            self.apply()

    def _may_wait(self) -> bool:
        small = len(self._items) < KEPT_ITEMS and self._items_bytes < KEPT_BYTES
        return self._core.leader is None and small and not self._reads and not self._around.disk.idle

    def apply(self) -> None:
        """All that was taken, in one transaction. Without disk space for it the items wait, and the reserve is given
        up for them."""
        if self._items and not self._is_full:
            self._try()

    def _try(self) -> None:
        items = self._items
        try:
            answers = self._machine.apply(items)
        except StateFull:
            self._is_full = True
            self._around.disk.make_room()
            self._around.later(FULL_RETRY_MS, self._try_again)
            return
        self._items, self._items_bytes = [], 0
        self.applied_index = items[-1].index
        for item, answer in zip(items, answers, strict=True):
            waiter = self.waiters.pop(item.index, None)
            if waiter is not None:
                _answer(waiter, item, answer)
        self._release_reads()
        self._compaction.applied(items)

    def _try_again(self) -> None:
        self._is_full = False
        self.apply()

    # -- who waits --------------------------------------------------------------------------------------

    def read(self, token: int, index: int, done: Done) -> None:
        """Call `done(None)` once the machine stands at `index` or later. The next `go_on` sees that somebody waits."""
        self._reads[token] = (index, done)
        self._release_reads()

    def forget(self, token: int) -> None:
        """Nobody waits for it any more."""
        self._reads.pop(token, None)

    def _release_reads(self) -> None:
        for token in [token for token, (index, _) in self._reads.items() if index <= self.applied_index]:
            # One may be forgotten, or released, by what another one calls.
            found = self._reads.pop(token, None)
            if found is not None:
                found[1](None)

    def give_up(self, why: str, is_gone: Callable[[int], bool]) -> None:
        """What became of the proposals at these indices cannot be told here."""
        for index in [index for index in self.waiters if is_gone(index)]:
            _, done = self.waiters.pop(index)
            done(OutcomeUnknown(why))

    # -- snapshots --------------------------------------------------------------------------------------

    def drop(self) -> None:
        """A snapshot is about to be put in force: what was taken is in it."""
        self._items, self._items_bytes = [], 0

    def installed(self, index: int) -> None:
        """The machine stands there now, by a snapshot."""
        self.applied_index = index
        self.give_up("this node was overtaken by a snapshot; it may or may not have happened", lambda at: at <= index)
        self._release_reads()


def _answer(waiter: tuple[int, Done], item: Item, answer: bytes | None) -> None:
    term, done = waiter
    if term == item.term:
        done(answer)
    else:
        done(NotCommitted("the leader changed and another operation took this one's place; it did not happen"))
