"""The disk thread: order, one sync for all that waits, waiting out a full disk, and ending at any other error."""

from __future__ import annotations

import errno
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.broker import StateFull
from app.node.disk import BackgroundThread, DiskThread
from app.node.protocols import WriteJob
from app.node.reserve import Reserve
from app.node.snapshots import SnapshotFiles
from app.raft import Chunk, Configuration, Entry, HardState, SnapshotMeta
from app.storage import FileSystem, LogFull, RealFile, RealFileSystem
from tests.sim.disk import SimFileSystem


class RecordingLog:
    """A log that notes what it does. `gate` holds back syncs; `refuse` is raised by the next append."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.refuse: list[Exception] = []
        self.is_synced = True
        self.spare, self.scarce = True, False

    def append(self, hard_state: HardState | None, entries: list[Entry]) -> None:
        if self.refuse:
            raise self.refuse.pop()
        self.calls.append("append " + " ".join(str(entry.index) for entry in entries))
        self.is_synced = False

    def sync(self) -> None:
        if not self.is_synced:
            self.gate.wait(10)
            self.calls.append("sync")
            self.is_synced = True

    def prepare(self, *, scarce: bool) -> bool:
        self.scarce = scarce
        return self.spare


class Bench:
    """A disk thread whose loop is a queue that the test runs by hand."""

    def __init__(self, directory: str, fs: FileSystem, reserve_bytes: int = 0):
        self.fs: Any = fs
        self.log = RecordingLog()
        self.fatal: list[BaseException] = []
        self.posted: queue.Queue[Callable[[], None]] = queue.Queue()
        self.snapshots = SnapshotFiles(fs, f"{directory}/snapshots", 1024)
        reserve = Reserve(fs, directory, reserve_bytes, lambda: 0)
        self.disk = DiskThread(self.log, self.snapshots, reserve, self.posted.put, self.fatal.append)
        self.disk.start()

    def write(self, index: int, done: Callable[[], None]) -> None:
        self.disk.write(WriteJob(None, [Entry(index, 1, 0, b"")], []), done)

    def run_one(self) -> None:
        self.posted.get(timeout=10)()


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    made = Bench(str(tmp_path), RealFileSystem())
    yield made
    made.log.gate.set()
    made.disk.stop(5)


@pytest.fixture
def small() -> Iterator[Bench]:
    """On a disk that can be made full."""
    made = Bench("/disk", SimFileSystem(), reserve_bytes=1 << 20)
    yield made
    made.disk.stop(5)


def test_what_waits_shares_one_sync_and_finishes_in_order(bench: Bench) -> None:
    finished: list[object] = []
    bench.log.gate.clear()
    bench.write(1, lambda: finished.append(1))
    while "append 1" not in bench.log.calls:
        pass
    bench.write(2, lambda: finished.append(2))
    bench.write(3, lambda: finished.append(3))
    assert finished == [] and not bench.disk.idle
    bench.log.gate.set()
    bench.run_one()
    bench.run_one()
    assert finished == [1, 2, 3]
    assert bench.log.calls == ["append 1", "sync", "append 2", "append 3", "sync"]
    assert bench.disk.idle


def test_a_call_sees_everything_before_it_durable(bench: Bench) -> None:
    seen: list[object] = []
    bench.write(1, lambda: None)
    bench.disk.call(lambda: list(bench.log.calls), seen.append)
    while not seen:
        bench.run_one()
    assert seen == [["append 1", "sync"]]


def test_a_full_disk_is_waited_out(bench: Bench) -> None:
    finished: list[int] = []
    bench.log.refuse = [LogFull("no room"), LogFull("no room")]
    bench.write(1, lambda: finished.append(1))
    while not finished:
        bench.run_one()
    assert bench.log.calls == ["append 1", "sync"]
    assert bench.fatal == []


def test_a_snapshot_that_finds_no_room_is_waited_for_and_the_entries_beside_it_are_written_once(small: Bench) -> None:
    fs, finished = small.fs, list[int]()
    meta = SnapshotMeta(9, 1, Configuration(()), 6)
    small.disk.write(WriteJob(None, [], [Chunk(meta, 0, b"abc", False)]), lambda: finished.append(1))
    small.run_one()
    fs.full = True
    small.disk.write(WriteJob(None, [Entry(1, 1, 0, b"")], [Chunk(meta, 3, b"def", True)]), lambda: finished.append(2))
    while not small.disk.full:
        pass
    assert finished == [1] and small.fatal == []
    fs.full = False
    while len(finished) < 2:
        small.run_one()
    assert small.log.calls == ["append 1", "sync"]
    assert fs.image()[small.snapshots.staging_path] == b"abcdef"
    assert small.fatal == []


def test_what_was_written_before_a_chunk_found_no_room_is_synced_before_anybody_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a reader: the second try saw a chunk alone, and synced nothing, so a vote left that was on no disk."""
    finished: list[object] = []
    stage, refusals = bench.snapshots.stage, [StateFull("no room")]

    def refuse_once(chunk: Chunk) -> None:
        if refusals:
            raise refusals.pop()
        stage(chunk)

    monkeypatch.setattr(bench.snapshots, "stage", refuse_once)
    bench.log.gate.clear()
    bench.write(1, lambda: None)
    while "append 1" not in bench.log.calls:
        pass
    bench.write(2, lambda: finished.append(list(bench.log.calls)))
    chunk = Chunk(SnapshotMeta(9, 1, Configuration(()), 6), 0, b"abcdef", True)
    bench.disk.write(WriteJob(None, [], [chunk]), lambda: finished.append(refusals))
    bench.log.gate.set()
    while len(finished) < 2:
        bench.run_one()
    assert finished == [["append 1", "sync", "append 2", "sync"], []]


