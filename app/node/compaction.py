"""When the state is made durable, and how much of the log is then let go.

The log may drop an entry only when the state that contains it is durable without the log. So: after so many
bytes applied, or when the state's own files ask for it, checkpoint the state in the background, then drop what lies
behind, less a stretch that is kept for followers that are a little late (a snapshot is dearer), and less what a
snapshot under way builds on.
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

    def applied(self, items: Sequence[Item]) -> None:
        """Count what was applied; start a checkpoint when it is time."""
        size = sum(len(item.command or b"") for item in items) + len(items) * ENTRY_OVERHEAD_BYTES
        self._since_bytes += size
        is_due = self._since_bytes >= self._every_bytes or self._machine.checkpoint_due
        if is_due and not self._running:
            self._since_bytes = 0
            self._running = True
            self._around.background.run(self._machine.checkpoint, self._durable)

    def _durable(self, durable_index: int) -> None:
        self._running = False
        target = self._droppable(min(durable_index, self._snapshots.oldest() or durable_index))
        if target > self._core.log.base_index:
            self._core.log.compact(target)
            self._around.disk.call(lambda: self.log.compact(target), lambda _: None)

    def _droppable(self, most: int) -> int:
        """The largest index up to `most` with at least `retain_bytes` of log behind it."""
        indices = range(self._core.log.base_index, most + 1)
        kept = bisect_left(indices, True, key=lambda index: self.log.tail_bytes_since(index) < self._retain_bytes)
        return self._core.log.base_index + kept - 1
