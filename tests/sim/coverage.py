"""How often each rare situation was reached. A run of the default size in which one never was is a failed run:
a simulation that does not get there proves nothing about it.
"""

from __future__ import annotations

import re
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from app.node.errors import DiskFull, NotCommitted, OutcomeUnknown, Overloaded
from app.node.runner import NotLeading
from app.raft import AnyMessage, Configuration, Entry, InstallSnapshot
from app.raft.leader import Leader
from app.raft.messages import AppendReply, RequestVote, TimeoutNow
from app.raft.types import Role
from app.storage.errors import StorageError
from app.storage.format import MARKER, MARKER_OFFSET, Identity, record_head_at
from app.storage.recovery import recover
from tests.sim.disk import SimCrash

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.world import World

SITUATIONS = (
    # elections
    "leader elected",
    "split vote",
    "pre-vote refused by loyalty",
    "vote refused to a stale log",
    "leader of an older term beside a newer one",
    "stepped down: no majority heard",
    "stepped down: disk stalled",
    "stepped down: higher term",
    "transfer completed",
    "transfer aborted",
    # replication
    "conflict truncated",
    "conflict truncated on a durable log",
    "append refused",
    "old-term entries on a majority at an election",
    "old-term entry on a majority, replaced",
    "message lost",
    "message overtaken",
    "duplicate message delivered",
    # snapshots
    "snapshot taken",
    "snapshot with a pack in it",
    "snapshot sent whole",
    "snapshot installed",
    "snapshot installed over a conflicting log",
    "snapshot installed over a longer log",
    "snapshot begun anew",
    "state installed over a log that still stood: reset at start",
    "compaction",
    # crashes
    "power lost between file operations",
    "power lost between state install and log reset",
    "power lost in a segment roll",
    "power lost in a compaction",
    "power lost at start",
    "power lost while staging a snapshot",
    "torn tail cut",
    "log ends in a file that was another segment",
    "state on disk newer than its last checkpoint",
    "all nodes lost power",
    "process killed",
    "killed with entries uncommitted",
    "process ended by a disk error",
    "wiped node admitted",
    # disks and clocks
    "disk-full refusal",
    "log full: write held back",
    "no room for a chunk: held back",
    "state full: apply held back",
    "transaction undone, and applied again",
    "clock jumped back",
    # pauses and links
    "leader paused",
    "follower paused",
    "ticks capped after a pause",
    "partition",
    "leader isolated",
    "leader deafened",
    "one-way partition",
    # clients
    "overloaded",
    "read confirmed",
    "read abandoned",
    "superseded: not committed",
    "superseded: unknown",
    "keyed operation repeated",
    "publish deduplicated",
    "joined publishes repeated",
    "several receives in one command got messages",
    "several acks in one command",
    "receive repeated",
    # leases
    "acks of what a node had forgotten",
    "message handed out again",
    "lease lost, and said so",
    "ack taken after its lease had run out",
    "settling repeated under its key",
    "dead letter handed out",
    "time passed by a tick",
)


