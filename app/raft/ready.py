"""The core's one exit: all that it wants done, as values.

The driver takes a `Ready` and must
  1. send `messages` at once (fill an `InstallSnapshot` with its bytes first);
  2. when `install` is set, put that staged snapshot in force before anything else is written or applied;
  3. write `hard_state` and `entries`, and the `chunks` of a snapshot being received, then make them durable,
     in the order of the Readys;
  4. only when they, and all earlier ones, are durable, deliver `after` (to peers, or back to `step`);
  5. apply `committed` in order; answer `reads`.
Steps 1, 4 and 5 of different Readys may overlap; a write never overtakes an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from app.raft.messages import AnyMessage
from app.raft.types import Entry, HardState, SnapshotMeta


class Chunk(NamedTuple):
    """Bytes of a snapshot being received; `offset` 0 starts its file anew."""

    meta: SnapshotMeta
    offset: int
    data: bytes
    done: bool


class ReadAnswer(NamedTuple):
    """`index`: serve the read once this is applied. None: leadership was lost, ask again elsewhere."""

    token: int
    index: int | None  # type: ignore[assignment]  # hides tuple.index, which nobody calls


class Note(NamedTuple):
    """What has happened, in a sentence, for people who watch; `grave` where one of them should do something."""

    text: str
    grave: bool = False


@dataclass(slots=True)
class Ready:
    """See the module. Every field may be empty."""

    messages: list[AnyMessage] = field(default_factory=list)
    hard_state: HardState | None = None
    entries: list[Entry] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    after: list[AnyMessage] = field(default_factory=list)
    committed: list[Entry] = field(default_factory=list)
    reads: list[ReadAnswer] = field(default_factory=list)
    install: SnapshotMeta | None = None
    notes: list[Note] = field(default_factory=list)
    snapshot_wanted: bool = False
    """A follower needs entries that are compacted away: take a snapshot and call `offer_snapshot`."""

    def writes(self) -> bool:
        """Whether anything here must reach the disk."""
        return self.hard_state is not None or bool(self.entries) or bool(self.chunks) or self.install is not None
