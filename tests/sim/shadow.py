"""What a disk surely holds, kept beside it by the simulation: the measure of "durable before acknowledged".

A write is pending from the moment it is handed to the log until the file system itself has nothing unsynced in the
log's files; only then it counts.
"""

from __future__ import annotations

from app.node.protocols import WriteJob
from app.raft import HardState


class Shadow:
    """`terms[i]`: of the durable entry `base + 1 + i`; what lies at or below `base` is in the durable state."""

    __slots__ = ("base", "former", "hard_state", "incarnation", "installing", "pending", "reached", "terms")

    def __init__(self) -> None:
        self.base = 0
        self.terms: list[int] = []
        self.hard_state = HardState()
        self.pending: list[WriteJob] = []
        self.reached: dict[int, int] = {}
        """By term: the last entry at its furthest while the disk was in that term."""
        self.incarnation = 0
        self.installing = False
        """A snapshot is being put in force: the log is about to be dropped."""
        self.former: Shadow | None = None
        """The disk that was here before it was replaced."""

    @property
    def last(self) -> int:
        """The last durable entry."""
        return self.base + len(self.terms)

    def holds(self, index: int, term: int) -> bool:
        """Whether this disk, or one that was here before, has made the entry durable."""
        return self.holds_now(index, term) or (self.former is not None and self.former.holds(index, term))

    def holds_now(self, index: int, term: int) -> bool:
        """Whether this disk has made the entry durable."""
        return index <= self.base or (index <= self.last and self.terms[index - self.base - 1] == term)

    def settle(self) -> None:
        """All that was pending is durable."""
        for job in self.pending:
            if job.hard_state is not None:
                self.hard_state = job.hard_state
            if job.entries:
                keep = job.entries[0].index - self.base - 1
                if keep < 0:
                    self.base, keep = job.entries[0].index - 1, 0
                    self.terms.clear()
                del self.terms[keep:]
                self.terms += [entry.term for entry in job.entries]
            self._reach()
        self.pending.clear()

    def reached_since(self, term: int) -> int:
        """The last entry at its furthest since the disk was in that term; it may have skipped it for a later one."""
        return max((last for each, last in self.reached.items() if each >= term), default=0)

    def _reach(self) -> None:
        term = self.hard_state.term
        self.reached[term] = max(self.reached.get(term, 0), self.last)

    def reset(self, index: int) -> None:
        """The log begins anew after `index`."""
        self.base = index
        self.terms.clear()
        self.installing = False
        self._reach()

    def surely_last(self) -> int:
        """The last entry that no pending write may have replaced."""
        replaced = [job.entries[0].index - 1 for job in self.pending if job.entries]
        return min([self.last, *replaced])
