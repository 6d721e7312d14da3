"""Damage is refused by name and place, and nothing is touched; a torn tail is not taken for it."""

from __future__ import annotations

import pytest

from app.raft.types import HardState
from app.storage import Identity, LogDamaged, SegmentedLog, UnknownFormat, WrongIdentity, format
from app.storage.format import HEADER_BYTES
from tests.sim.disk import SimFileSystem
from tests.storage.helpers import (
    DIRECTORY,
    IDENTITY,
    NO_LIMIT,
    append_synced,
    content,
    entries,
    open_log,
    segment_paths,
)

pytestmark = pytest.mark.usefixtures("files")


def damaged_log() -> tuple[SimFileSystem, SegmentedLog, int]:
    """Three segments, written in synced batches; and where in the last segment the last batch begins."""
    fs = SimFileSystem()
    log = open_log(fs)
    first = 1
    while len(segment_paths(fs)) < 3 or log._segments[-1].end_bytes < HEADER_BYTES + 1500:
        append_synced(log, entries(first, first + 2, size=90), HardState(first, 1))
        first += 3
    last_batch = log._segments[-1].end_bytes
    append_synced(log, entries(first, first + 2, size=90))
    return fs, log, last_batch


def refusal(fs: SimFileSystem) -> LogDamaged:
    before = fs.image()
    with pytest.raises(LogDamaged) as caught:
        open_log(fs)
    assert fs.image() == before
    return caught.value


def test_every_flipped_byte_before_the_last_batch_is_damage_and_nothing_is_changed() -> None:
    fs, log, last_batch = damaged_log()
    ends = [segment.end_bytes for segment in log._segments[:-1]] + [last_batch]
    starts = []
    for segment in log._segments:
        view = memoryview(fs.image()[segment.path])
        places = [HEADER_BYTES]
        while (record := format.record_at(view, places[-1], places[-1], segment.seed)) is not None:
            places.append(places[-1] + format.RECORD_BYTES + record[0])
        starts.append(places)
    fs.kill()
    for path, end, places in zip(segment_paths(fs), ends, starts, strict=True):
        # Of the header's zeros a few are enough, and of the middle segment.
        step = 7 if path == segment_paths(fs)[1] else 1
        for offset in (*range(120), *range(120, HEADER_BYTES, 97), *range(HEADER_BYTES, end, step)):
            flip = 1 << (offset % 8)
            fs.corrupt(path, offset, flip)
            error = refusal(fs)
            assert error.path == path
            assert error.offset == max((place for place in places if place <= offset), default=0)
            assert path in str(error) and f"byte {error.offset}" in str(error) and "peers" in str(error)
            fs.corrupt(path, offset, flip)
    assert len(content(open_log(fs))) == log.last_index


def test_a_lost_sector_before_the_last_batch_is_damage() -> None:
    fs, _, last_batch = damaged_log()
    fs.kill()
    path = segment_paths(fs)[-1]
    for start in range(HEADER_BYTES, last_batch - 512, 512):
        held = fs.open(path).pread(512, start)
        fs.open(path).pwrite(bytes(512), start)
        error = refusal(fs)
        assert error.path == path and error.offset <= start + 512
        fs.open(path).pwrite(held, start)


def test_a_flip_in_the_last_batch_cannot_be_told_from_a_torn_tail() -> None:
    fs, log, last_batch = damaged_log()
    last_index = log.last_index
    fs.kill()
    fs.corrupt(segment_paths(fs)[-1], last_batch + 3)
    assert open_log(fs).last_index == last_index - 3


def test_a_missing_segment_is_named() -> None:
    fs, _, _ = damaged_log()
    fs.kill()
    path = segment_paths(fs)[1]
    fs.rename(path, f"{DIRECTORY}/elsewhere")
    error = refusal(fs)
    assert error.path == path and "missing" in str(error)


def test_a_segment_under_another_name_is_damage() -> None:
    fs, _, _ = damaged_log()
    fs.kill()
    _, second, third = segment_paths(fs)
    fs.rename(third, f"{DIRECTORY}/elsewhere")
    fs.rename(second, third)
    fs.rename(f"{DIRECTORY}/elsewhere", second)
    assert "renamed" in str(refusal(fs))


@pytest.mark.parametrize("size", [0, 100, HEADER_BYTES, 8191])
@pytest.mark.parametrize("position", [0, 2])
def test_a_shortened_file_is_damage(size: int, position: int) -> None:
    fs, _, _ = damaged_log()
    fs.kill()
    path = segment_paths(fs)[position]
    fs.open(path).truncate(size)
    assert refusal(fs).path == path


def test_a_record_that_changes_while_the_log_is_open_is_found_on_reading() -> None:
    fs, log, _ = damaged_log()
    segment = log._segments[1]
    for position in (0, 5):
        index = segment.base_index + 1 + position
        for offset in (segment.offsets[position], segment.offsets[position] + format.RECORD_BYTES + 7):
            fs.corrupt(segment.path, offset)
            with pytest.raises(LogDamaged) as caught:
                log.read(1, log.last_index, NO_LIMIT)
            assert (caught.value.path, caught.value.offset) == (segment.path, segment.offsets[position])
            assert f"entry {index}" in str(caught.value)
            fs.corrupt(segment.path, offset)
    assert len(content(log)) == log.last_index


@pytest.mark.parametrize(
    "other",
    [
        Identity(IDENTITY.cluster + 1, IDENTITY.group, IDENTITY.node, IDENTITY.incarnation),
        Identity(IDENTITY.cluster, IDENTITY.group + 1, IDENTITY.node, IDENTITY.incarnation),
        Identity(IDENTITY.cluster, IDENTITY.group, IDENTITY.node + 1, IDENTITY.incarnation),
    ],
)
def test_another_log_s_directory_is_refused(other: Identity) -> None:
    fs, _, _ = damaged_log()
    fs.kill()
    before = fs.image()
    with pytest.raises(WrongIdentity, match="its own data directory"):
        SegmentedLog.open(fs, DIRECTORY, other, segment_bytes=8192)
    assert fs.image() == before


def test_segments_of_two_disks_do_not_mix() -> None:
    fs, _, _ = damaged_log()
    other = SimFileSystem()
    stranger = Identity(IDENTITY.cluster, IDENTITY.group, IDENTITY.node, IDENTITY.incarnation + 1)
    log = SegmentedLog.open(other, DIRECTORY, stranger, segment_bytes=8192)
    append_synced(log, entries(1, 100, size=90))
    fs.kill()
    path = segment_paths(fs)[1]
    fs.open(path).pwrite(other.image()[path], 0)
    with pytest.raises(WrongIdentity, match="more than one log"):
        open_log(fs)


def test_a_later_format_is_refused_with_both_versions_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = SimFileSystem()
    with monkeypatch.context() as patched:
        patched.setattr(format, "VERSION", 7)
        open_log(fs).close()
    before = fs.image()
    with pytest.raises(UnknownFormat, match="log format 7; this program reads and writes 1"):
        open_log(fs)
    assert fs.image() == before
