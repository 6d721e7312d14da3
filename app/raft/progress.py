"""What a leader knows of one member's log, and how fast it may send to it.

    PROBE       where the logs meet is unknown: one message at a time, until an answer
    REPLICATE   they meet at `match`: entries stream ahead of the answers, up to the window
    SNAPSHOT    what it needs is compacted away: chunks, one at a time

Invariant: match < next. `match` is what the member vouched for; it counts for commitment only when the disk
that vouched is the one the cluster admitted under its id (see core: incarnations).
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from app.raft.types import SnapshotMeta


class Pace(IntEnum):
    """See the module."""

    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


class Progress:
    """One member, seen from the leader. Times are in ticks."""

    __slots__ = (
        "match", "next", "pace", "probe_sent", "silent_ticks", "incarnation", "round", "sent_commit",
        "snapshot", "offset", "chunk_age_ticks", "was_silent", "denials",
        "_window", "_in_flight", "_in_flight_bytes", "_window_bytes",
    )  # fmt: skip

    def __init__(self, next_index: int, window: int, window_bytes: int):
        self.match = 0
        self.next = next_index
        self.pace = Pace.PROBE
        self.probe_sent = False
        self.silent_ticks = 0
        self.incarnation = 0
        self.was_silent = False
        """People were told that it does not answer."""
        self.denials = 0
        """Times, one after the other, that it has refused what it had vouched for."""
        self.round = 0
        self.sent_commit = 0
        self.snapshot: SnapshotMeta | None = None
        self.offset = 0
        self.chunk_age_ticks = 0
        self._window = window
        self._window_bytes = window_bytes
        self._in_flight: deque[tuple[int, int]] = deque()
        self._in_flight_bytes = 0

    def may_send(self) -> bool:
        """Whether entries may leave now."""
        if self.pace == Pace.REPLICATE:
            return len(self._in_flight) < self._window and self._in_flight_bytes < self._window_bytes
        return self.pace == Pace.PROBE and not self.probe_sent

    def sent(self, last_index: int, size_bytes: int) -> None:
        """Entries up to `last_index` have left."""
        if self.pace == Pace.REPLICATE:
            self._in_flight.append((last_index, size_bytes))
            self._in_flight_bytes += size_bytes
            self.next = last_index + 1
        else:
            self.probe_sent = True

    def acknowledged(self, index: int) -> bool:
        """The member's log matches up to `index`. True when that is news."""
        while self._in_flight and self._in_flight[0][0] <= index:
            self._in_flight_bytes -= self._in_flight.popleft()[1]
        news = index > self.match
        self.match = max(self.match, index)
        self.next = max(self.next, self.match + 1)
        return news

    def probe(self, next_index: int) -> None:
        """Forget what is under way and ask again from `next_index`."""
        self._clear()
        self.pace = Pace.PROBE
        self.next = max(next_index, self.match + 1)

    def replicate(self) -> None:
        """The logs meet at `match`: stream from there."""
        self._clear()
        self.pace = Pace.REPLICATE
        self.next = self.match + 1

    def await_snapshot(self) -> None:
        """Its next entry is gone: it needs a snapshot that the driver has yet to offer."""
        self._clear()
        self.pace = Pace.SNAPSHOT

    def _clear(self) -> None:
        self.probe_sent = False
        self.snapshot = None
        self.offset = 0
        self.chunk_age_ticks = 0
        self._in_flight.clear()
        self._in_flight_bytes = 0
