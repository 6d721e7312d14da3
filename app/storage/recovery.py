"""Reading a log back: what it holds, whether its end is a torn tail, or whether it is damaged.

Theory. A segment is sealed (synced) before the next one gets its name, and the next one's header says where it ended.
So every byte of a sealed segment up to there must be valid: anything else is damage. In the last segment the records
end at the first place X where no valid record stands. No valid record head from there on, only zeros or what an earlier
segment left in the file: a clean end. Otherwise either a batch that was never synced was cut short by a crash, in any
order of its sectors, or durable bytes have changed. A head whose `batch_start` lies above X says that all before that
place was durable: damage. No such head: a torn tail, to be cut. (What this cannot see: damage inside the very last
synced batch looks like a torn tail.)

Rules of this file:
- `recover` only reads. All is verified before anything is changed, and `Recovered.repair` does the changes.
- Every step of a repair can be cut short by a crash and done again.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from app.raft.types import HardState
from app.storage.errors import LogDamaged, UnknownFormat, WrongIdentity
from app.storage.filesystem import FileSystem
from app.storage.format import (
    HARD_STATE,
    HEADER_BYTES,
    MARKER,
    MARKER_OFFSET,
    RECORD_BYTES,
    VERSION,
    Identity,
    decode_hard_state,
    decode_header,
    header_version,
    record_at,
    record_head_at,
)
from app.storage.segment import Segment, segment_name, segment_sequence

_ZERO_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Recovered:
    """A verified log, and what has yet to be done to its files before it may be used."""

    segments: list[Segment]
    hard_state: HardState
    dead_paths: list[str]
    tail: Tail

    def repair(self, fs: FileSystem, directory: str) -> None:
        """Make everything that was read durable, cut the torn tail for good, remove dead segments."""
        self.tail.repair()
        # A name seen here may be one that a former life did not get to sync.
        fs.sync_dir(directory)
        for path in self.dead_paths:
            fs.unlink(path)
            fs.sync_dir(directory)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the last segment, and its last batch."""

    segment: Segment
    batch_start_bytes: int
    batch: bytes

    def repair(self) -> None:
        """Write the last batch again, zeros after it to the segment's end, sync.

        The last batch may be in the page cache alone: its sync never happened, or failed, and after a failed sync the
        kernel holds the pages for clean, so that only writing them again gets them to the disk. So it may be with the
        zeros of an earlier repair. And they go to the end: of a torn record's head a half may be there that is no head,
        until what is written next completes it.
        """
        segment, size_bytes = self.segment, self.segment.header.size_bytes
        if self.batch:
            segment.file.pwrite(self.batch, self.batch_start_bytes)
        for offset in range(segment.end_bytes, size_bytes, _ZERO_CHUNK_BYTES):
            segment.file.pwrite(bytes(min(_ZERO_CHUNK_BYTES, size_bytes - offset)), offset)
        segment.file.datasync()
        segment.synced_bytes = segment.end_bytes


def recover(fs: FileSystem, directory: str, identity: Identity) -> Recovered | None:
    """Read and verify the log in `directory`, changing nothing; None when it holds none.

    Raises `LogDamaged`, `WrongIdentity` or `UnknownFormat`.
    """
    sequences = [found for found in map(segment_sequence, fs.listdir(directory)) if found is not None]
    if not sequences:
        return None
    segments = _open_segments(fs, directory, identity, sequences)
    dead_paths = [f"{directory}/{segment_name(s)}" for s in sequences if s < segments[0].header.sequence]
    # A crash in the middle of a compaction can leave segments that a later header has cut off altogether.
    base = min(segment.base_index for segment in segments)
    while segments[0].base_index != base:
        dead_paths.append(segments.pop(0).path)
    hard_state = segments[0].header.hard_state
    for position, following in enumerate(segments[1:], 1):
        _read_sealed(segments[position - 1], following, hard_state)
        _cut_off(segments[:position], following)
        hard_state = following.header.hard_state
    hard_state, tail = _read_last(segments[-1], hard_state)
    return Recovered(segments, hard_state, dead_paths, tail)


def _open_segments(fs: FileSystem, directory: str, identity: Identity, sequences: list[int]) -> list[Segment]:
    """From the last segment back to the one that began the log anew: what lies before that is dead, gaps and all."""
    segments: list[Segment] = []
    for position in range(len(sequences) - 1, -1, -1):
        path = f"{directory}/{segment_name(sequences[position])}"
        if segments and segments[0].header.sequence != sequences[position] + 1:
            missing = f"{directory}/{segment_name(segments[0].header.sequence - 1)}"
            raise LogDamaged(missing, 0, "this segment file is missing")
        segments.insert(0, _open_segment(fs, path, sequences[position], identity))
        if segments[0].header.reset:
            break
    incarnations = {segment.header.identity.incarnation for segment in segments}
    if len(incarnations) != 1:
        raise WrongIdentity(f"{directory} holds segments of more than one log: keep only those that belong together")
    return segments


