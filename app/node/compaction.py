"""When the state is made durable, and how much of the log is then let go.

The log may drop an entry only when the state that contains it is durable without the log. So: after so many
bytes applied, or when the state's own files ask for it, checkpoint the state in the background, then drop what lies
behind, less a stretch that is kept for followers that are a little late (a snapshot is dearer), and less what a
snapshot under way builds on. On a disk that is nearly full the stretch is short, and a checkpoint comes as soon as it
has something to give back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from app.broker.item import Item
from app.node.protocols import Log, StateMachine, Surroundings
from app.node.snapshots import SnapshotFiles
from app.raft import RaftCore

ENTRY_OVERHEAD_BYTES = 48
"""Added to a command's size: an entry is never free, on disk or in memory."""
SCARCE_BYTES, SCARCE_MS = 16 << 20, 200
"""On a disk that is nearly full: kept of the log, at most, and of what the state's files owe; and between two tries."""
LEAST_BYTES = 1 << 20
"""Of less there is nothing to gain."""


class Compaction:
    """`every_bytes`: applied between two checkpoints; `retain_bytes`: of log kept behind the durable state."""

    def __init__(
        self,
        log: Log,
        core: RaftCore,
        machine: StateMachine,
        snapshots: SnapshotFiles,
        around: Surroundings,
        every_bytes: int,
        retain_bytes: int,
    ):
        self.log = log
        self._core, self._machine, self._snapshots, self._around = core, machine, snapshots, around
        self._every_bytes, self._retain_bytes = every_bytes, retain_bytes
        self._since_bytes = log.tail_bytes_since(log.first_index - 1)  # what earlier lives left counts too
        self._running = False
        self._tried_at_ms = -SCARCE_MS

    def applied(self, items: Sequence[Item]) -> None:
        """Count what was applied; start a checkpoint when it is time."""
        size = sum(len(item.command or b"") for item in items) + len(items) * ENTRY_OVERHEAD_BYTES
        self._since_bytes += size
        is_due = self._since_bytes >= self._every_bytes or self._machine.checkpoint_due
        if is_due:
            self._begin()

    def make_room(self) -> None:
        """The disk is nearly full: give back what need not be kept."""
        now_ms = self._around.elapsed_ms()
        if now_ms >= self._tried_at_ms + SCARCE_MS and (self._may_gain_files() or self._may_gain_log()):
            self._tried_at_ms = now_ms
            self._begin()

    def _may_gain_files(self) -> bool:
        """Whether the state's files would become smaller. While nothing may grow, all counts: nobody may come to change
        them."""
        if self._around.disk.full:
            return self._machine.owed_bytes >= LEAST_BYTES or self._machine.has_free_pages
        return self._machine.owed_bytes >= SCARCE_BYTES

    def _may_gain_log(self) -> bool:
        """Whether the log is long, and may be shorter."""
        base = self._core.log.base_index
        long_bytes = 2 * max(LEAST_BYTES, min(SCARCE_BYTES, self._retain_bytes))
        is_long = self.log.tail_bytes_since(base) >= long_bytes
        return is_long and self._droppable(self._machine.applied_index) > base

    def _begin(self) -> None:
        if not self._running:
            self._since_bytes = 0
            self._running = True
            scarce = self._around.disk.scarce
            self._around.background.run(lambda: self._machine.checkpoint(scarce), self._durable)

    def _durable(self, durable_index: int) -> None:
        self._running = False
        target = self._droppable(durable_index)
        if target > self._core.log.base_index:
            self._core.log.compact(target)
            self._around.disk.call(lambda: self.log.compact(target), lambda _: None)

    def _droppable(self, most: int) -> int:
        """The largest index up to `most` that no copy builds on, with so much of log behind it as is to be kept. On a
        disk that is nearly full that is little, but not less than those lack who answer."""
        most = min(most, self._snapshots.oldest() or most)
        usual = self._behind(most, self._retain_bytes)
        if not self._around.disk.scarce:
            return usual
        leader = self._core.leader
        wanted = most if leader is None else min(most, leader.least_match())
        return max(usual, min(wanted, self._behind(most, min(self._retain_bytes, SCARCE_BYTES))))

    def _behind(self, most: int, retain_bytes: int) -> int:
        """The largest index up to `most` with at least so many bytes of log behind it."""
        indices = range(self._core.log.base_index, most + 1)
        kept = bisect_left(indices, True, key=lambda index: self.log.tail_bytes_since(index) < retain_bytes)
        return self._core.log.base_index + kept - 1
