"""What the storage tests share: one identity, a short way to make entries, and to look at a whole log."""

from __future__ import annotations

from app.raft.types import Entry, HardState, Kind
from app.storage import FileSystem, Identity, SegmentedLog

IDENTITY = Identity(cluster=0xC0FFEE, group=0, node=2, incarnation=77)
DIRECTORY = "/data/log"
SMALL_SEGMENT_BYTES = 8192
NO_LIMIT = 1 << 40


def open_log(
    fs: FileSystem, directory: str = DIRECTORY, segment_bytes: int = SMALL_SEGMENT_BYTES, *, begin: bool = True
) -> SegmentedLog:
    return SegmentedLog.open(fs, directory, IDENTITY, segment_bytes=segment_bytes, begin=begin)


def entry(index: int, term: int = 1, size: int = 20) -> Entry:
    """Different for each (index, term)."""
    text = f"{index}/{term}."
    return Entry(index, term, Kind.COMMAND, (text * (size // len(text) + 1)).encode()[:size])


def entries(first: int, last: int, term: int = 1, size: int = 20) -> list[Entry]:
    return [entry(index, term, size) for index in range(first, last + 1)]


def append_synced(log: SegmentedLog, some: list[Entry], hard_state: HardState | None = None) -> None:
    log.append(hard_state, some)
    log.sync()


def content(log: SegmentedLog) -> list[Entry]:
    """Every entry held; checks that `term` agrees with `read`."""
    if log.last_index < log.first_index:
        return []
    found = log.read(log.first_index, log.last_index, NO_LIMIT)
    assert [log.term(one.index) for one in found] == [one.term for one in found]
    assert [one.index for one in found] == list(range(log.first_index, log.last_index + 1))
    return found


def segment_paths(fs: FileSystem, directory: str = DIRECTORY) -> list[str]:
    return [f"{directory}/{name}" for name in fs.listdir(directory) if name.endswith(".log")]