class Coverage:
    """Watches one world; it never changes it."""

    def __init__(self, world: World):
        self.world = world
        self.counts: Counter[str] = Counter()
        self._candidates: dict[int, set[int]] = {}
        self._transfers: dict[int, int] = {}
        self._on_majority: dict[int, int] = {}
        self._staging: dict[int, tuple[int, int]] = {}

    # -- messages ---------------------------------------------------------------------------------------

    def heard(self, node: SimNode, message: AnyMessage) -> None:
        """A raft message is about to be given to the runner."""
        kind, core = type(message), node.core
        if kind is RequestVote:
            if message.term > core.term and not message.transfer and core._loyal():
                self.counts["pre-vote refused by loyalty"] += 1
            elif not core.log.up_to_date(message.last_log_index, message.last_log_term):
                self.counts["vote refused to a stale log"] += 1
        elif kind is InstallSnapshot:
            meta = message.meta
            before = self._staging.get(node.id)
            this = meta.index, meta.term
            if before is not None and before != this and meta.index > core.log.commit_index:
                self.counts["snapshot begun anew"] += 1
            if meta.index > core.log.commit_index:
                self._staging[node.id] = this
        elif kind is TimeoutNow and message.term == core.term:
            self._transfers[core.term + 1] = node.id

    def sent(self, node: SimNode, message: AnyMessage) -> None:
        """A raft message leaves."""
        kind = type(message)
        if kind is RequestVote:
            if not message.pre:
                self._candidates.setdefault(message.term, set()).add(node.id)
        elif kind is InstallSnapshot:
            if message.done:
                self.counts["snapshot sent whole"] += 1
        elif kind is AppendReply:
            if message.success:
                self._replicated(node, message.match_index)
            elif message.prev_log_index:
                self.counts["append refused"] += 1

    def _replicated(self, node: SimNode, index: int) -> None:
        """A follower vouches: does an entry of an older term, not yet committed, stand on a majority now?"""
        log = node.core.log
        if self.world.checks.committed < index <= log.last_index and index > log.base_index:
            term = log.term(index)
            if term < node.core.term and index not in self._on_majority:
                holders = sum(other.shadow.holds(index, term) for other in self.world.nodes)
                if holders > len(self.world.nodes) // 2:
                    self._on_majority[index] = term

    # -- roles ------------------------------------------------------------------------------------------

    def elected(self, node: SimNode) -> None:
        """A node begins to lead."""
        term, log = node.core.term, node.core.log
        self.counts["leader elected"] += 1
        if self._transfers.get(term) == node.id:
            self.counts["transfer completed"] += 1
        nodes = self.world.nodes
        if any(other.leads() and other.core.term < term for other in nodes):
            self.counts["leader of an older term beside a newer one"] += 1
        index = node.core.leader.first_index - 1
        if index > max(self.world.checks.committed, log.base_index):
            holders = sum(other.shadow.holds(index, log.term(index)) for other in nodes)
            if holders > len(nodes) // 2:
                self.counts["old-term entries on a majority at an election"] += 1
                self._on_majority[index] = log.term(index)

    def committed(self, entry: Entry) -> None:
        """An entry is committed, for the first time anywhere."""
        if self._on_majority.get(entry.index, entry.term) != entry.term:
            self.counts["old-term entry on a majority, replaced"] += 1

    def role_changed(self, node: SimNode, before: Role, term: int) -> None:
        """Role, term or vote moved."""
        if before == Role.LEADER and node.core.term > term:
            self.counts["stepped down: higher term"] += 1

    def ticked_leader(self, node: SimNode, leader: Leader) -> None:
        """Time moved for a node that led."""
        if node.core.leader is None:
            heard = leader._hears_majority()
            self.counts["stepped down: disk stalled" if heard else "stepped down: no majority heard"] += 1
        elif leader.transfer_to is None and leader._transfer_ticks:
            leader._transfer_ticks = 0
            self.counts["transfer aborted"] += 1

    def finish(self) -> Counter[str]:
        """Also what can be told only at the end."""
        leaders = self.world.checks.leaders
        for term, candidates in self._candidates.items():
            if len(candidates) > 1 and term not in leaders:
                self.counts["split vote"] += 1
        return self.counts

    # -- logs and snapshots -----------------------------------------------------------------------------

    def writing(self, node: SimNode, entries: Sequence[Entry], last: int) -> None:
        """Entries go to the disk; `last` was the last one given to it before."""
        if entries[0].index <= last:
            self.counts["conflict truncated"] += 1
            if entries[0].index <= node.shadow.last:
                self.counts["conflict truncated on a durable log"] += 1

    def log_called(self, node: SimNode) -> None:
        """Other work on the log's files was done."""
        if node.shadow.base < node.wal.first_index - 1 <= node.shadow.last:
            self.counts["compaction"] += 1

    def installing(self, node: SimNode, index: int) -> None:
        """A snapshot is being put in force."""
        self._staging.pop(node.id, None)
        self.counts["snapshot installed"] += 1
        last, ledger = node.wal.last_index, self.world.checks.ledger
        if last >= index:
            self.counts["snapshot installed over a longer log"] += 1
        if last >= len(ledger) or node.wal.term(last) != ledger[last].term:
            self.counts["snapshot installed over a conflicting log"] += 1

    def configured(self, entry: Entry) -> None:
        """A configuration is committed."""
        configuration = msgspec.msgpack.decode(entry.data, type=Configuration)
        for node in self.world.nodes:
            if node.wiped and configuration.incarnation(node.id) not in (0, node.wiped):
                node.wiped = None
                self.counts["wiped node admitted"] += 1

    # -- crashes ----------------------------------------------------------------------------------------

    def crashed(self, node: SimNode, why: SimCrash | None) -> None:
        """A process ends; `why`: at this file operation."""
        self._staging.pop(node.id, None)
        if why is None:
            return
        self.counts["power lost between file operations"] += 1
        functions = {frame.name for frame in traceback.extract_tb(why.__traceback__)}
        for name, situation in _PLACES.items():
            if name in functions:
                self.counts[situation] += 1

    def power_lost(self, node: SimNode) -> None:
        """Also when no file operation was under way."""
        if node.shadow.installing:
            self.counts["power lost between state install and log reset"] += 1

    def opening(self, node: SimNode) -> None:
        """A log is about to be opened: look what recovery will find. It only reads."""
        from tests.sim.node import CLUSTER, LOG_DIRECTORY

        if not node.fs.exists(LOG_DIRECTORY):
            return
        try:
            found = recover(node.fs, LOG_DIRECTORY, Identity(CLUSTER, 0, node.id, 0))
        except StorageError:
            return
        if found is None:
            return
        segment = found.tail.segment
        data = segment.file.pread(segment.header.size_bytes, 0)
        starts = [each.start() - MARKER_OFFSET for each in re.finditer(MARKER, data)]
        behind = [start for start in starts if start >= segment.end_bytes]
        if any(record_head_at(memoryview(data), start, start, segment.seed) for start in behind):
            self.counts["torn tail cut"] += 1
        elif behind:
            self.counts["log ends in a file that was another segment"] += 1

    # -- answers ----------------------------------------------------------------------------------------

    def served(self, outcome: Any) -> None:
        """A leader answered a submission."""
        if not isinstance(outcome, bytes):
            situation = _OUTCOMES.get(type(outcome))
            if situation is not None:
                self.counts[situation] += 1

    def served_read(self, outcome: Any) -> None:
        """A leader answered a read."""
        if isinstance(outcome, int):
            self.counts["read confirmed"] += 1
        elif isinstance(outcome, NotLeading):
            self.counts["read abandoned"] += 1


_PLACES = {
    "_append_across": "power lost in a segment roll",
    "compact": "power lost in a compaction",
    "_open": "power lost at start",
    "stage": "power lost while staging a snapshot",
}
_OUTCOMES: dict[type, str] = {
    NotCommitted: "superseded: not committed",
    OutcomeUnknown: "superseded: unknown",
    DiskFull: "disk-full refusal",
    Overloaded: "overloaded",
}
