"""A full disk: the spare is used up first, then appends are refused and nothing else is."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random

import pytest

from app.raft.types import HardState
from app.storage import LogFull, RealFile, RealFileSystem, SegmentedLog
from tests.sim.disk import SimFileSystem
from tests.storage.helpers import append_synced, content, entries, entry, open_log, segment_paths

pytestmark = pytest.mark.usefixtures("files")


def fill(log: SegmentedLog) -> int:
    """Append until it is refused; the last entry that went in."""
    while True:
        before = content(log), log.hard_state, log.tail_bytes_since(0)
        try:
            append_synced(log, [entry(log.last_index + 1, size=60)])
        except LogFull:
            assert (content(log), log.hard_state, log.tail_bytes_since(0)) == before
            return log.last_index


def test_the_spare_is_used_before_an_append_is_refused() -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    log.prepare()
    fs.full = True
    assert log.prepare()
    fill(log)
    assert len(segment_paths(fs)) == 2
    assert not log.prepare()


def test_a_refused_append_changes_nothing_and_goes_through_when_there_is_room() -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    fs.full = True
    last = fill(log)
    image = fs.image()
    with pytest.raises(LogFull, match="free disk space"):
        log.append(HardState(5, 1), entries(last + 1, last + 90, size=60))
    with pytest.raises(LogFull):
        log.append(HardState(5, 1), [entry(last + 1, term=5, size=90_000)])
    assert fs.image() == image
    assert log.hard_state == HardState()
    assert content(log) == entries(1, last, size=60)
    fs.full = False
    assert log.prepare()
    append_synced(log, entries(last + 1, last + 90, size=60), HardState(5, 1))
    fs.crash(Random(1))
    log = open_log(fs)
    assert content(log) == entries(1, last + 90, size=60)
    assert log.hard_state == HardState(5, 1)


def test_an_append_that_needs_more_than_the_spare_uses_nothing_of_it() -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    log.prepare()
    fs.capacity_bytes = 5 * 8192
    with pytest.raises(LogFull):
        log.append(None, entries(1, 500, size=60))
    assert log.last_index == 0
    assert [name.rstrip("0123456789") for name in fs.listdir("/data/log")] == ["0000000000000001.log", "spare"]
    append_synced(log, entries(1, 100, size=60))
    assert content(log) == entries(1, 100, size=60)


def test_a_node_with_a_full_disk_can_still_vote() -> None:
    fs = SimFileSystem()
    log = open_log(fs, segment_bytes=1 << 16)
    fs.full = True
    last = fill(log)
    for term in range(2, 20):
        append_synced(log, [], HardState(term, term % 3))
    fs.crash(Random(1))
    log = open_log(fs, segment_bytes=1 << 16)
    assert log.hard_state == HardState(19, 1)
    assert log.last_index == last
    with pytest.raises(LogFull):
        for term in range(20, 200):
            log.append(HardState(term, 0), [])
    assert log.hard_state.term == term - 1
    fs.full = False
    append_synced(log, [], HardState(5000, 0))
    fs.crash(Random(1))
    assert open_log(fs, segment_bytes=1 << 16).hard_state == HardState(5000, 0)


def test_compaction_makes_room() -> None:
    fs = SimFileSystem(capacity_bytes=5 * 8192)
    log = open_log(fs)
    log.prepare()
    last = fill(log)
    assert not log.prepare()
    log.compact(last)
    assert log.prepare()
    append_synced(log, [entry(last + 1)])
    assert content(log)[-1] == entry(last + 1)


def test_a_reset_without_room_leaves_the_log_as_it_was() -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    append_synced(log, entries(1, 50))
    fs.full = True
    with pytest.raises(LogFull):
        log.reset(100, 3)
    assert content(log) == entries(1, 50)
    append_synced(log, [entry(51)])
    fs.full = False
    log.reset(100, 3)
    assert (log.first_index, log.term(100)) == (101, 3)


def test_a_log_cannot_be_made_on_a_full_disk() -> None:
    fs = SimFileSystem()
    fs.full = True
    with pytest.raises(LogFull):
        open_log(fs)
    fs.full = False
    assert open_log(fs).last_index == 0


def test_the_real_file_system_leaves_nothing_of_an_allocation_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_file: RealFile, _data: bytes, _offset: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    log = open_log(RealFileSystem(), str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(RealFile, "pwrite", no_space)
        assert not log.prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["0000000000000001.log"]
    assert log.prepare()
    append_synced(log, entries(1, 3))
    assert content(log) == entries(1, 3)
