"""The core's view of the log: a tail in memory over what the disk holds.

Invariants, held by assertions:
  first_index - 1 <= commit_index <= last_index          and delivered <= commit_index
  every entry that is not yet known durable (index > stable_index) is in the tail, or in a snapshot being installed
  entries at or below commit_index are never truncated
The disk is read only for entries below the tail, which are durable and will not change.

Configurations take effect when they are appended and are undone when they are truncated (dissertation 4.1),
so the log keeps them all from the last committed one on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

import msgspec

from app.raft.types import Configuration, Entry, Kind, SnapshotMeta

_configuration_decoder = msgspec.msgpack.Decoder(Configuration)
READ_BYTES = 1 << 20
NO_DISK = -1
"""What `RaftLog.disk` names while two configurations in play name different disks."""


class LogView(Protocol):
    """What the core reads of the durable log. Never called for an index above what was written."""

    @property
    def first_index(self) -> int: ...

    @property
    def last_index(self) -> int: ...

    def term(self, index: int) -> int:
        """The term at `index`, also at first_index - 1."""
        ...

    def read(self, lo: int, hi: int, max_bytes: int) -> list[Entry]:
        """Entries lo..hi inclusive; at least one; stops before exceeding `max_bytes`."""
        ...


class RaftLog:
    """See the module. `view` is the durable log; `configuration` was in force at `applied_index`."""

    def __init__(self, view: LogView, applied_index: int, configuration: Configuration, cache_bytes: int = 8 << 20):
        self._view = view
        self._cache_bytes = cache_bytes
        self.base_index = view.first_index - 1
        self.base_term = view.term(self.base_index)
        self.last_index = view.last_index
        self.last_term = view.term(view.last_index)
        self.stable_index = view.last_index
        self.commit_index = applied_index
        self.delivered = applied_index
        self.cut: tuple[int, int, int] | None = None
        """What `merge` has cut off last: its first and last index, and the last one's term."""
        self._tail: list[Entry] = []
        self._tail_start = self.last_index + 1
        self._tail_bytes = 0
        self._unwritten = self.last_index + 1
        self._configurations: list[tuple[int, Configuration]] = []
        self._disks: dict[int, int] = {}
        self._play([(applied_index, configuration)])
        assert self.base_index <= applied_index <= self.last_index, "the state and the log must meet"
        self._load_configurations(applied_index + 1)

    def _load_configurations(self, index: int) -> None:
        while index <= self.last_index:
            for entry in self._view.read(index, self.last_index, READ_BYTES):
                self._note_configuration(entry)
                index = entry.index + 1

    def _note_configuration(self, entry: Entry) -> None:
        if entry.kind == Kind.CONFIGURATION:
            self._play([*self._configurations, (entry.index, _configuration_decoder.decode(entry.data))])

    def _play(self, configurations: list[tuple[int, Configuration]]) -> None:
        """These configurations may be in force: the last committed one, and those that stand behind it."""
        self._configurations = configurations
        self._disks = {}
        for _, configuration in configurations:
            for member in configuration.members:
                named = self._disks.get(member.id, 0)
                agreed = member.incarnation in (0, named)
                self._disks[member.id] = named if agreed else NO_DISK if named else member.incarnation

    def disk(self, node: int) -> int:
        """The one disk that may vote and vouch as `node`: 0 is any, NO_DISK none at all for now.

        While a change of disk is not known to be committed neither disk counts. Were the new one to count
        before, both could vote in one term, each for a candidate that trusts another configuration.
        """
        return self._disks.get(node, NO_DISK)

    def admits(self, node: int, incarnation: int) -> bool:
        """Whether this disk may vote and vouch as `node`."""
        return self.disk(node) in (0, incarnation)

    @property
    def first_index(self) -> int:
        """The first entry that can still be read."""
        return self.base_index + 1

    @property
    def tail_bytes(self) -> int:
        """Of the entries' data that is held in memory."""
        return self._tail_bytes

    @property
    def configuration(self) -> Configuration:
        """The latest configuration in the log, committed or not."""
        return self._configurations[-1][1]

    @property
    def configuration_index(self) -> int:
        """Where that configuration stands."""
        return self._configurations[-1][0]

    @property
    def committed_configuration(self) -> Configuration:
        """The latest configuration at or below the commit index."""
        return next(c for index, c in reversed(self._configurations) if index <= self.commit_index)

    def term(self, index: int) -> int:
        """The term of the entry at `index`, for base_index <= index <= last_index. Raises IndexError elsewhere."""
        if index >= self._tail_start and index <= self.last_index:
            return self._tail[index - self._tail_start].term
        if index == self.base_index:
            return self.base_term
        if index < self.base_index or index > self.last_index:
            raise IndexError(f"entry {index} is outside {self.base_index}..{self.last_index}")
        return self._view.term(index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the log holds an entry of this index and term (the consistency check, paper 5.3)."""
        return self.base_index <= index <= self.last_index and self.term(index) == term

    def up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log that ends so is at least as up to date as this one (paper 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def conflict_hint(self, index: int, term: int) -> tuple[int, int]:
        """The largest (index, term) here that could match a log whose entry at `index` has `term`."""
        index = min(index, self.last_index)
        if index < self.base_index:
            return index, 0
        # Terms never fall along a log, so the place is found by bisection: a diverged log may be long.
        span = range(self.base_index, index + 1)
        index = span[max(0, bisect_right(span, term, key=self.term) - 1)]
        return index, self.term(index)

    def entries(self, lo: int, max_bytes: int, hi: int | None = None) -> list[Entry]:
        """Entries from `lo` to `hi` (default: the end): at least one, at most `max_bytes` of them together."""
        hi = self.last_index if hi is None else hi
        assert self.first_index <= lo <= hi <= self.last_index
        if lo < self._tail_start:
            return self._view.read(lo, min(hi, self._tail_start - 1), max_bytes)
        start = lo - self._tail_start
        stop = hi - self._tail_start + 1
        size = 0
        for position in range(start, stop):
            size += len(self._tail[position].data)
            if size > max_bytes and position > start:
                return self._tail[start:position]
        return self._tail[start:stop]

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries at the end. Their indices follow on."""
        for entry in entries:
            assert entry.index == self.last_index + 1 and entry.term >= self.last_term
            self._tail.append(entry)
            self._tail_bytes += len(entry.data)
            self.last_index, self.last_term = entry.index, entry.term
            if entry.kind == Kind.CONFIGURATION:
                self._note_configuration(entry)

    def merge(self, entries: Sequence[Entry]) -> int:
        """Take a leader's entries: skip those already here, cut at the first conflict. Returns the last index of them.

        A delayed message whose entries all match changes nothing: what follows them stays (paper 5.3, step 3).
        """
        for position, entry in enumerate(entries):
            if entry.index <= self.base_index:
                continue
            if entry.index > self.last_index:
                self.append(entries[position:])
                break
            if self.term(entry.index) != entry.term:
                self.cut = (entry.index, self.last_index, self.last_term)
                self._truncate(entry.index)
                self.append(entries[position:])
                break
        return entries[-1].index

    def _truncate(self, index: int) -> None:
        assert index > self.commit_index, (
            f"entry {index} is committed here, as all up to {self.commit_index} are, and must not be cut, but the "
            "leader has another one there: a majority's disks were lost, or older copies put in their place. Stop the "
            "other nodes, and keep this node's directory, which may be all that is left; see docs/operations.md"
        )
        self.last_term = self.term(index - 1)
        self.last_index = index - 1
        if index >= self._tail_start:
            cut = index - self._tail_start
            self._tail_bytes -= sum(len(entry.data) for entry in self._tail[cut:])
            del self._tail[cut:]
        else:
            self._tail, self._tail_start, self._tail_bytes = [], index, 0
        self.stable_index = min(self.stable_index, index - 1)
        self._unwritten = min(self._unwritten, index)
        if self._configurations[-1][0] >= index:
            self._play([(at, configuration) for at, configuration in self._configurations if at < index])

    def reset(self, meta: SnapshotMeta) -> None:
        """Forget all entries: the state now stands at the snapshot. It is not durable until `persisted` says so."""
        assert meta.index > self.commit_index
        self.stable_index = min(self.stable_index, self.commit_index)
        self.base_index = self.last_index = self.commit_index = self.delivered = meta.index
        self.base_term = self.last_term = meta.term
        self._tail, self._tail_start, self._tail_bytes = [], meta.index + 1, 0
        self._unwritten = meta.index + 1
        self._play([(meta.index, meta.configuration)])

    def commit_to(self, index: int) -> bool:
        """Raise the commit index; True when it moved. It never falls."""
        if index <= self.commit_index:
            return False
        assert index <= self.last_index
        self.commit_index = index
        if len(self._configurations) > 1 and self._configurations[1][0] <= index:
            start = sum(at <= index for at, _ in self._configurations) - 1
            self._play(self._configurations[start:])
        return True

    def persisted(self, index: int, term: int) -> None:
        """The disk holds (index, term). Believed only while the log still says the same there."""
        if index > self.stable_index and self.matches(index, term):
            self.stable_index = index

    def take_unwritten(self) -> list[Entry]:
        """Entries not handed to the disk yet, each once; the first may replace what the disk holds there."""
        taken = self._tail[self._unwritten - self._tail_start :]
        self._unwritten = self.last_index + 1
        return taken

    def deliverable(self) -> int:
        """The last index that may be applied: committed by the cluster and durable here."""
        return min(self.commit_index, self.stable_index)

    @property
    def has_undelivered(self) -> bool:
        """Whether `take_committed` has something to give."""
        return self.delivered < self.deliverable()

    def take_committed(self, max_bytes: int) -> list[Entry]:
        """The next committed entries to apply, each once."""
        if not self.has_undelivered:
            return []
        taken = self.entries(self.delivered + 1, max_bytes, self.deliverable())
        self.delivered = taken[-1].index
        return taken

    def release(self) -> None:
        """Let the memory of entries go that are durable and delivered, beyond the cache for slow followers."""
        limit = min(self.stable_index, self.delivered)
        count = 0
        while self._tail_bytes > self._cache_bytes and self._tail_start + count <= limit:
            self._tail_bytes -= len(self._tail[count].data)
            count += 1
        if count:
            del self._tail[:count]
            self._tail_start += count

    def compact(self, index: int) -> None:
        """Give up all entries to `index`; the driver drops them from the disk afterwards, never before."""
        if index <= self.base_index:
            return
        assert index <= min(self.delivered, self.stable_index), "only applied, durable entries may be compacted"
        self.base_index, self.base_term = index, self.term(index)
        if index >= self._tail_start:
            dropped = index - self._tail_start + 1
            self._tail_bytes -= sum(len(entry.data) for entry in self._tail[:dropped])
            del self._tail[:dropped]
            self._tail_start = index + 1