def test_room_for_a_snapshot_is_what_the_reserve_leaves(small: Bench) -> None:
    while not small.disk.has_room(1):
        pass
    fs = small.fs
    fs.capacity_bytes = 10 << 20
    while small.disk.has_room(10 << 20):
        pass
    assert small.disk.has_room(1 << 20)


def test_a_short_disk_has_spares_given_up(small: Bench) -> None:
    while not small.disk.has_room(1):
        pass
    assert not small.log.scarce
    small.fs.full = True
    while not (small.disk.full and small.log.scarce):
        pass
    small.fs.full = False
    while small.disk.full or small.log.scarce:
        pass


def test_no_spare_segment_means_full(bench: Bench) -> None:
    bench.log.spare = False
    while not bench.disk.full:
        pass
    bench.log.spare = True
    while bench.disk.full:
        pass


def test_any_other_error_is_fatal_and_nothing_is_acknowledged(bench: Bench) -> None:
    finished: list[int] = []
    bench.log.refuse = [OSError(5, "input/output error")]
    bench.write(1, lambda: finished.append(1))
    bench.run_one()
    assert [type(error) for error in bench.fatal] == [OSError]
    assert finished == []


def test_background_work_runs_one_at_a_time_and_its_errors_are_fatal() -> None:
    posted: queue.Queue[Callable[[], None]] = queue.Queue()
    fatal: list[BaseException] = []
    results: list[object] = []
    background = BackgroundThread(posted.put, fatal.append)
    background.run(lambda: 1, results.append)
    background.run(lambda: 2, results.append)
    background.run(lambda: 1 // 0, results.append)
    for _ in range(3):
        posted.get(timeout=10)()
    assert results == [1, 2]
    assert [type(error) for error in fatal] == [ZeroDivisionError]


def test_a_call_that_finds_no_room_is_tried_again(bench: Bench) -> None:
    """The log's reset after a snapshot needs a segment; without room for it nothing was changed."""
    results: list[object] = []
    refusals = [LogFull("no room")]

    def reset() -> str:
        if refusals:
            raise refusals.pop()
        return "done"

    bench.disk.call(reset, results.append)
    while not results:
        bench.run_one()
    assert results == ["done"]
    assert bench.fatal == []


def test_what_the_state_is_yet_to_take_is_no_room(small: Bench) -> None:
    small.fs.capacity_bytes = 200 << 20
    owed = [0]
    reserve = Reserve(small.fs, "/disk", 50 << 20, lambda: owed[0])
    assert reserve.free_bytes is None
    for owed_mib, scarce, short in ((0, False, False), (30, True, False), (160, True, True), (0, False, False)):
        owed[0] = owed_mib << 20
        free_bytes = small.fs.free_bytes("/disk")
        reserve.check()
        assert reserve.free_bytes == free_bytes
        assert (reserve.scarce, reserve.short) == (scarce, short)
    reserve.release()
    assert reserve.scarce and reserve.short


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_the_ballast_is_a_full_disk_also_where_it_is_a_quota(tmp_path: Path, code: int) -> None:
    class Refusing(RealFileSystem):
        def allocate(self, path: str, size: int) -> RealFile:
            raise OSError(code, os.strerror(code))

    reserve = Reserve(Refusing(), str(tmp_path), 0, lambda: 0)
    reserve.check()
    assert reserve.short
