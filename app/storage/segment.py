"""One segment file, with the index of its live entries in memory.

Rules of this file:
- Bytes only ever go to the end of a segment; an entry that replaces others is written after them.
- Two steps: `write` puts records into the file, `publish` makes them visible to readers. The caller holds the log's
  lock for `publish` and `drop_above`, and for every use of the arrays.
- The index costs 16 bytes an entry, whatever its size.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.raft.types import Entry, HardState
from app.storage.errors import LogDamaged
from app.storage.filesystem import File, FileSystem
from app.storage.format import (
    HARD_STATE_BYTES,
    HEADER_BYTES,
    RECORD_BYTES,
    Header,
    encode_entries,
    encode_hard_state,
    record_at,
)

# Below this, reading over a gap of dead records is cheaper than a second system call.
_GAP_BYTES = 16 << 10
_HARD_STATE_SHARE = 64


@dataclass(frozen=True, slots=True)
class Blank:
    """A file whose blocks are all allocated, whatever they hold, that is to become a segment."""

    file: File
    path: str
    size_bytes: int


class Written(NamedTuple):
    """Records that are in the file and not yet in the index."""

    end_bytes: int
    offsets: list[int]
    lengths: list[int]
    terms: list[int]
    first_index: int


def usable_bytes(size_bytes: int) -> int:
    """What entries may take of a segment of this size.

    The rest is kept for hard states alone, so that a node on a full disk can still vote for others.
    """
    return size_bytes - HEADER_BYTES - size_bytes // _HARD_STATE_SHARE


def size_for_bytes(record_bytes: int) -> int:
    """The smallest sensible segment for one record that is too large for an ordinary one."""
    payload = record_bytes + HARD_STATE_BYTES
    size = HEADER_BYTES + payload + payload // (_HARD_STATE_SHARE - 1) + _HARD_STATE_SHARE
    size = -(-size // HEADER_BYTES) * HEADER_BYTES
    assert usable_bytes(size) >= payload
    return size


class Segment:
    """Entries with indices above `base_index`, and hard states, in one file."""

    __slots__ = (
        "_group",
        "base_index",
        "end_bytes",
        "entry_limit_bytes",
        "file",
        "header",
        "lengths",
        "offsets",
        "path",
        "seed",
        "synced_bytes",
        "terms",
    )

    def __init__(self, file: File, path: str, header: Header) -> None:
        self.file = file
        self.path = path
        self.header = header
        self.base_index = header.base_index
        self.entry_limit_bytes = HEADER_BYTES + usable_bytes(header.size_bytes)
        """No entry may end after this; hard states may."""
        self._group = header.identity.group
        self.seed = header.seed()
        self.end_bytes = HEADER_BYTES
        """Where the next record goes. Only the disk thread changes it."""
        self.synced_bytes = HEADER_BYTES
        """All before this is durable. Only the disk thread changes it."""
        self.offsets = array("I")
        self.lengths = array("I")
        self.terms = array("Q")

    @classmethod
    def begin(cls, fs: FileSystem, directory: str, blank: Blank, header: Header) -> Segment:
        """Give a blank its header and its name, durably: from the rename on, the log has this segment."""
        blank.file.pwrite(header.encode(), 0)
        blank.file.datasync()
        path = f"{directory}/{segment_name(header.sequence)}"
        fs.rename(blank.path, path)
        fs.sync_dir(directory)
        return cls(blank.file, path, header)

    @property
    def last_index(self) -> int:
        """The last live entry here; `base_index` when there is none."""
        return self.base_index + len(self.offsets)

    def write(self, hard_state: HardState | None, entries: Sequence[Entry]) -> Written:
        """Put the records at the end of the file, unsynced, in one write. They must fit."""
        offset = self.end_bytes
        group = self._group
        parts: list[bytes] = []
        if hard_state is not None:
            parts.append(encode_hard_state(self.seed, offset, self.synced_bytes, group, hard_state))
            offset += HARD_STATE_BYTES
        offsets, lengths = encode_entries(self.seed, offset, self.synced_bytes, group, entries, parts)
        if offsets:
            offset = offsets[-1] + RECORD_BYTES + lengths[-1]
        assert offset <= self.header.size_bytes
        self.file.pwrite(b"".join(parts), self.end_bytes)
        first_index = entries[0].index if offsets else self.last_index + 1
        return Written(offset, offsets, lengths, [entry.term for entry in entries], first_index)

    def publish(self, written: Written) -> None:
        """Make what `write` wrote visible, in place of all entries from its first index on."""
        self.end_bytes = written.end_bytes
        self.drop_above(written.first_index - 1)
        assert written.first_index == self.last_index + 1
        self.offsets.extend(written.offsets)
        self.lengths.extend(written.lengths)
        self.terms.extend(written.terms)

    def drop_above(self, index: int) -> None:
        """Forget entries above `index`. Their bytes stay."""
        keep = max(0, index - self.base_index)
        if keep < len(self.offsets):
            del self.offsets[keep:]
            del self.lengths[keep:]
            del self.terms[keep:]

    def sync(self) -> None:
        """Make all that was written durable, with one system call; none when there is nothing."""
        end_bytes = self.end_bytes
        if self.synced_bytes != end_bytes:
            self.file.datasync()
            self.synced_bytes = end_bytes

    def term(self, index: int) -> int:
        """Of a live entry here, or of the base."""
        position = index - self.base_index - 1
        return self.header.base_term if position < 0 else self.terms[position]

    def bytes_since(self, index: int) -> int:
        """Of records after the entry `index`, dead ones and hard states included."""
        position = index - self.base_index
        if position <= 0:
            return self.end_bytes - HEADER_BYTES
        return self.end_bytes - self.offsets[position] if position < len(self.offsets) else 0

    def span(self, index: int, last: int, budget_bytes: int, *, at_least_one: bool) -> Span | None:
        """Where the entries from `index` to at most `last` lie: all here whose records fit the budget."""
        position = index - self.base_index - 1
        stop = min(last, self.last_index) - self.base_index
        assert 0 <= position < stop
        taken = position
        while taken < stop:
            budget_bytes -= RECORD_BYTES + self.lengths[taken]
            if budget_bytes < 0 and not (at_least_one and taken == position):
                break
            taken += 1
        if taken == position:
            return None
        return Span(self, index, self.offsets[position:taken], self.lengths[position:taken])


@dataclass(frozen=True, slots=True)
class Span:
    """Places of consecutive entries, to be read without any lock: written bytes do not change while somebody reads."""

    segment: Segment
    first_index: int
    offsets: array[int]
    lengths: array[int]

    def total_bytes(self) -> int:
        """Of the records."""
        return RECORD_BYTES * len(self.lengths) + sum(self.lengths)

    def read(self) -> Iterator[Entry]:
        """The entries, each checked against its checksums; `LogDamaged`."""
        done = 0
        while done < len(self.offsets):
            stop = self._run_end(done)
            yield from self._read_run(done, stop)
            done = stop

    def _run_end(self, start: int) -> int:
        stop = start
        while True:
            end_bytes = self.offsets[stop] + RECORD_BYTES + self.lengths[stop]
            stop += 1
            if stop == len(self.offsets) or self.offsets[stop] - end_bytes > _GAP_BYTES:
                return stop

    def _read_run(self, start: int, stop: int) -> Iterator[Entry]:
        origin = self.offsets[start]
        end_bytes = self.offsets[stop - 1] + RECORD_BYTES + self.lengths[stop - 1]
        segment = self.segment
        view = memoryview(segment.file.pread(end_bytes - origin, origin))
        for position in range(start, stop):
            offset = self.offsets[position]
            index = self.first_index + position
            found = record_at(view, offset - origin, offset, segment.seed)
            if found is None or found[0] != self.lengths[position] or found[3] != index:
                raise LogDamaged(segment.path, offset, f"the record of entry {index} does not match its checksum")
            length, _, kind, _, term = found
            data = offset - origin + RECORD_BYTES
            yield Entry(index, term, kind, bytes(view[data : data + length]))


def segment_name(sequence: int) -> str:
    """A segment's file name: it sorts as the sequence does."""
    return f"{sequence:016x}.log"


def segment_sequence(name: str) -> int | None:
    """The inverse; None for the name of anything else."""
    digits, _, ending = name.partition(".")
    if ending != "log" or len(digits) != 16 or not set(digits) <= set("0123456789abcdef"):
        return None
    return int(digits, 16)
