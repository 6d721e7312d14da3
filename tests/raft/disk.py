"""A node's disk for the scripts: what is written, and of that what is durable. A crash leaves the durable part.

Each Ready is one write. It changes `written` at once, as a page cache would, and `durable` when the disk gets
round to it, in the order of the Readys. The state machine's own durable copy stands where the log begins.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import dataclass, field

from app.raft import AnyMessage, Configuration, Entry, HardState, Ready, SnapshotMeta


@dataclass
class State:
    """The state machine: the commands applied, in order, up to `index`."""

    index: int
    term: int
    configuration: Configuration
    commands: list[str] = field(default_factory=list)

    def copy(self) -> State:
        return State(self.index, self.term, self.configuration, list(self.commands))


@dataclass
class Image:
    """What a log holds: hard state, the state before its first entry, entries. A `LogView`."""

    hard_state: HardState
    base: State
    entries: list[Entry] = field(default_factory=list)

    @property
    def first_index(self) -> int:
        return self.base.index + 1

    @property
    def last_index(self) -> int:
        return self.base.index + len(self.entries)

    def term(self, index: int) -> int:
        assert self.base.index <= index <= self.last_index, f"entry {index} was never written"
        return self.base.term if index == self.base.index else self.entries[index - self.first_index].term

    def read(self, lo: int, hi: int, max_bytes: int) -> list[Entry]:
        assert self.first_index <= lo <= hi <= self.last_index
        taken: list[Entry] = []
        size = 0
        for entry in self.entries[lo - self.first_index : hi - self.first_index + 1]:
            size += len(entry.data)
            if taken and size > max_bytes:
                break
            taken.append(entry)
        return taken

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry, or a state that contains it, is here."""
        return index <= self.base.index or (index <= self.last_index and self.term(index) == term)

    def write(self, hard_state: HardState | None, entries: list[Entry]) -> None:
        if hard_state is not None:
            self.hard_state = hard_state
        if entries:
            assert entries[0].index <= self.last_index + 1, "a hole in the log"
            del self.entries[entries[0].index - self.first_index :]
            self.entries += entries

    def rebase(self, state: State, entries: list[Entry]) -> None:
        self.base, self.entries = state.copy(), entries

    def copy(self) -> Image:
        return Image(self.hard_state, self.base.copy(), list(self.entries))


class Disk:
    """See the module. `stalled`: writes are accepted, and only `allowed` more of them become durable."""

    def __init__(self, incarnation: int, image: Image):
        self.incarnation = incarnation
        self.written, self.durable = image, image.copy()
        self.stalled, self.allowed = False, 0
        self._waiting: deque[Ready] = deque()
        self._staged: dict[SnapshotMeta, bytes] = {}
        self._whole = True

    def submit(self, ready: Ready) -> None:
        """Write; `finish` tells when it is durable."""
        if ready.install is not None:
            state = self._staged_state(ready.install)
            self.written.rebase(state, [])
        self.written.write(ready.hard_state, ready.entries)
        for chunk in ready.chunks:
            assert chunk.offset == 0 or not self._whole, "a chunk behind the last one"
            before = self._staged[chunk.meta] if chunk.offset else b""
            assert len(before) == chunk.offset, "a hole in the staged file"
            self._staged, self._whole = {chunk.meta: before + chunk.data}, chunk.done
        self._waiting.append(copy(ready))
        if ready.install is not None:
            # Nothing else moves at a node until the snapshot is in force: it waits for the disk, however long.
            self.allowed = len(self._waiting)

    def finish(self) -> list[AnyMessage] | None:
        """The oldest write becomes durable: what waited for it. None when nothing waits or the disk stalls."""
        if not self._waiting or (self.stalled and self.allowed == 0):
            return None
        self.allowed = max(0, self.allowed - 1)
        ready = self._waiting.popleft()
        if ready.install is not None:
            self.durable.rebase(self._staged_state(ready.install), [])
        self.durable.write(ready.hard_state, ready.entries)
        return ready.after

    @property
    def busy(self) -> bool:
        """Whether something is written and not durable."""
        return bool(self._waiting)

    @property
    def installing(self) -> bool:
        """Whether a snapshot is being put in force."""
        return any(ready.install is not None for ready in self._waiting)

    def crash(self) -> None:
        """Lose all that is not durable."""
        self.written = self.durable.copy()
        self._waiting.clear()
        self._staged.clear()
        self.stalled, self.allowed, self._whole = False, 0, True

    def compact(self, state: State) -> None:
        """Keep the state as it is at `state.index`, and the entries behind it."""
        for image in (self.written, self.durable):
            assert image.first_index <= state.index <= image.last_index
            image.rebase(state, image.entries[state.index - image.base.index :])

    def _staged_state(self, meta: SnapshotMeta) -> State:
        return unpack(meta, self._staged[meta])


PIECE = 6


def pack(state: State, node: int) -> bytes:
    """The state's file as `node` would write it: of equal size on every node, but never of equal bytes."""
    text = ",".join(state.commands)
    return "".join(f"{node}:{text[at : at + PIECE - 2]:4}" for at in range(0, max(len(text), 1), PIECE - 2)).encode()


def unpack(meta: SnapshotMeta, data: bytes) -> State:
    """The state in a file. Asserts that it is whole, and one node's work."""
    assert len(data) == meta.size_bytes, f"{len(data)} bytes of {meta.size_bytes}"
    pieces = [data[at : at + PIECE].decode() for at in range(0, len(data), PIECE)]
    assert len({piece[0] for piece in pieces}) == 1, f"the file mixes bytes of two nodes: {pieces}"
    text = "".join(piece[2:] for piece in pieces).rstrip()
    return State(meta.index, meta.term, meta.configuration, text.split(",") if text else [])
