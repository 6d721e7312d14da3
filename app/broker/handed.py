"""What was handed out lately and is not settled: leases with their messages, as they stand in the tables.

Theory: whoever acks has received a moment before; to find the lease and its messages again was a third of an ack. So
they are remembered, within bounds; who is not found here is found in the tables. What changes a lease says so, and what
changes a leased message, which is rare, makes all be forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

MESSAGES_MAX, BYTES_MAX = 10_000, 8 << 20
"""Remembered at most; the oldest go first."""


class Item(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A message in a lease."""

    lane: int
    sequence: int
    deliveries: int
    due_ms: int


class Lease(NamedTuple):
    """A row of `lease`, decoded. `messages`: their rows, by lane and sequence, where they are at hand."""

    row: tuple[Any, ...]
    items: Sequence[Item]
    messages: dict[tuple[int, int], tuple[Any, ...]]


class Handed:
    """The memory."""

    def __init__(self) -> None:
        self._leases: dict[int, tuple[Lease, int]] = {}
        self._messages = self._bytes = 0

    def remember(self, lease: Lease, size_bytes: int) -> None:
        """A lease whose messages are this large."""
        self._leases[lease.row[0]] = lease, size_bytes
        self._messages += len(lease.messages)
        self._bytes += size_bytes
        while self._messages > MESSAGES_MAX or self._bytes > BYTES_MAX:
            self.forget(next(iter(self._leases)))

    def find(self, id: int) -> Lease | None:
        """The lease with this id, if it is remembered."""
        found = self._leases.get(id)
        return None if found is None else found[0]

    def changed(self, row: tuple[Any, ...], items: Sequence[Item]) -> None:
        """This is what is left of a lease."""
        found = self._leases.get(row[0])
        if found is not None:
            self._leases[row[0]] = Lease(row, items, found[0].messages), found[1]

    def forget(self, id: int) -> None:
        """It is over."""
        found = self._leases.pop(id, None)
        if found is not None:
            self._messages -= len(found[0].messages)
            self._bytes -= found[1]

    def forget_all(self) -> None:
        """A leased message has changed, nobody knows whose."""
        self._leases.clear()
        self._messages = self._bytes = 0

    def all(self) -> list[Lease]:
        """What is remembered."""
        return [lease for lease, _ in self._leases.values()]
