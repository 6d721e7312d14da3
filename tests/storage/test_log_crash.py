"""Crashes: at every byte of a write, in every order of its sectors, at every file operation."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from app.raft.types import Entry, HardState
from app.storage import LogFailed, SegmentedLog, format
from app.storage.format import RECORD_BYTES
from tests.sim.disk import SimCrash, SimFileSystem
from tests.storage.helpers import DIRECTORY, IDENTITY, append_synced, content, entries, entry, open_log, segment_paths

pytestmark = pytest.mark.usefixtures("files")

Work = Callable[[SegmentedLog], None]


def last_segment(log: SegmentedLog) -> tuple[str, int]:
    """(path, where the next record goes)."""
    segment = log._segments[-1]
    return segment.path, segment.end_bytes


def put(fs: SimFileSystem, path: str, data: bytes) -> None:
    """What the disk holds after the crash."""
    fs.kill()
    file = fs.open(path)
    file.pwrite(data, 0)
    file.datasync()


def assert_clean_after(fs: SimFileSystem, log: SegmentedLog) -> None:
    path, end = last_segment(log)
    assert not any(fs.image()[path][end:])


@pytest.mark.parametrize("batch", [[entry(5, 2, 300)], [entry(5, 2, 30), entry(6, 2, 0), entry(7, 2, 90)]])
@pytest.mark.parametrize("hard_state", [None, HardState(2, 1)])
def test_a_crash_at_every_byte_of_a_write(batch: list[Entry], hard_state: HardState | None) -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    append_synced(log, entries(1, 4), HardState(1, 0))
    path, start = last_segment(log)
    before = fs.image()[path]
    log.append(hard_state, batch)
    _, end = last_segment(log)
    after = fs.image()[path]
    whole_after = [start + (52 if hard_state else 0)]
    for one in batch:
        whole_after.append(whole_after[-1] + RECORD_BYTES + len(one.data))
    for cut in range(start, end + 1):
        put(fs, path, after[:cut] + before[cut:])
        log = open_log(fs)
        # A last byte that is zero is there before it is written.
        full = max(cut, *(place for place in whole_after if after[:place] == (after[:cut] + before[cut:])[:place]), 0)
        survivors = sum(place <= full for place in whole_after[1:])
        assert content(log) == entries(1, 4) + batch[:survivors]
        assert log.hard_state == (hard_state if hard_state and whole_after[0] <= full else HardState(1, 0))
        assert_clean_after(fs, log)
        append_synced(log, [entry(log.last_index + 1, 3)])
        wanted = content(log)
        fs.kill()
        assert content(open_log(fs)) == wanted


def test_a_crash_at_every_byte_of_the_first_write() -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    path, start = last_segment(log)
    before = fs.image()[path]
    log.append(None, [entry(1)])
    _, end = last_segment(log)
    after = fs.image()[path]
    for cut in range(start, end):
        put(fs, path, after[:cut] + before[cut:])
        assert content(open_log(fs)) == []


def test_a_batch_whose_first_record_alone_was_lost_is_a_torn_tail_and_never_comes_back() -> None:
    fs = SimFileSystem()
    log = open_log(fs, segment_bytes=1 << 16)
    append_synced(log, entries(1, 3))
    path, start = last_segment(log)
    before = fs.image()[path]
    log.append(None, [entry(4, size=5000)])
    _, second = last_segment(log)
    log.append(None, entries(5, 6, size=5000))
    after = fs.image()[path]
    put(fs, path, after[:start] + before[start:second] + after[second:])
    log = open_log(fs, segment_bytes=1 << 16)
    assert content(log) == entries(1, 3)
    assert_clean_after(fs, log)
    # Of the same length, so that the lost batch's second record would follow without a gap.
    append_synced(log, [entry(4, term=2, size=5000)])
    fs.kill()
    assert content(open_log(fs, segment_bytes=1 << 16)) == [*entries(1, 3), entry(4, term=2, size=5000)]


@pytest.mark.parametrize("seed", range(60))
def test_sectors_of_an_unsynced_batch_reach_the_disk_in_any_order(seed: int) -> None:
    rng = Random(seed)
    fs = SimFileSystem()
    log = open_log(fs, segment_bytes=1 << 16)
    append_synced(log, entries(1, 3), HardState(1, 1))
    for index in range(4, 12):
        log.append(HardState(index, 0), [entry(index, size=rng.choice((0, 100, 3000)))])
    wanted = content(log)
    fs.crash(rng)
    for _ in range(3):
        log = open_log(fs, segment_bytes=1 << 16)
        found = content(log)
        assert len(found) >= 3 and found == wanted[: len(found)]
        assert log.hard_state.term in (found[-1].index, found[-1].index + 1) or len(found) == 3
        wanted = found
        fs.crash(rng)


@pytest.mark.parametrize("knows_the_seed", [False, True])
def test_a_message_that_imitates_a_later_record_does_not_turn_a_torn_tail_into_damage(knows_the_seed: bool) -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    append_synced(log, entries(1, 3))
    path, start = last_segment(log)
    before = fs.image()[path]
    log.append(None, [entry(4)])
    _, second = last_segment(log)
    imitation: list[bytes] = []
    seed = log._segments[-1].seed if knows_the_seed else 0
    format.encode_entries(seed, second + 1000, second + 500, IDENTITY.group, entries(5, 5), imitation)
    log.append(None, [Entry(5, 1, 0, b"".join(imitation) * 5)])
    after = fs.image()[path]
    put(fs, path, after[:start] + before[start:second] + after[second:])
    assert content(open_log(fs)) == entries(1, 3)


def _append_across(log: SegmentedLog) -> None:
    log.append(HardState(2, 2), entries(31, 150, term=2, size=60))
    log.sync()


def _replace_across(log: SegmentedLog) -> None:
    log.append(HardState(2, 2), entries(5, 9, term=2))
    log.sync()


def _append_large(log: SegmentedLog) -> None:
    log.append(None, [entry(101, size=20_000), *entries(102, 105)])
    log.sync()


def _compact(log: SegmentedLog) -> None:
    log.compact(90)


def _reset(log: SegmentedLog) -> None:
    log.reset(70, 1)


def _reset_far_ahead(log: SegmentedLog) -> None:
    log.reset(1000, 1)


def _prepare(log: SegmentedLog) -> None:
    log.prepare()


def filled(fs: SimFileSystem) -> SegmentedLog:
    log = open_log(fs)
    append_synced(log, entries(1, 100, size=60), HardState(1, 1))
    return log


@pytest.mark.parametrize(
    "work", [_append_across, _replace_across, _append_large, _compact, _reset, _reset_far_ahead, _prepare]
)
def test_a_crash_at_every_file_operation(work: Work) -> None:
    done_log = filled(SimFileSystem())
    work(done_log)
    done = content(done_log)
    assert done_log.hard_state.term >= 1
    before = entries(1, 100, size=60)
    resets = work in (_reset, _reset_far_ahead)
    at = 0
    finished = False
    seen = set()
    while not finished:
        at += 1
        for seed in range(6):
            fs = SimFileSystem()
            log = filled(fs)
            fs.crash_at = fs.operations + at
            try:
                work(log)
                finished = True
            except SimCrash:
                pass
            rng = Random(at * 1000 + seed)
            if seed == 0:
                fs.kill()
            else:
                fs.crash(rng)
            if seed % 2:
                _crash_while_opening(fs, rng)
            log = open_log(fs)
            found = content(log)
            seen.add(len(found))
            assert log.hard_state in (HardState(1, 1), done_log.hard_state)
            assert _is_between(found, before, done, log, resets)
            if finished:
                assert found == done and log.hard_state == done_log.hard_state
                assert log.last_index == done_log.last_index
            append_synced(log, [entry(log.last_index + 1, 9)])
            if resets:
                assert len(segment_paths(fs)) == (1 if log.first_index > 1 else len(segment_paths(fs)))
            wanted = content(log)
            fs.crash(rng)
            assert content(open_log(fs)) == wanted
    assert at > 2 or work is _prepare
    assert len(seen) >= (1 if work is _prepare else 2)


def _crash_while_opening(fs: SimFileSystem, rng: Random) -> None:
    fs.crash_at = fs.operations + rng.randrange(1, 6)
    try:
        open_log(fs)
    except SimCrash:
        pass
    fs.crash(rng)


def _is_between(found: list[Entry], before: list[Entry], done: list[Entry], log: SegmentedLog, resets: bool) -> bool:
    """A beginning of what was there or of what was being written, less whole segments from the front."""
    if resets:
        return found in (before, done)
    first = log.first_index
    kept = [one for one in before if one.index >= first]
    written = [one for one in done if one.index >= first]
    agrees = min((i for i, (a, b) in enumerate(zip(before, done, strict=False)) if a != b), default=len(before))
    return found == kept or (found == written[: len(found)] and log.last_index >= min(agrees, 100))


def test_a_crash_at_every_operation_of_making_the_log() -> None:
    for at in range(1, 12):
        for seed in range(5):
            fs = SimFileSystem()
            fs.crash_at = at
            try:
                open_log(fs)
            except SimCrash:
                pass
            fs.crash(Random(seed))
            log = open_log(fs)
            assert (log.first_index, log.last_index) == (1, 0)
            append_synced(log, entries(1, 3))
            fs.crash(Random(seed))
            assert content(open_log(fs)) == entries(1, 3)


def test_a_process_that_is_killed_loses_nothing_that_was_written() -> None:
    fs = SimFileSystem()
    log = filled(fs)
    log.append(HardState(3, 0), entries(101, 140, term=3))
    fs.kill()
    log = open_log(fs)
    assert content(log) == entries(1, 100, size=60) + entries(101, 140, term=3)
    # What a reopened log shows, it may vouch for: it must be durable.
    fs.crash(Random(1))
    assert content(open_log(fs)) == entries(1, 100, size=60) + entries(101, 140, term=3)


@pytest.mark.parametrize("seed", range(10))
def test_after_a_failed_sync_the_next_life_saves_what_it_finds(seed: int) -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    append_synced(log, entries(1, 5), HardState(1, 1))
    log.append(HardState(2, 2), entries(6, 20, term=2))
    fs.fail_next("datasync")
    with pytest.raises(OSError, match="simulated sync error"):
        log.sync()
    for refused in (log.sync, log.prepare, lambda: log.append(None, [entry(21, 2)]), lambda: log.reset(50, 2)):
        with pytest.raises(LogFailed, match="failed"):
            refused()
    fs.kill()
    log = open_log(fs)
    found = content(log)
    assert found == entries(1, 5) + entries(6, 20, term=2)
    fs.crash(Random(seed))
    assert content(open_log(fs)) == found


@pytest.mark.parametrize("seed", range(10))
def test_after_a_failed_write_nothing_synced_is_lost(seed: int) -> None:
    fs = SimFileSystem()
    log = filled(fs)
    fs.fail_next("pwrite")
    with pytest.raises(OSError, match="simulated write error"):
        log.append(None, entries(101, 105))
    with pytest.raises(LogFailed):
        log.sync()
    assert log.last_index == 100
    if seed % 2:
        fs.crash(Random(seed))
    else:
        fs.kill()
    found = content(open_log(fs))
    assert found[:100] == entries(1, 100, size=60)
    assert found[100:] == entries(101, 105)[: len(found) - 100]


def test_leftovers_of_a_former_life_are_used_or_removed() -> None:
    fs = SimFileSystem()
    log = filled(fs)
    log.prepare()
    fs.allocate(f"{DIRECTORY}/9.tmp", 100)
    fs.sync_dir(DIRECTORY)
    fs.kill()
    log = open_log(fs)
    assert "9.tmp" not in fs.listdir(DIRECTORY)
    fs.full = True
    log.append(None, entries(101, 180))
    assert content(log)[100:] == entries(101, 180)