def _open_segment(fs: FileSystem, path: str, sequence: int, identity: Identity) -> Segment:
    file = fs.open(path)
    block = file.pread(HEADER_BYTES, 0)
    version = header_version(block)
    if version is None:
        raise LogDamaged(path, 0, "the segment header does not match its checksum")
    if version != VERSION:
        raise UnknownFormat(
            f"{path} has log format {version}; this program reads and writes {VERSION}: run the version that wrote it"
        )
    header = decode_header(block)
    stored = header.identity
    if (stored.cluster, stored.group, stored.node) != (identity.cluster, identity.group, identity.node):
        raise WrongIdentity(
            f"{path} belongs to cluster {stored.cluster:#x}, group {stored.group}, node {stored.node}; wanted is "
            f"cluster {identity.cluster:#x}, group {identity.group}, node {identity.node}: give this node its own "
            "data directory"
        )
    if header.sequence != sequence:
        raise LogDamaged(path, 0, f"the file was renamed: its header says segment {header.sequence}")
    size = file.size()
    if size != header.size_bytes:
        raise LogDamaged(path, min(size, header.size_bytes), f"{size} bytes long, not {header.size_bytes}")
    return Segment(file, path, header)


def _read_sealed(segment: Segment, following: Segment, hard_state: HardState) -> None:
    end_bytes = following.header.previous_end_bytes
    _scan(segment, memoryview(segment.file.pread(end_bytes, 0)), hard_state)
    if segment.end_bytes != end_bytes:
        raise LogDamaged(
            segment.path, segment.end_bytes, f"no valid record here, although the segment was sealed at {end_bytes}"
        )
    segment.synced_bytes = end_bytes


def _cut_off(earlier: list[Segment], following: Segment) -> None:
    """Drop what `following` replaces; its base must be an entry, or the base, of those before it."""
    base = following.base_index
    holder = next(segment for segment in reversed(earlier) if segment.base_index <= base)
    if base > holder.last_index or holder.term(base) != following.header.base_term:
        raise LogDamaged(following.path, 0, f"it goes on from entry {base}, with which the segments before disagree")
    for segment in earlier:
        segment.drop_above(base)


def _read_last(segment: Segment, hard_state: HardState) -> tuple[HardState, Tail]:
    data = segment.file.pread(segment.header.size_bytes, 0)
    view = memoryview(data)
    hard_state, batch_start = _scan(segment, view, hard_state)
    _refuse_damage(segment, data, view)
    return hard_state, Tail(segment, batch_start, data[batch_start : segment.end_bytes])


def _refuse_damage(segment: Segment, data: bytes, view: memoryview) -> None:
    """Raise `LogDamaged` when anything after the last valid record proves that its end was durable and went on."""
    hole = segment.end_bytes
    found = data.find(MARKER, hole)
    while found >= 0:
        start = found - MARKER_OFFSET
        head = record_head_at(view, start, start, segment.seed) if start >= hole else None
        if head is not None and head[2] > hole:
            why = f"no valid record here, although one was durable when that at {start} was written"
            raise LogDamaged(segment.path, hole, why)
        found = data.find(MARKER, found + 1)


def _scan(segment: Segment, view: memoryview, hard_state: HardState) -> tuple[HardState, int]:
    """Index the valid records from the segment's start; (the last hard state, where the last record's batch began)."""
    seed = segment.seed
    base_index = segment.base_index
    last_index = base_index
    last_term = segment.header.base_term
    offsets, lengths, terms = array("I"), array("I"), array("Q")
    offset = batch_start = HEADER_BYTES
    while (record := record_at(view, offset, offset, seed)) is not None:
        length, batch_start, kind, index, term = record
        data = offset + RECORD_BYTES
        if kind == HARD_STATE:
            hard_state = decode_hard_state(term, bytes(view[data : data + length]))
        else:
            if index <= last_index:
                keep = index - base_index - 1
                if keep >= 0:
                    del offsets[keep:], lengths[keep:], terms[keep:]
                    last_index = index - 1
                    last_term = terms[-1] if terms else segment.header.base_term
            if index != last_index + 1 or term < last_term:
                raise LogDamaged(segment.path, offset, f"entry {index} of term {term} follows entry {last_index}")
            offsets.append(offset)
            lengths.append(length)
            terms.append(term)
            last_index, last_term = index, term
        offset = data + length
    segment.end_bytes = offset
    segment.offsets, segment.lengths, segment.terms = offsets, lengths, terms
    return hard_state, batch_start
