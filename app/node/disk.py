"""The disk's own thread: everything that waits is written, then one fdatasync answers for all of it.

A second thread sets up the next segment meanwhile, for that takes as long as a hundred syncs.

Fail-stop: an error in a write or a sync is never retried on the same file; it goes to `on_fatal`, which ends
the process. The one exception is want of room, for the next segment (`LogFull`, which wrote nothing) or for a piece
of a snapshot that is being received (`StateFull`): that is tried again until space returns. Meanwhile nothing is
acknowledged, and a leader that stalls so gives up its leadership.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from app.broker import StateFull
from app.node.protocols import Log, WriteJob
from app.node.reserve import Reserve
from app.node.snapshots import SnapshotFiles
from app.storage.errors import LogFull

NO_ROOM = (LogFull, StateFull)
FULL_RETRY_S = 0.1
LOOK_AHEAD_S = 0.1
"""A segment lasts several times as long under full load."""
ROOM_CHECK_S = 0.1
"""A fast disk takes a third of the reserve meanwhile."""

Queued = tuple[WriteJob | Callable[[], Any], Callable[..., None]]
"""A job, and what runs on the loop when it is done: with the result, where the job is a call."""


def write_all(log: Log, snapshots: SnapshotFiles, jobs: list[WriteJob]) -> None:
    """Write the jobs in order, then make them durable together. Raises LogFull, or StateFull.

    Removes from `jobs` what is written, so that a retry goes on where it stopped, and syncs what the first try wrote.
    """
    while jobs:
        job = jobs[0]
        while job.chunks:
            snapshots.stage(job.chunks[0])
            job.chunks.pop(0)
        if job.hard_state is not None or job.entries:
            log.append(job.hard_state, job.entries)
        jobs.pop(0)
    log.sync()


class DiskThread:
    """See the module. `post` runs a callable on the event loop from any thread."""

    def __init__(
        self,
        log: Log,
        snapshots: SnapshotFiles,
        reserve: Reserve,
        post: Callable[[Callable[[], None]], Any],
        on_fatal: Callable[[BaseException], None],
    ):
        self._log, self._snapshots, self._reserve = log, snapshots, reserve
        self._post, self._on_fatal = post, on_fatal
        self._queue: SimpleQueue[Queued | None] = SimpleQueue()
        self._busy = 0
        self._stopping = False
        self._no_segment = False
        self._look_ahead = threading.Event()
        self.syncs = 0
        self._thread = threading.Thread(target=self._guard, args=(self._run,), name="disk", daemon=True)
        self._ahead = threading.Thread(target=self._guard, args=(self._run_ahead,), name="disk-ahead", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._ahead.start()

    def stop(self, timeout_s: float) -> None:
        """Finish what is queued, then end the threads."""
        self._stopping = True
        self._queue.put(None)
        self._look_ahead.set()
        self._thread.join(timeout_s)
        self._ahead.join(timeout_s)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is under way (loop's thread)."""
        return self._busy == 0

    @property
    def full(self) -> bool:
        """No room for what makes the data grow."""
        return self._no_segment or self._reserve.short

    @property
    def scarce(self) -> bool:
        """Little is left: what need not be kept should go."""
        return self._no_segment or self._reserve.scarce

    @property
    def free_bytes(self) -> int | None:
        """What was free at the last look; None before the first."""
        return self._reserve.free_bytes

    def has_room(self, size_bytes: int) -> bool:
        """Whether a file may grow by so much, and leave the reserve alone."""
        return not self.full and size_bytes <= self._reserve.room_bytes

    def make_room(self) -> None:
        """Give up the reserve."""
        self._reserve.release()

    def write(self, job: WriteJob, done: Callable[[], None]) -> None:
        """Queue a write; `done` runs on the loop once it is durable."""
        self._submit(job, done)

    def call(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Queue other work on the same files, in order."""
        self._submit(work, done)

    def _submit(self, job: WriteJob | Callable[[], Any], done: Callable[..., None]) -> None:
        self._busy += 1
        self._queue.put((job, done))

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            self._post(partial(self._on_fatal, error))

    def _run(self) -> None:
        is_over = False
        while not is_over:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            jobs = [queued for queued in batch if queued is not None]
            is_over = len(jobs) < len(batch)
            self._perform(jobs)

    def _run_ahead(self) -> None:
        """Keep a spare segment and an eye on the free space."""
        next_check = 0.0
        while not self._stopping:
            self._look_ahead.clear()
            self._no_segment = not self._log.prepare(scarce=self._reserve.scarce)
            if time.monotonic() >= next_check:
                self._reserve.check()
                next_check = time.monotonic() + ROOM_CHECK_S
            self._look_ahead.wait(LOOK_AHEAD_S)

    def _perform(self, batch: list[Queued]) -> None:
        """Writes are gathered up to the next call, so that each call sees everything before it on disk."""
        writes: list[WriteJob] = []
        finished: list[Callable[[], None]] = []
        for job, done in batch:
            if isinstance(job, WriteJob):
                writes.append(job)
                finished.append(done)
            else:
                self._write(writes, finished)
                finished.append(partial(done, self._call(job)))
        self._write(writes, finished)

    def _write(self, writes: list[WriteJob], finished: list[Callable[[], None]]) -> None:
        while writes:
            try:
                write_all(self._log, self._snapshots, writes)
                self.syncs += 1
            except NO_ROOM:
                self._wait_for_room()
                if self._stopping:
                    return
        if finished:
            done, finished[:] = list(finished), []
            self._post(lambda: self._finish(done))

    def _call(self, work: Callable[[], Any]) -> Any:
        while True:
            try:
                return work()
            except LogFull:
                self._wait_for_room()
                if self._stopping:
                    raise

    def _wait_for_room(self) -> None:
        self._no_segment = True
        self._look_ahead.set()
        time.sleep(FULL_RETRY_S)

    def _finish(self, done: list[Callable[[], None]]) -> None:
        self._busy -= len(done)
        for callback in done:
            callback()


class BackgroundThread:
    """Long work, one job at a time; its errors are as fatal as the disk's."""

    def __init__(self, post: Callable[[Callable[[], None]], Any], on_fatal: Callable[[BaseException], None]):
        self._post, self._on_fatal = post, on_fatal
        self._queue: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]]] = SimpleQueue()
        threading.Thread(target=self._run, name="background", daemon=True).start()

    def run(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Queue `work`; `done` runs on the loop with what it returned."""
        self._queue.put((work, done))

    def _run(self) -> None:
        while True:
            work, done = self._queue.get()
            try:
                result = work()
            except BaseException as error:
                self._post(partial(self._on_fatal, error))
                return
            self._post(partial(done, result))
