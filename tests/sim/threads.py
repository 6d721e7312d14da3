"""The disk's thread and the background's, as queues in virtual time.

What is replaced: threads and waiting. The work itself is the production code (`write_all`, and the closures that the
runner hands over). A batch's file operations happen at one moment, at its beginning or at its end, and the loop learns
of it later, so that a crash may come before, between any two of its file operations, or between the sync and the news.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.broker import SnapshotAbandoned, StateFull
from app.node.disk import NO_ROOM, write_all
from app.node.protocols import WriteJob
from app.node.reserve import Reserve
from app.storage import LogFailed, LogFull
from tests.sim.plan import MS, SECOND

if TYPE_CHECKING:
    from tests.sim.node import SimNode

FULL_RETRY_US = 100 * MS
LOOK_AHEAD_US = 100 * MS
ROOM_CHECK_US = SECOND // 2
FATAL = (OSError, LogFull, LogFailed, StateFull, SnapshotAbandoned)
"""What ends a process that meets it in one of its threads. Anything else is a bug."""


class ProcessEnds(Exception):
    """Fail-stop: a thread of this process met an error of its disk."""


class SimDisk:
    """`Disk` for the runner. `stalled_until_us`: batches end no earlier."""

    def __init__(self, node: SimNode, reserve: Reserve):
        self.node, self._reserve = node, reserve
        self.stalled_until_us = 0
        self._queue: list[tuple[WriteJob | Callable[[], Any], Callable]] = []
        self._batch: deque[tuple[WriteJob | Callable[[], Any], Callable]] = deque()
        self._finished: list[Callable[[], None]] = []
        self._writes: list[WriteJob] = []
        self._write_dones: list[Callable[[], None]] = []
        self._working = False
        self._busy = 0
        self._next_check_us = 0
        self._no_segment = False

    @property
    def idle(self) -> bool:
        return self._busy == 0

    @property
    def full(self) -> bool:
        return self._no_segment or self._reserve.short

    @property
    def scarce(self) -> bool:
        return self._no_segment or self._reserve.scarce

    def has_room(self, size_bytes: int) -> bool:
        return not self.full and size_bytes <= self._reserve.room_bytes

    def make_room(self) -> None:
        self.node.feed()
        self._reserve.release()

    def write(self, job: WriteJob, done: Callable[[], None]) -> None:
        self.node.checks.written(self.node, job)
        self._submit(job, done)

    def call(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._submit(work, done)

    def _submit(self, job: WriteJob | Callable[[], Any], done: Callable) -> None:
        self._busy += 1
        self._queue.append((job, done))
        if not self._working:
            self._working = True
            self.node.later(int(self.node.world.rng.random() * 60), self._begin)

    def _begin(self) -> None:
        world = self.node.world
        self._batch.extend(self._queue)
        self._queue = []
        latency = max(int(world.plan.disk_ms * MS * (0.3 + world.rng.random())), self.stalled_until_us - world.now_us)
        if world.rng.random() < 0.5:
            self._perform()
            self.node.later(latency, self._finish)
        else:
            self.node.later(latency, self._perform_and_finish)

    def _perform_and_finish(self) -> None:
        self._perform()
        self._finish()

    def _perform(self) -> None:
        """All of the batch; on a full disk as much as goes, and the rest when it is tried again."""
        with fail_stop():
            while self._batch or self._writes:
                while self._batch and isinstance(self._batch[0][0], WriteJob):
                    job, done = self._batch.popleft()
                    self._writes.append(job)
                    self._write_dones.append(done)
                if not self._write():
                    return
                if self._batch:
                    work, done = self._batch.popleft()
                    self.node.world.faults.ambush_log(self.node)
                    result = work()
                    self.node.checks.called(self.node)
                    self._finished.append(lambda done=done, result=result: done(result))

    def _write(self) -> bool:
        """False: the log has no room."""
        if self._writes:
            node = self.node
            node.checks.writing(node, self._writes)
            try:
                with node.world.faults.ambush_room(node, self._writes):
                    write_all(node.wal, node.snapshots, self._writes)
            except NO_ROOM as refusal:
                what = "log full: write held back" if isinstance(refusal, LogFull) else "no room for a chunk: held back"
                node.world.count(what)
                self._no_segment = True
                return False
            node.checks.synced(node)
            self._finished += self._write_dones
            self._write_dones = []
        return True

    def _finish(self) -> None:
        done, self._finished = self._finished, []
        self._busy -= len(done)
        for callback in done:
            callback()
        if self._writes or self._batch:
            self.node.later(FULL_RETRY_US, self._perform_and_finish)
        elif self._queue:
            self._begin()
        else:
            self._working = False

    def look_ahead(self) -> None:
        """What the second thread does from time to time: a spare segment, an eye on the free space."""
        now_us = self.node.world.now_us
        if now_us < self.stalled_until_us:
            return
        with fail_stop():
            self._no_segment = not self.node.wal.prepare(scarce=self._reserve.scarce)
            if now_us >= self._next_check_us:
                self._reserve.check()
                self._next_check_us = now_us + ROOM_CHECK_US


class SimBackground:
    """`Background` for the runner: one job at a time."""

    def __init__(self, node: SimNode):
        self._node = node
        self._queue: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self._busy = False

    def run(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._queue.append((work, done))
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        self._busy = True
        node, rng = self._node, self._node.world.rng
        work, done = self._queue.popleft()
        latency = int(rng.choice((1, 5, 100)) * MS * rng.random())
        if rng.random() < 0.5:
            node.later(1, self._work_first, latency, work, done)
        else:
            node.later(latency, self._work_first, 1, work, done)

    def _work_first(self, latency_us: int, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        with fail_stop():
            result = work()
        self._node.later(latency_us, self._finish, done, result)

    def _finish(self, done: Callable[[Any], None], result: Any) -> None:
        if self._queue:
            self._begin()
        else:
            self._busy = False
        done(result)


class fail_stop:
    """Turns what a thread reports to `on_fatal` into the end of the process."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, FATAL):
            raise ProcessEnds(f"{type(error).__name__}: {error}") from error
