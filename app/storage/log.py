"""The segmented write-ahead log: entries and hard states of one Raft group on one disk.

Theory. Records go to the end of the last segment, and `sync` makes all that waits durable with one fdatasync. An entry
whose index is taken replaces the old one and all after it: the later record wins, also after a restart. When a
replacement reaches below the last segment, a new segment is begun whose header cuts the earlier ones off, so that a
segment never needs one that compaction has removed. What compaction is done with is used again (`spare`). See `format`
for the bytes, `recovery` for reading them back.

Rules of this file:
- `append`, `sync`, `compact` and `reset` belong to one thread, the disk thread. `term`, `read`, the indices and the
  byte counts may be used from others at the same time; `prepare` too. The lock is held for memory alone, never during
  a system call. `close` comes when all of them have ended.
- Room for all records of an append is found before the first byte is written: `LogFull` leaves everything as it was.
- After any other failure of a write or sync nothing more is written: what the disk holds is unknown (fail-stop).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise

from app.raft.types import Entry, HardState
from app.storage.errors import LogFailed, LogMissing
from app.storage.filesystem import Closeable, FileSystem
from app.storage.format import HARD_STATE_BYTES, HEADER_BYTES, RECORD_BYTES, Header, Identity
from app.storage.recovery import recover
from app.storage.segment import Blank, Segment, Span, size_for_bytes, usable_bytes
from app.storage.spare import Spares

SEGMENT_BYTES = 16 << 20
_LEAST_SEGMENT_BYTES = 2 * HEADER_BYTES
_MOST_SEGMENT_BYTES = 1 << 31


class SegmentedLog:
    """A durable log of entries `first_index` to `last_index`, and a hard state."""

    def __init__(
        self, fs: FileSystem, directory: str, segment_bytes: int, spares: Spares, held: Closeable, identity: Identity
    ) -> None:
        """Use `open`."""
        self._fs = fs
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._spares = spares
        self._held = held
        self._lock = threading.Lock()
        self._fail_stop = _FailStop(directory)
        self._segments: list[Segment] = []
        self._reads = 0
        """How many go on now."""
        self.identity = identity
        """Whose log this is, with the incarnation of the disk that holds it."""
        self.hard_state = HardState()
        """The last one written; durable after `sync`."""
        self.first_index = 1
        """The oldest entry held; `last_index + 1` when there is none."""
        self.last_index = 0
        """The newest entry held; `first_index - 1` when there is none."""

    @classmethod
    def open(
        cls, fs: FileSystem, directory: str, identity: Identity, *,
        segment_bytes: int = SEGMENT_BYTES, begin: bool = True,
    ) -> SegmentedLog:  # fmt: skip
        """Open the log in `directory`; where there is none, begin one. All that the result holds is durable.

        `begin`: whether there may be none. Cluster, group and node must be those the log was made with; the stored
        incarnation wins. `segment_bytes` holds for new segments. Raises `LogDamaged` (nothing is changed then),
        `WrongIdentity`, `UnknownFormat`, `LogInUse`, `LogMissing`, `LogFull` (only where it begins one), `OSError`.
        """
        assert _LEAST_SEGMENT_BYTES <= segment_bytes <= _MOST_SEGMENT_BYTES
        fs.makedirs(directory)
        held = fs.lock(directory)
        try:
            spares = Spares(fs, directory, segment_bytes)
            log = cls(fs, directory, segment_bytes, spares, held, identity)
            recovered = recover(fs, directory, identity)
            if recovered is None and not begin:
                raise LogMissing(directory)
            if recovered is not None:
                recovered.repair(fs, directory)
            spares.adopt()
            if recovered is None:
                log._start_over(0, 0)
            else:
                log._segments = recovered.segments
                log.identity = recovered.segments[0].header.identity
                log.hard_state = recovered.hard_state
                log.first_index = recovered.segments[0].base_index + 1
                log.last_index = recovered.segments[-1].last_index
            return log
        except BaseException:
            held.close()
            raise

    def term(self, index: int) -> int:
        """The term of an entry, or of the one before the first (0 on a fresh log); else `IndexError`."""
        with self._lock:
            if not self.first_index - 1 <= index <= self.last_index:
                raise IndexError(f"entry {index} is not in the log ({self.first_index} to {self.last_index})")
            return self._holding(index).term(index) if index >= self.first_index else self._segments[0].term(index)

    def read(self, lo: int, hi: int, max_bytes: int) -> list[Entry]:
        """Entries `lo` to `hi`, both included: at least one, and no more than fit `max_bytes` of records.

        A record is its data and 44 bytes. `IndexError` when any is not in the log; `LogDamaged` when one's bytes on
        disk have changed.
        """
        with self._lock:
            if not self.first_index <= lo <= hi <= self.last_index:
                raise IndexError(f"entries {lo} to {hi} are not in the log ({self.first_index} to {self.last_index})")
            spans = self._spans(lo, hi, max_bytes)
            self._reads += 1
        try:
            return [entry for span in spans for entry in span.read()]
        finally:
            with self._lock:
                self._reads -= 1

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Write a hard state, then entries; durable after `sync`.

        `entries` are consecutive, their terms never fall, and the first follows or replaces an entry held. What it
        replaces, and all after that, stays dead. After a crash before the sync any beginning of this sequence may be
        there. `LogFull`: nothing was written. `LogFailed`, `OSError`: end the process.
        """
        if not entries and hard_state is None:
            return
        first = entries[0].index if entries else self.last_index + 1
        assert self.first_index <= first <= self.last_index + 1, "an append may not leave a gap"
        assert not entries or entries[0].term >= self.term(first - 1), "terms never fall"
        assert len(entries) <= 1 or _are_consecutive(entries)
        segment = self._segments[-1]
        with self._fail_stop:
            end_bytes = segment.end_bytes + RECORD_BYTES * len(entries) + sum([len(entry.data) for entry in entries])
            if hard_state is not None:
                end_bytes += HARD_STATE_BYTES
            limit_bytes = segment.entry_limit_bytes if entries else segment.header.size_bytes
            if end_bytes <= limit_bytes and first > segment.base_index:
                self._write(hard_state, entries)
            else:
                self._append_across(hard_state, entries, first)
        if hard_state is not None:
            self.hard_state = hard_state

    def sync(self) -> None:
        """Make everything written so far durable, with one fdatasync; none when all is. Raises as `append`."""
        with self._fail_stop:
            self._segments[-1].sync()

    def compact(self, index: int) -> None:
        """Drop whole segments in which no entry above `index` lives. `first_index` rises to what is then the oldest.

        Never drops the segment being written, so the log stays within about a segment of what was asked for.
        """
        with self._fail_stop:
            keep = self._first_needed(min(index, self.last_index))
            with self._lock:
                dropped = self._segments[:keep]
                del self._segments[:keep]
                self.first_index = self._segments[0].base_index + 1
                unread = not self._reads  # Whoever reads now may read what was just dropped; nobody begins to later.
            for segment in dropped:
                if not (unread and self._spares.keep(segment.file, segment.path, segment.header.size_bytes)):
                    self._fs.unlink(segment.path)
                # One at a time, oldest first: a gap in the sequence must always mean damage.
                self._fs.sync_dir(self._directory)

    def reset(self, index: int, term: int) -> None:
        """Drop every entry; the next one is `index + 1`, after one of `term`. The hard state stays. Durable.

        After a crash at any step either the old log or the new, empty one is there. `LogFull`: nothing was changed.
        """
        assert index >= 0 and term >= 0
        with self._fail_stop:
            dropped = list(self._segments)
            self._start_over(index, term)
            for segment in dropped:
                self._fs.unlink(segment.path)
            self._fs.sync_dir(self._directory)

    def prepare(self, *, scarce: bool = False) -> bool:
        """Make a spare segment if there is none; False when the disk is full. With `scarce` all others go.

        Writes `segment_bytes` of zeros and syncs them, which takes a while: it may run on a thread of its own, beside
        all other methods.
        """
        with self._fail_stop:
            return self._spares.prepare(scarce=scarce)

    def size_bytes(self) -> int:
        """What the log takes on disk: all segments at full size, with the spares."""
        with self._lock:
            return sum(segment.header.size_bytes for segment in self._segments) + self._spares.size_bytes()

    def tail_bytes_since(self, index: int) -> int:
        """Of all records written after the entry `index`; of all there are when it is older than the log."""
        total = 0
        with self._lock:
            for segment in reversed(self._segments):
                total += segment.bytes_since(index)
                if index >= segment.base_index:
                    break
        return total

    def close(self) -> None:
        """Let go of all files, without a sync. Idempotent."""
        with self._lock:
            for segment in self._segments:
                segment.file.close()
        self._spares.close()
        self._held.close()

    def _append_across(self, hard_state: HardState | None, entries: Sequence[Entry], first: int) -> None:
        """Append what does not fit the last segment, or replaces entries of an earlier one."""
        segment = self._segments[-1]
        replaces_earlier = first <= segment.base_index
        state_fits = segment.end_bytes + HARD_STATE_BYTES <= segment.header.size_bytes
        states_here = hard_state is not None and not replaces_earlier and state_fits
        room = segment.entry_limit_bytes - segment.end_bytes - (HARD_STATE_BYTES if states_here else 0)
        if replaces_earlier or (hard_state is not None and not states_here):
            room = 0
        here, pieces = self._divide(entries, room)
        if not entries and not states_here:
            pieces = [(0, 0, self._segment_bytes)]
        blanks = self._spares.take([size for _, _, size in pieces])
        if here or states_here:
            self._write(hard_state if states_here else None, entries[:here])
        if hard_state is not None:
            # From here on the headers carry it; it may stand in no later place than the entries.
            self.hard_state = hard_state
        for blank, (start, stop, _) in zip(blanks, pieces, strict=True):
            base_index = first + start - 1
            self._begin(blank, base_index, entries[start - 1].term if start else self.term(base_index))
            if start < stop:
                self._write(None, entries[start:stop])

    def _divide(self, entries: Sequence[Entry], room: int) -> tuple[int, list[tuple[int, int, int]]]:
        """How many entries fit `room` bytes, and (start, stop, segment size) for each further segment needed."""
        cuts: list[int] = []
        sizes: list[int] = []
        for position, entry in enumerate(entries):
            need = RECORD_BYTES + len(entry.data)
            if need > room:
                fits = need <= usable_bytes(self._segment_bytes)
                cuts.append(position)
                sizes.append(self._segment_bytes if fits else size_for_bytes(need))
                room = usable_bytes(sizes[-1])
            room -= need
        cuts.append(len(entries))
        return cuts[0], list(zip(cuts, cuts[1:], sizes, strict=False))

    def _write(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        segment = self._segments[-1]
        written = segment.write(hard_state, entries)
        with self._lock:
            segment.publish(written)
            self.last_index = segment.last_index

    def _start_over(self, index: int, term: int) -> None:
        """Begin a segment that makes all earlier ones dead."""
        (blank,) = self._spares.take([self._segment_bytes])
        self._begin(blank, index, term, reset=True)

    def _begin(self, blank: Blank, base_index: int, base_term: int, *, reset: bool = False) -> None:
        """Seal the last segment and go on in a new one, in which the entry after `base_index` comes first."""
        sequence, previous_end_bytes = 1, 0
        if self._segments:
            last = self._segments[-1]
            if not reset:
                last.sync()
            sequence, previous_end_bytes = last.header.sequence + 1, last.end_bytes
        header = Header(
            self.identity, sequence, blank.size_bytes, base_index, base_term, self.hard_state, previous_end_bytes, reset
        )
        segment = Segment.begin(self._fs, self._directory, blank, header)
        with self._lock:
            if reset:
                self._segments = []
                self.first_index = base_index + 1
            for earlier in self._segments:
                earlier.drop_above(base_index)
            self._segments.append(segment)
            self.last_index = base_index

    def _first_needed(self, index: int) -> int:
        """Position of the last segment without which every entry above `index` is still there."""
        base = self.last_index + 1
        for position in range(len(self._segments) - 1, 0, -1):
            base = min(base, self._segments[position].base_index)
            if base <= index:
                return position
        return 0

    def _holding(self, index: int) -> Segment:
        """The segment of a live entry: the newest that begins below it."""
        for segment in reversed(self._segments):
            if segment.base_index < index:
                return segment
        raise AssertionError(f"entry {index} lies in no segment")

    def _spans(self, lo: int, hi: int, max_bytes: int) -> list[Span]:
        spans: list[Span] = []
        index = lo
        while index <= hi:
            segment = self._holding(index)
            span = segment.span(index, hi, max_bytes, at_least_one=not spans)
            if span is None:
                break
            spans.append(span)
            index += len(span.offsets)
            max_bytes -= span.total_bytes()
        return spans


class _FailStop:
    """Remembers the first `OSError` inside it, and lets nobody in afterwards."""

    __slots__ = ("_directory", "_error")

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._error: OSError | None = None

    def __enter__(self) -> None:
        if self._error is not None:
            raise LogFailed(f"an earlier write or sync of the log in {self._directory} failed: {self._error}")

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            self._error = error


def _are_consecutive(entries: Sequence[Entry]) -> bool:
    return all(after.index == before.index + 1 and after.term >= before.term for before, after in pairwise(entries))
