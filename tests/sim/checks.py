"""What must hold after every event. Each check has a name, and a violation says it.

The ledger is the simulation's own record of what is committed: the first node that takes an entry for committed writes
it there, and everybody is measured by it from then on. All checks are incremental: an event pays for what it changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from app.broker import Item
from app.node.envelope import unseal
from app.node.protocols import WriteJob
from app.raft import AnyMessage, Entry, Kind
from app.raft.messages import AppendReply, RequestVote, VoteReply
from app.raft.types import NOBODY, Role
from tests.sim.clients import Operation
from tests.sim.disk import SECTOR_BYTES
from tests.sim.node import LOG_DIRECTORY

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.world import World

ONE_LEADER = "one leader a term"
LOG_MATCHING = "log matching"
APPEND_ONLY = "a leader only appends"
COMPLETENESS = "leader completeness"
STATE_SAFETY = "state machine safety"
COMMITTED_STAYS = "committed entries never change"
DURABLE_FIRST = "durable before acknowledged"
DURABLE_STAYS = "what was synced is there after a restart"
CHECKPOINT_FIRST = "the state is durable before the log is dropped"
TERM_RISES = "term and vote never go back"
ONE_VOTE = "one vote a term"
FRESH_READS = "linearizable reads are not stale"
NOTHING_LOST = "nothing acknowledged is lost"


class Violation(Exception):
    """An invariant does not hold. `invariant` is its name."""

    def __init__(self, invariant: str, what: str):
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


class Read(NamedTuple):
    """A linearizable read as it was answered: what a topic held at an applied index."""

    index: int
    topic: str
    messages: int | None


class Seen:
    """What was last seen of a node, in its current life."""

    __slots__ = ("commit", "last", "role", "term", "vote")

    def __init__(self, node: SimNode):
        core = node.core
        self.term, self.vote, self.role = core.term, core.vote, core.role
        self.commit = core.log.commit_index
        self.last = core.log.last_index


class Checks:
    """See the module. Index 0 of `ledger` and of `committed_in` is the point before the log."""

    def __init__(self, world: World):
        self.world = world
        self.ledger: list[Entry] = [Entry(0, 0, Kind.NOOP, b"")]
        self.committed_in: list[int] = [0]
        self.places: dict[bytes, list[int]] = {}
        self.answers: dict[int, bytes | None] = {}
        self.last_configuration = 0
        self.reads: list[Read] = []
        self.leaders: dict[int, int] = {}
        self._hashes: dict[int, str] = {}
        self._entries: dict[tuple[int, int], tuple[int, int, bytes]] = {}
        self._votes: dict[tuple[int, int, int], int] = {}
        self._vouched_term: dict[tuple[int, int], int] = {}
        self._majority = world.plan.nodes // 2 + 1
        self._seen: dict[int, Seen] = {}

    @property
    def committed(self) -> int:
        """The last index that anybody took for committed."""
        return len(self.ledger) - 1

    # -- after every event ------------------------------------------------------------------------------

    def after(self, node: SimNode) -> None:
        """The event touched this node only."""
        if not node.up:
            return
        core, seen = node.core, self._seen[node.id]
        if core.term != seen.term or core.vote != seen.vote or core.role != seen.role:
            self._roles(node, seen)
        if core.log.commit_index != seen.commit:
            self._commits(node, seen)

    def _roles(self, node: SimNode, seen: Seen) -> None:
        core = node.core
        if core.term < seen.term:
            raise Violation(TERM_RISES, f"node {node.id} went from term {seen.term} to {core.term}")
        if core.term == seen.term and core.vote != seen.vote and seen.vote != NOBODY:
            raise Violation(ONE_VOTE, f"node {node.id} changed its vote in term {core.term}: {seen.vote}, {core.vote}")
        if core.role == Role.LEADER and (seen.role != Role.LEADER or core.term != seen.term):
            self._elected(node)
        self.world.coverage.role_changed(node, seen.role, seen.term)
        seen.term, seen.vote, seen.role = core.term, core.vote, core.role
        self.world.trace(node.id, "is now", (core.role.name, core.term))

    def _elected(self, node: SimNode) -> None:
        core, log = node.core, node.core.log
        other = self.leaders.setdefault(core.term, node.id)
        if other != node.id:
            raise Violation(ONE_LEADER, f"nodes {other} and {node.id} both lead term {core.term}")
        for index in range(max(1, log.base_index), len(self.ledger)):
            if self.committed_in[index] >= core.term:
                break
            if index > log.last_index or log.term(index) != self.ledger[index].term:
                raise Violation(
                    COMPLETENESS,
                    f"node {node.id} leads term {core.term} without entry {index}, committed in term "
                    f"{self.committed_in[index]}",
                )
        self.world.coverage.elected(node)
        self.world.faults.ambush_election(node)

    def _commits(self, node: SimNode, seen: Seen) -> None:
        log = node.core.log
        commit = log.commit_index
        if commit < seen.commit:
            raise Violation(COMMITTED_STAYS, f"node {node.id}'s commit index fell from {seen.commit} to {commit}")
        for index in range(max(seen.commit + 1, log.base_index), min(commit, self.committed) + 1):
            if index and log.term(index) != self.ledger[index].term:
                raise Violation(
                    COMMITTED_STAYS,
                    f"node {node.id} takes entry {index} of term {log.term(index)} for committed; "
                    f"of term {self.ledger[index].term} it was before",
                )
        if commit > self.committed:
            self._extend_ledger(node, commit)
        seen.commit = commit

    def _extend_ledger(self, node: SimNode, commit: int) -> None:
        log = node.core.log
        if self.committed + 1 <= log.base_index:
            raise Violation(DURABLE_FIRST, f"node {node.id} committed {commit} by a snapshot of what nobody committed")
        while self.committed < commit:
            for entry in log.entries(self.committed + 1, 1 << 30, commit):
                holders = [other.id for other in self.world.nodes if other.shadow.holds(entry.index, entry.term)]
                if len(holders) < self._majority:
                    raise Violation(
                        DURABLE_FIRST,
                        f"node {node.id} takes entry {entry.index} of term {entry.term} for committed, "
                        f"which is durable on {holders} only",
                    )
                self.world.coverage.committed(entry)
                self.ledger.append(entry)
                self.committed_in.append(node.core.term)
                if entry.kind == Kind.COMMAND:
                    self.places.setdefault(unseal(entry.data)[1], []).append(entry.index)
                elif entry.kind == Kind.CONFIGURATION:
                    self.last_configuration = entry.index
                    self.world.coverage.configured(entry)
        self.world.trace(node.id, "commits", commit)

    # -- the state machine ------------------------------------------------------------------------------

    def applying(self, node: SimNode, items: Sequence[Item]) -> None:
        """About to apply: these must be committed, and be what is in the ledger."""
        self._commits(node, self._seen[node.id])
        for item in items:
            if item.index > self.committed:
                raise Violation(STATE_SAFETY, f"node {node.id} applies entry {item.index}, which is not committed")
            if item.term != self.ledger[item.index].term:
                raise Violation(STATE_SAFETY, f"node {node.id} applies entry {item.index} of another term")
            if item.command is not None and not self.ledger[item.index].data.endswith(item.command):
                raise Violation(STATE_SAFETY, f"node {node.id} applies another command at entry {item.index}")

    def applied(self, node: SimNode, items: Sequence[Item], answers: Sequence[bytes | None]) -> None:
        """Applied: every replica says the same, and is in the same state."""
        for item, answer in zip(items, answers, strict=True):
            if self.answers.setdefault(item.index, answer) != answer:
                raise Violation(
                    STATE_SAFETY,
                    f"node {node.id} answers entry {item.index} by {answer!r}, another by {self.answers[item.index]!r}",
                )
        self._same_state(node)

    def _same_state(self, node: SimNode) -> None:
        index, state_hash = node.machine.state_hash()
        if self._hashes.setdefault(index, state_hash) != state_hash:
            raise Violation(STATE_SAFETY, f"node {node.id} differs from another node's state at entry {index}")

    def installing(self, node: SimNode, index: int) -> None:
        """The state is about to become a snapshot; the log will be dropped after it."""
        node.shadow.installing = True
        self.world.coverage.installing(node, index)

    def installed(self, node: SimNode) -> None:
        """The state is the snapshot now."""
        machine = node.machine
        if machine.applied_index > self.committed:
            raise Violation(STATE_SAFETY, f"node {node.id} installed a state of entries that are not committed")
        self._same_state(node)

    # -- disks ------------------------------------------------------------------------------------------

    def written(self, node: SimNode, job: WriteJob) -> None:
        """The core handed these entries to its disk: they must be what this index and term always was."""
        entries = job.entries
        if node.shadow.installing and not node.runner._installing:
            node.shadow.reset(node.machine.applied_index)
            self._seen[node.id].last = node.machine.applied_index
        if not entries:
            return
        first = entries[0].index
        seen = self._seen[node.id]
        if node.core.leader is not None and first <= seen.last and seen.role == Role.LEADER:
            raise Violation(APPEND_ONLY, f"node {node.id} leads and replaces its entry {first}")
        self.world.coverage.writing(node, entries, seen.last)
        seen.last = entries[-1].index
        before = node.core.log.term(first - 1)
        for entry in entries:
            self._matches(node, entry, before)
            before = entry.term

    def _matches(self, node: SimNode, entry: Entry, before: int) -> None:
        if entry.term < before:
            raise Violation(LOG_MATCHING, f"node {node.id}: entry {entry.index} of term {entry.term} follows {before}")
        what = before, entry.kind, entry.data
        if self._entries.setdefault((entry.index, entry.term), what) != what:
            raise Violation(
                LOG_MATCHING,
                f"node {node.id} has another entry {entry.index} of term {entry.term}, or another one before it",
            )

    def writing(self, node: SimNode, jobs: Sequence[WriteJob]) -> None:
        """The disk begins with these."""
        pending = node.shadow.pending
        pending += [job for job in jobs if job not in pending]

    def synced(self, node: SimNode) -> None:
        """The disk says that all is durable; the file system knows better."""
        if not unsynced(node):
            node.shadow.settle()

    def called(self, node: SimNode) -> None:
        """Other work on the log's files is done: a compaction, a reset, or nothing."""
        shadow, wal = node.shadow, node.wal
        if shadow.installing and wal.first_index == wal.last_index + 1 == node.machine.applied_index + 1:
            shadow.reset(wal.last_index)
            self._seen[node.id].last = wal.last_index
        if wal.first_index - 1 > node.machine.durable_index:
            raise Violation(
                CHECKPOINT_FIRST,
                f"node {node.id}'s log begins at {wal.first_index}, its durable state ends at "
                f"{node.machine.durable_index}",
            )
        self.world.coverage.log_called(node)

    def reopened(self, node: SimNode) -> None:
        """The log and the state as found on the disk, before they are made to meet."""
        shadow, wal = node.shadow, node.wal
        if unsynced(node):
            raise Violation(DURABLE_FIRST, f"node {node.id} opened its log and left parts of it unsynced")
        if wal.first_index - 1 > node.machine.applied_index:
            raise Violation(
                CHECKPOINT_FIRST,
                f"node {node.id}'s log begins at {wal.first_index}, its state ends at {node.machine.applied_index}",
            )
        same_disk = shadow.incarnation == wal.identity.incarnation
        if same_disk and not shadow.installing:
            for index in range(max(shadow.base, wal.first_index - 1) + 1, shadow.surely_last() + 1):
                if index > wal.last_index or wal.term(index) != shadow.terms[index - shadow.base - 1]:
                    raise Violation(DURABLE_STAYS, f"node {node.id} has lost entry {index}, which was synced")
        if same_disk and wal.hard_state.term < shadow.hard_state.term:
            raise Violation(DURABLE_STAYS, f"node {node.id} has lost {shadow.hard_state}, which was synced")

    def started(self, node: SimNode) -> None:
        """The core goes on from what the disk held."""
        shadow, wal, core = node.shadow, node.wal, node.core
        same_disk = shadow.incarnation == wal.identity.incarnation
        if core.term < self._vouched_term.get((node.id, core.incarnation), 0):
            raise Violation(TERM_RISES, f"node {node.id} starts in term {core.term} and has spoken in a later one")
        vote = self._votes.get((node.id, core.incarnation, core.term))
        if vote is not None and core.vote != vote:
            raise Violation(ONE_VOTE, f"node {node.id} has forgotten its vote for {vote} in term {core.term}")
        if same_disk and shadow.former is not None:
            former = shadow.former
        else:
            former = None if same_disk else shadow if shadow.incarnation else None
        fresh = type(shadow)()
        fresh.former, fresh.incarnation, fresh.hard_state = former, wal.identity.incarnation, wal.hard_state
        fresh.base = wal.first_index - 1
        before = wal.term(fresh.base)
        if wal.last_index >= wal.first_index:
            for entry in wal.read(wal.first_index, wal.last_index, 1 << 30):
                if (entry.index, entry.term) in self._entries:
                    self._matches(node, entry, before)
                else:
                    raise Violation(DURABLE_STAYS, f"node {node.id} found entry {entry.index}, which nobody wrote")
                fresh.terms.append(entry.term)
                before = entry.term
        node.shadow = fresh
        self._seen[node.id] = Seen(node)
        if node.machine.applied_index > self.committed:
            raise Violation(STATE_SAFETY, f"node {node.id} starts from a state of entries that are not committed")
        self._same_state(node)

    # -- messages and answers ---------------------------------------------------------------------------

    def sending(self, node: SimNode, message: AnyMessage) -> None:
        """What vouches for durable state must be durable when it leaves."""
        kind = type(message)
        if kind is VoteReply:
            if message.granted and not message.pre:
                self._vote(node, message.term, message.to)
        elif kind is AppendReply:
            if message.success:
                self._vouch(node, message)
        elif kind is RequestVote and not message.pre:
            self._vote(node, message.term, node.id)

    def _vote(self, node: SimNode, term: int, candidate: int) -> None:
        durable = node.shadow.hard_state
        if durable.term < term or (durable.term == term and durable.vote != candidate):
            raise Violation(DURABLE_FIRST, f"node {node.id} votes for {candidate} in term {term}; on disk is {durable}")
        if self._votes.setdefault((node.id, node.core.incarnation, term), candidate) != candidate:
            raise Violation(ONE_VOTE, f"node {node.id} votes twice in term {term}")
        self._speaks(node, term)

    def _vouch(self, node: SimNode, reply: AppendReply) -> None:
        on_disk = node.shadow.hard_state.term
        if reply.term > on_disk:
            raise Violation(DURABLE_FIRST, f"node {node.id} speaks in term {reply.term}, which is not on its disk")
        # Where the disk is in a later term already, that term's leader may have replaced these entries, even within the
        # same sync. Jobs become durable in order, so it held them before; the reply is as one that was long on its way.
        held = node.shadow.last if reply.term == on_disk else node.shadow.reached_since(reply.term)
        if reply.match_index > held:
            raise Violation(
                DURABLE_FIRST, f"node {node.id} acknowledges entries up to {reply.match_index}; its disk holds {held}"
            )
        self._speaks(node, reply.term)

    def _speaks(self, node: SimNode, term: int) -> None:
        who = node.id, node.core.incarnation
        if term > self._vouched_term.get(who, 0):
            self._vouched_term[who] = term

    def acknowledged(self, operation: Operation) -> None:
        """A client is told that its command took effect."""
        command, answer = operation.command, operation.answer
        assert command is not None
        for index in self.places.get(command, ()):
            if index > operation.floor and self.answers.get(index, b"") == answer:
                return
        raise Violation(NOTHING_LOST, f"{operation.name} was acknowledged by {answer!r}, and is not in the log")

    def read_confirmed(self, node: SimNode, floor: int, index: int) -> None:
        """A read may be served from `index` on; `floor` was committed when it was asked for."""
        if index < floor:
            raise Violation(FRESH_READS, f"node {node.id} serves a read at {index}, asked when {floor} was committed")

    def read_served(self, node: SimNode, operation: Operation) -> bytes:
        """A read is answered from this node's state."""
        index = node.machine.applied_index
        if index < operation.floor:
            raise Violation(FRESH_READS, f"node {node.id} answers at {index}, asked at {operation.floor}")
        found = node.machine.topic(operation.topic)
        self.reads.append(Read(index, operation.topic, None if found is None else found.messages))
        return b"read"


def unsynced(node: SimNode) -> bool:
    """Whether the file system holds anything of the log's records that a power loss could take."""
    fs = node.fs
    for change in fs._changes:
        if change.directory == LOG_DIRECTORY and change.new_path is not None and change.new_path.endswith(".log"):
            return True
    if not fs.touched:
        return False
    for segment in node.wal._segments:
        inode = fs._names[segment.path]
        for sector in (*inode.dirty, *inode.unsaved):
            if sector * SECTOR_BYTES < segment.end_bytes:
                return True
    return False
