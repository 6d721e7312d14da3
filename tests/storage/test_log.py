"""The log in fair weather, on the real disk and on the simulated one."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from app.raft.types import Entry, HardState, Kind
from app.storage import FileSystem, Identity, LogInUse, LogMissing, RealFileSystem, SegmentedLog
from tests.sim.disk import SimFileSystem
from tests.storage.helpers import (
    IDENTITY,
    NO_LIMIT,
    append_synced,
    content,
    entries,
    entry,
    open_log,
    segment_paths,
)


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileSystem, str]:
    if request.param == "real":
        return RealFileSystem(), str(tmp_path / "deep" / "log")
    return SimFileSystem(), "/deep/log"


def reopened(place: tuple[FileSystem, str], log: SegmentedLog) -> SegmentedLog:
    log.close()
    return open_log(*place)


def test_a_fresh_log_is_empty(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    assert (log.first_index, log.last_index, log.term(0)) == (1, 0, 0)
    assert log.hard_state == HardState()
    log = reopened(place, log)
    assert (log.first_index, log.last_index, log.term(0)) == (1, 0, 0)


def test_where_one_must_be_there_none_is_begun(place: tuple[FileSystem, str]) -> None:
    """Found by a trial: the refusal left a log behind, so the second try found one."""
    fs, directory = place
    for _ in range(2):
        with pytest.raises(LogMissing, match="this node's votes"):
            open_log(*place, begin=False)
    assert not segment_paths(fs, directory)
    open_log(*place).close()
    open_log(*place, begin=False).close()


def test_what_was_written_is_read_back_after_reopening(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    first = [Entry(1, 1, Kind.NOOP, b""), Entry(2, 1, Kind.CONFIGURATION, b"\0" * 9), *entries(3, 9)]
    append_synced(log, first, HardState(1, 0))
    append_synced(log, entries(10, 12, term=4), HardState(4, 2))
    append_synced(log, [], HardState(5, -1))
    wanted = first + entries(10, 12, term=4)
    assert content(log) == wanted
    log = reopened(place, log)
    assert content(log) == wanted
    assert log.hard_state == HardState(5, -1)


def test_entries_are_readable_before_they_are_synced(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    log.append(None, entries(1, 3))
    assert content(log) == entries(1, 3)


def test_read_gives_at_least_one_entry_and_stays_within_the_bytes_allowed(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    for index in range(1, 200):
        log.append(None, [entry(index, size=56)])
        log.prepare()
    assert len(segment_paths(*place)) > 3
    assert log.read(1, 199, 0) == [entry(1, size=56)]
    assert log.read(150, 199, 1) == [entry(150, size=56)]
    assert log.read(5, 199, 1000) == entries(5, 14, size=56)
    assert log.read(5, 199, 999) == entries(5, 13, size=56)
    assert log.read(5, 7, NO_LIMIT) == entries(5, 7, size=56)
    assert log.read(1, 199, NO_LIMIT) == entries(1, 199, size=56)


def test_what_is_not_there_is_an_index_error(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    for outside in (-1, 1):
        with pytest.raises(IndexError):
            log.term(outside)
    append_synced(log, entries(1, 3))
    log.reset(10, 3)
    append_synced(log, entries(11, 12, term=3))
    assert log.term(10) == 3
    for outside in (9, 13):
        with pytest.raises(IndexError):
            log.term(outside)
    for lo, hi in ((10, 11), (11, 13), (12, 11), (1, 3)):
        with pytest.raises(IndexError):
            log.read(lo, hi, NO_LIMIT)


def test_a_replaced_entry_and_all_after_it_stay_dead(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    append_synced(log, entries(1, 10))
    append_synced(log, entries(4, 5, term=2))
    wanted = entries(1, 3) + entries(4, 5, term=2)
    assert content(log) == wanted
    log = reopened(place, log)
    assert content(log) == wanted
    append_synced(log, entries(6, 6, term=2))
    append_synced(log, entries(1, 1, term=3))
    log = reopened(place, log)
    assert content(log) == entries(1, 1, term=3)


@pytest.mark.parametrize("first", [1, 31, 32, 60, 150])
def test_replacing_reaches_across_segments(place: tuple[FileSystem, str], first: int) -> None:
    log = open_log(*place)
    append_synced(log, entries(1, 150, size=80))
    assert len(segment_paths(*place)) > 4
    append_synced(log, entries(first, first + 1, term=2))
    wanted = entries(1, first - 1, size=80) + entries(first, first + 1, term=2)
    assert content(log) == wanted
    log = reopened(place, log)
    assert content(log) == wanted
    append_synced(log, entries(first + 2, first + 80, term=2, size=90))
    log = reopened(place, log)
    assert content(log) == wanted + entries(first + 2, first + 80, term=2, size=90)


def test_replaced_entries_stay_dead_below_a_compaction(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    append_synced(log, entries(1, 150, size=80))
    append_synced(log, entries(20, 90, term=2, size=80))
    append_synced(log, entries(40, 45, term=3))
    for index in (19, 30, 39, 42, 45):
        log.compact(index)
        assert log.first_index <= index + 1
        wanted = entries(1, 19, size=80) + entries(20, 39, term=2, size=80) + entries(40, 45, term=3)
        before = content(log), log.first_index, log.term(log.first_index - 1)
        assert before[0] == wanted[log.first_index - 1 :]
        log = reopened(place, log)
        assert (content(log), log.first_index, log.term(log.first_index - 1)) == before
    assert log.first_index > 30


def test_compaction_drops_whole_segments_and_keeps_the_hard_state(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    append_synced(log, entries(1, 150, size=80), HardState(3, 1))
    before, paths = log.size_bytes(), segment_paths(*place)
    log.compact(75)
    assert 60 < log.first_index <= 76
    assert len(segment_paths(*place)) < len(paths) and log.size_bytes() == before
    assert log.term(log.first_index - 1) == 1
    log.compact(10)
    assert log.first_index > 60
    log.compact(1000)
    assert log.first_index <= 151
    assert log.last_index == 150
    log = reopened(place, log)
    assert log.hard_state == HardState(3, 1)
    assert content(log) == entries(log.first_index, 150, size=80)


def test_reset_starts_over_and_keeps_the_hard_state(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    append_synced(log, entries(1, 150, size=80))
    log.append(HardState(9, 2), [])
    for index, term in ((500, 8), (200, 8), (0, 0), (7, 9)):
        log.reset(index, term)
        assert len(segment_paths(*place)) == 1
        for _ in range(2):
            assert (log.first_index, log.last_index, log.term(index)) == (index + 1, index, term)
            assert log.hard_state == HardState(9, 2)
            log = reopened(place, log)
        append_synced(log, entries(index + 1, index + 3, term=9))
        log = reopened(place, log)
        assert content(log) == entries(index + 1, index + 3, term=9)


def test_a_record_larger_than_a_segment_gets_a_segment_of_its_own(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    wanted = [entry(1), entry(2, size=50_000), entry(3), entry(4, size=4000), entry(5, size=70_000), entry(6)]
    append_synced(log, wanted[:3], HardState(1, 1))
    append_synced(log, wanted[3:])
    assert content(log) == wanted
    log = reopened(place, log)
    assert content(log) == wanted
    assert log.read(1, 6, 60_000) == wanted[:4]


def test_many_appends_with_one_sync(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    for index in range(1, 300):
        log.append(HardState(index, index % 3), [entry(index, term=index)])
    log.sync()
    log = reopened(place, log)
    assert content(log) == [entry(index, term=index) for index in range(1, 300)]
    assert log.hard_state == HardState(299, 299 % 3)


def test_the_stored_incarnation_wins(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    assert log.identity == IDENTITY
    log.close()
    other = Identity(IDENTITY.cluster, IDENTITY.group, IDENTITY.node, 12345)
    assert SegmentedLog.open(*place, other, segment_bytes=8192).identity == IDENTITY


def test_the_segment_size_may_change(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    append_synced(log, entries(1, 50, size=80))
    log.prepare()
    log.close()
    log = open_log(*place, segment_bytes=16384)
    append_synced(log, entries(51, 200, size=80))
    assert content(reopened(place, log)) == entries(1, 200, size=80)


def test_bytes_are_counted_from_an_entry_to_the_end(place: tuple[FileSystem, str]) -> None:
    log = open_log(*place)
    append_synced(log, entries(1, 150, size=56))
    assert [log.tail_bytes_since(index) for index in (150, 149, 140, 0)] == [0, 100, 1000, 15_000]
    log.compact(75)
    assert log.tail_bytes_since(0) == 100 * (151 - log.first_index)


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    fs = RealFileSystem()
    log = open_log(fs, str(tmp_path))
    with pytest.raises(LogInUse, match="in use by another process"):
        open_log(fs, str(tmp_path))
    log.close()
    open_log(fs, str(tmp_path)).close()


def test_a_reader_on_another_thread_sees_whole_entries(tmp_path: Path) -> None:
    log = open_log(RealFileSystem(), str(tmp_path))
    append_synced(log, entries(1, 10))
    problems: list[BaseException] = []
    reads = 0
    done = threading.Event()

    def read_all_the_time() -> None:
        nonlocal reads
        try:
            while not done.is_set():
                lo, hi = log.first_index, log.last_index
                try:
                    found = log.read(lo, hi, 5000)
                    log.term(hi)
                except IndexError:
                    continue
                reads += 1
                assert [one.index for one in found] == list(range(lo, lo + len(found)))
                assert all(one == entry(one.index, one.term) for one in found)
        except BaseException as problem:
            problems.append(problem)

    reader = threading.Thread(target=read_all_the_time)
    reader.start()
    term = 1
    for turn in itertools.count():
        if turn >= 120 and (reads > 10 or problems):
            break
        if turn % 3 == 0:
            term += 1
            first = max(log.first_index, log.last_index - turn % 90)
        else:
            first = log.last_index + 1
        log.append(None, entries(first, first + 30, term))
        if turn % 20 == 0:
            log.compact(log.last_index - 100)
        if turn % 50 == 49:
            log.reset(log.last_index + 5, term)
            append_synced(log, entries(log.last_index + 1, log.last_index + 9, term))
        log.prepare()
    done.set()
    reader.join()
    assert problems == []
    assert reads > 10
