"""When the state is made durable, and how much of the log is then let go.

The log may drop an entry only when the state that contains it is durable without the log. So: after so many
bytes applied, checkpoint the state in the background, then drop what lies behind, less a stretch that is kept
for followers that are a little late (a snapshot is dearer), and less what a snapshot under way builds on.
"""

from __future__ import annotations

from collections import deque
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
        self._since_bytes = 0
        self._total_bytes = 0
        self._marks: deque[tuple[int, int]] = deque()  # index, total bytes applied up to it
        self._running = False

    def applied(self, items: Sequence[Item]) -> None:
        """Count what was applied; start a checkpoint when it is time."""
        size = sum(len(item.command or b"") for item in items) + len(items) * ENTRY_OVERHEAD_BYTES
        self._since_bytes += size
        self._total_bytes += size
        if not self._marks or self._total_bytes - self._marks[-1][1] >= self._retain_bytes // 8:
            self._marks.append((items[-1].index, self._total_bytes))
        if self._since_bytes >= self._every_bytes and not self._running:
            self._since_bytes = 0
            self._running = True
            self._around.background.run(self._machine.checkpoint, self._durable)

    def _durable(self, durable_index: int) -> None:
        self._running = False
        target = 0
        while self._marks and self._marks[0][1] <= self._total_bytes - self._retain_bytes:
            if self._marks[0][0] > durable_index:
                break
            target = self._marks.popleft()[0]
        oldest_copy = self._snapshots.oldest()
        if oldest_copy is not None:
            target = min(target, oldest_copy)
        if target > self._core.log.base_index:
            self._core.log.compact(target)
            self._around.disk.call(lambda: self.log.compact(target), lambda _: None)
