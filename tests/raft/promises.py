"""What must hold after every event of a script, whatever the script does.

    Election Safety        at most one leader a term
    Log Matching           an entry's index and term fix its bytes and its predecessor's term
    Leader Completeness    who leads holds every entry that any node has applied
    State Machine Safety   two nodes never apply different entries at one index
    Durability             what a node applies is on the disks of a majority (or was, when one is lost), and its own

(Paper, Fig. 3; Leader Append-Only follows from the assertions of `RaftLog`.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.raft import Entry, Kind, Role

if TYPE_CHECKING:
    from tests.raft.node import Node
    from tests.raft.script import Script


class Promises:
    """See the module."""

    def __init__(self, script: Script):
        self._script = script
        self._leaders: dict[int, int] = {}
        self._entries: dict[tuple[int, int], tuple[int, Entry]] = {}
        self._applied: dict[int, Entry] = {}

    def check(self, node: int) -> None:
        """After an event at `node`."""
        core = self._script.core(node)
        log = core.log
        if core.role == Role.LEADER and self._leaders.get(core.term) != node:
            assert core.term not in self._leaders, f"n{self._leaders[core.term]} and n{node} lead term {core.term}"
            self._leaders[core.term] = node
            for index, entry in self._applied.items():
                if index > log.base_index:
                    assert log.matches(index, entry.term), f"n{node} leads without the applied entry {index}"
        for index in range(log.first_index, log.last_index + 1):
            (entry,) = log.entries(index, 1, index)
            found = (log.term(index - 1), entry)
            assert self._entries.setdefault((index, entry.term), found) == found, f"two entries {index}/t{entry.term}"

    def entry(self, index: int, term: int) -> Entry:
        """The entry that was seen at this index and term, or a new one."""
        _, entry = self._entries.get((index, term), (0, Entry(index, term, Kind.COMMAND, f"{index}t{term}".encode())))
        return entry

    def applied(self, node: int, entry: Entry) -> None:
        """`node` applies `entry`."""
        known = self._applied.get(entry.index)
        assert known is None or known == entry, f"n{node} applies {entry} where {known} was applied"
        if known is None:
            nodes = self._script.nodes.values()
            held = sum(any(disk.durable.holds(entry.index, entry.term) for disk in other.disks) for other in nodes)
            assert held > len(nodes) // 2, f"entry {entry.index} is applied and on {held} disks"
            self._applied[entry.index] = entry

    def durable(self, node: Node) -> None:
        """After a write of `node` became durable."""
        held = node.disk.durable.holds(node.state.index, node.state.term)
        assert held or node.disk.installing, f"n{node.id} has applied what its disk no longer holds"
