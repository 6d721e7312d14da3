"""What a group's runner needs of the world, as protocols: production and simulation each bring their own.

    Log            the durable log                       app.storage.SegmentedLog
    StateMachine   what the log is applied to            app.broker.Machine
    Transport      messages to peers, best effort        app.transport.PeerNetwork
    Disk           durable writes, in order              app.node.disk.DiskThread
    Background     long work beside the loop             app.node.disk.BackgroundThread
    Surroundings   all of these but the first two, with the loop and the clock
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.broker.item import Item
from app.broker.queries import ScheduleInfo
from app.raft import AnyMessage, Chunk, Entry, HardState, LogView


class Log(LogView, Protocol):
    """The durable log. Reads may come from the loop's thread while the disk's thread writes."""

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None: ...

    def sync(self) -> None: ...

    def prepare(self, *, scarce: bool) -> bool: ...

    def compact(self, index: int) -> None: ...

    def tail_bytes_since(self, index: int) -> int:
        """Of all records written after the entry `index`."""
        ...

    def reset(self, index: int, term: int) -> None: ...

    def size_bytes(self) -> int:
        """What it takes of the disk."""
        ...


class StateMachine(Protocol):
    """Deterministic: the same items in the same order give the same answers and the same state."""

    @property
    def applied_index(self) -> int: ...

    @property
    def applied_term(self) -> int: ...

    @property
    def time_ms(self) -> int: ...

    @property
    def next_due_ms(self) -> int:
        """The log time at which it wants a Tick; in the past: at once."""
        ...

    def due_schedules(
        self, now_ms: int, limit: int, without: Collection[tuple[int, int]] = ()
    ) -> Sequence[ScheduleInfo]:
        """Schedules whose next tick is not after `now_ms`, but for those whose id and tick are in `without`."""
        ...

    @property
    def configuration(self) -> bytes | None:
        """The last configuration applied, as it stood in its entry."""
        ...

    def apply(self, items: Sequence[Item]) -> list[bytes | None]:
        """Answers, None for what is no command. Raises StateFull, having changed nothing, when out of disk."""
        ...

    @property
    def checkpoint_due(self) -> bool:
        """The state's own files have grown: a checkpoint makes them small again."""
        ...

    @property
    def owed_bytes(self) -> int:
        """What its files are yet to take of the disk before they can give any back. Any thread."""
        ...

    @property
    def has_free_pages(self) -> bool:
        """Whether its files hold much that is free."""
        ...

    def checkpoint(self, scarce: bool = False) -> int:
        """Make the state durable; returns the applied index that is. `scarce`: the disk is nearly full, so its files
        are to be as small as they can be. Any thread."""
        ...

    def snapshot(self, path: str) -> tuple[int, int, bytes | None]:
        """Copy one consistent state to a durable file; returns its (index, term, configuration). Any thread."""
        ...

    def install(self, path: str) -> None:
        """Replace the state by that file, atomically."""
        ...


class Transport(Protocol):
    """Peer messages: unreliable, unordered as far as the core is concerned, never blocking."""

    def send(self, message: AnyMessage) -> None: ...


class WriteJob:
    """What one Ready wants on disk: snapshot chunks, taken out as they are written, then hard state and entries."""

    __slots__ = ("chunks", "entries", "hard_state")

    def __init__(self, hard_state: HardState | None, entries: list[Entry], chunks: list[Chunk]):
        self.hard_state, self.entries, self.chunks = hard_state, entries, chunks


class Disk(Protocol):
    """A queue of durable writes, done strictly in order; `done` runs on the loop when all of it is durable."""

    @property
    def idle(self) -> bool:
        """Nothing is waiting or under way."""
        ...

    @property
    def full(self) -> bool:
        """There is no room for what makes the data grow."""
        ...

    @property
    def scarce(self) -> bool:
        """There is little room left."""
        ...

    @property
    def free_bytes(self) -> int | None:
        """What was free on it at the last look."""
        ...

    def has_room(self, size_bytes: int) -> bool:
        """Whether a file may grow by so much."""
        ...

    def write(self, job: WriteJob, done: Callable[[], None]) -> None: ...

    def call(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run `work` in its turn between the writes."""
        ...

    def make_room(self) -> None:
        """Give up the reserve: the state machine has no space left to apply what is committed."""
        ...


class Background(Protocol):
    """One long job at a time, beside the loop."""

    def run(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None: ...


@dataclass(frozen=True)
class Surroundings:
    """What the runner does not do itself. `soon` runs a callable on the loop in a moment, `later` after ms. `now_ms`:
    since 1970, and may be set to anything; `elapsed_ms`: since whenever, and only goes on."""

    transport: Transport
    disk: Disk
    background: Background
    now_ms: Callable[[], int]
    elapsed_ms: Callable[[], int]
    soon: Callable[[Callable[[], None]], Any]
    later: Callable[[int, Callable[[], None]], Any]
