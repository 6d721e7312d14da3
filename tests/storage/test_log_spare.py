"""Spares: made on another thread, at any moment, between any two steps of an append, too; or used before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from app.raft.types import Entry, Kind
from app.storage import SegmentedLog, spare
from app.storage.format import RECORD_BYTES
from tests.sim.disk import SECTOR_BYTES, SimFile, SimFileSystem
from tests.storage.helpers import DIRECTORY, append_synced, content, entries, entry, open_log, segment_paths

STEPS = [(SimFile, "pwrite"), (SimFile, "datasync"), (SimFileSystem, "rename"), (SimFileSystem, "sync_dir")]
SEGMENTS = 6


class Meddler:
    """Prepares a spare before each step of the file system whose number is among `at`."""

    def __init__(self, at: Callable[[int], bool]) -> None:
        self.at, self.log, self.steps, self.busy = at, None, 0, False

    def meddle(self) -> None:
        log: SegmentedLog | None = self.log
        if log is None or self.busy or log._spares._lock.locked():
            return
        self.busy = True
        if self.at(self.steps):
            assert log.prepare()
        self.steps += 1
        self.busy = False


@pytest.fixture
def meddled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[int], bool]], Meddler]]:
    def start(at: Callable[[int], bool]) -> Meddler:
        meddler = Meddler(at)
        for kind, name in STEPS:
            monkeypatch.setattr(kind, name, before(getattr(kind, name), meddler))
        return meddler

    def before(real: Callable[..., Any], meddler: Meddler) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            meddler.meddle()
            return real(*arguments)

        return step

    yield start


def fill(meddler: Meddler) -> tuple[SimFileSystem, int]:
    """Append over several segments, many entries at a time, then lose the power."""
    fs = SimFileSystem()
    meddler.log = log = open_log(fs)
    while len([name for name in fs.listdir("/data/log") if name.endswith(".log")]) < SEGMENTS:
        append_synced(log, entries(log.last_index + 1, log.last_index + 7, size=60))
    meddler.log = None
    log.close()
    fs.crash(Random(7))
    return fs, log.last_index


@pytest.mark.parametrize("rhythm", [1, 2, 3, 5, 7])
def test_a_spare_made_between_any_two_steps_takes_nobodys_name(meddled: Any, rhythm: int) -> None:
    """Else the blank that an append had taken was replaced by a new one: its entries lay in a file without a name."""
    fs, last = fill(meddled(lambda step: step % rhythm == 0))
    assert content(open_log(fs)) == entries(1, last, size=60)


# -- used again ---------------------------------------------------------------------------------------------


def spares(fs: SimFileSystem) -> int:
    return sum(name.startswith("spare") for name in fs.listdir(DIRECTORY))


def compacted(fs: SimFileSystem, last: int = 150) -> SegmentedLog:
    """A log that has let go of some segments."""
    log = open_log(fs)
    append_synced(log, entries(1, last, size=80))
    log.compact(last)
    return log


def test_what_compaction_drops_becomes_the_next_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = SimFileSystem()
    log = compacted(fs)
    before = spares(fs)
    assert before >= 2
    monkeypatch.setattr(SimFileSystem, "allocate", None)
    size = log.size_bytes()
    for first in range(151, 151 + 30 * before, 30):
        assert log.prepare()
        append_synced(log, entries(first, first + 29, size=80))
    assert spares(fs) < before and log.size_bytes() == size
    fs.crash(Random(1))
    assert content(open_log(fs))[-30 * before :] == entries(151, 150 + 30 * before, size=80)


@pytest.mark.parametrize(("most_bytes", "most", "kept"), [(8 * 8192, 64, 8), (1 << 30, 5, 5), (100, 64, 1)])
def test_a_bounded_number_is_kept(monkeypatch: pytest.MonkeyPatch, most_bytes: int, most: int, kept: int) -> None:
    fs = SimFileSystem()
    monkeypatch.setattr(spare, "MOST", most)
    monkeypatch.setattr(spare, "MOST_BYTES", most_bytes)
    log = compacted(fs, last=2000)
    assert spares(fs) == kept
    assert log.size_bytes() == 8192 * (kept + len(segment_paths(fs)))
    for extra in ("spare-a", "spare-b"):
        fs.allocate(f"{DIRECTORY}/{extra}", 8192 if extra == "spare-a" else 100)
    fs.kill()
    open_log(fs)
    assert spares(fs) == kept


def test_where_the_disk_is_nearly_full_one_stays() -> None:
    fs = SimFileSystem()
    log = compacted(fs)
    before, size = spares(fs), log.size_bytes()
    assert before > 1 and log.prepare() and spares(fs) == before
    assert log.prepare(scarce=True) and spares(fs) == 1
    assert log.size_bytes() == size - 8192 * (before - 1)
    append_synced(log, entries(151, 300, size=80))
    log.close()
    assert content(open_log(fs)) == entries(log.first_index, 300, size=80)


def test_a_spare_of_another_size_is_not_kept() -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    append_synced(log, [entry(1, size=20_000)])
    append_synced(log, entries(2, 100, size=80))
    log.compact(100)
    sizes = {fs.open(f"{DIRECTORY}/{name}").size() for name in fs.listdir(DIRECTORY)}
    assert sizes == {8192}


def test_the_next_life_takes_spares_over_and_gives_none_the_name_of_another() -> None:
    fs = SimFileSystem()
    compacted(fs)
    one = next(name for name in fs.listdir(DIRECTORY) if name.startswith("spare"))
    fs.rename(f"{DIRECTORY}/{one}", f"{DIRECTORY}/spare")  # as the first versions called theirs
    fs.kill()
    before = spares(fs)
    log = open_log(fs)
    append_synced(log, entries(151, 600, size=80))
    log.compact(600)
    assert spares(fs) >= before
    log.close()
    assert content(open_log(fs)) == entries(log.first_index, 600, size=80)


def test_what_is_read_meanwhile_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = SimFileSystem()
    log = open_log(fs)
    append_synced(log, entries(1, 150, size=80))
    real, compactions = SimFile.pread, []

    def pread(file: SimFile, n: int, offset: int) -> bytes:
        if not compactions:
            compactions.append(log.first_index)
            log.compact(150)
            append_synced(log, entries(151, 400, size=80))
        return real(file, n, offset)

    monkeypatch.setattr(SimFile, "pread", pread)
    assert log.read(1, 150, 1 << 20) == entries(1, 150, size=80)
    assert compactions == [1] and log.first_index > 1


def lose(fs: SimFileSystem, log: SegmentedLog, lost: Callable[[int], bool]) -> None:
    """The power goes: of the sectors written since the last sync, those with such numbers are as they were."""
    inode = log._segments[-1].file._inode
    for sector, old in inode.dirty.items():
        if lost(sector):
            inode.data[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = old.ljust(SECTOR_BYTES, b"\0")
    inode.dirty.clear()
    fs.kill()


@pytest.mark.parametrize("here", range(20, RECORD_BYTES))
def test_the_half_of_a_lost_record_is_not_completed_by_the_next_one(here: int) -> None:
    """A review found it: the other half is the zeros that end each head, and the next record brought them."""
    fs = SimFileSystem()
    log = compacted(fs)
    append_synced(log, entries(151, 180, size=80))
    last = log._segments[-1].end_bytes
    append_synced(log, [entry(181, size=(-here - last - RECORD_BYTES) % SECTOR_BYTES)])
    edge = log._segments[-1].end_bytes // SECTOR_BYTES
    assert log._segments[-1].end_bytes % SECTOR_BYTES == SECTOR_BYTES - here
    log.append(None, [Entry(182, 6, Kind.COMMAND, b"")])
    lose(fs, log, lambda sector: sector != edge)
    log = open_log(fs)
    assert log.last_index == 181
    log.append(None, [Entry(182, 7, Kind.COMMAND, b"another")])
    lose(fs, log, lambda sector: sector == edge)
    log = open_log(fs)
    assert log.last_index == 181


@pytest.mark.parametrize("seed", range(100))
def test_a_repair_whose_sync_failed_is_done_again(seed: int) -> None:
    """A review found it: the zeros were in the page cache alone, and held for durable."""
    fs, rng, size = SimFileSystem(), Random(seed), SECTOR_BYTES - RECORD_BYTES
    log = open_log(fs)
    append_synced(log, entries(1, 1, size=size))
    log.append(None, entries(2, 7, size=size))
    fs.crash(rng)
    fs.fail_next("datasync")
    with pytest.raises(OSError, match="simulated sync error"):
        open_log(fs)
    fs.kill()
    log = open_log(fs)
    append_synced(log, [entry(log.last_index + 1, term=3, size=size)])
    wanted = content(log)
    fs.crash(rng)
    assert content(open_log(fs)) == wanted


@pytest.mark.parametrize("seed", range(20))
def test_a_log_that_goes_round_and_round_survives_every_crash(seed: int) -> None:
    """Batches of one size, so that an old record stands wherever the end may be."""
    fs, rng, first = SimFileSystem(), Random(seed), 1
    for _ in range(40):
        log = open_log(fs)
        assert log.last_index >= first - 1
        wanted = content(log)
        assert wanted == entries(log.first_index, log.last_index)
        for _ in range(rng.randrange(1, 5)):
            append_synced(log, entries(log.last_index + 1, log.last_index + 20))
        first = log.last_index + 1
        log.compact(log.last_index - 10)
        log.append(None, entries(first, first + rng.randrange(30)))
        fs.crash(rng)
